"""Makes the two demo models from nothing: ``make demo-models``.

    python -m training.demo_models --models models --work work/demo

Renders the films, trains the detector, then the classifier, chooses the bout rules on validation films, scores both on
test films, and writes the two model folders with their cards. Every stage goes on where it stopped. The three sets of
films differ in their seeds. Takes about four hours on two CPU cores; ``--work`` grows to about 2 GB.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import mousetal.detector
import mousetal.mvd
from mousetal.errors import MousetalError
from mousetal.modelconfig import ClipInput, ImageInput, MvdConfig, RtdetrConfig
from mousetal.types import BoutRule, FrameRange, Label, VideoResult
from training import demo_loop, runs, train_detector
from training.boxscores import average_precision
from training.demo_cards import classifier_card, detector_card
from training.demo_eval import FILMS, SEED, analyse_video, render, tally_films
from training.demo_pictures import DemoKnobs, load_data
from training.evaluation import comparison, tuning
from training.evaluation.tally import TOLERANCE_S, table
from training.knobs import read as read_knobs
from training.real_boxes import load_real
from training.samples import load_clips, load_images
from training.synthetic import BEHAVIORS, TRUTH_SUFFIX, Truth, read_truth

CONFIGS = Path(__file__).parent / "configs"
VALIDATION_SEED = 20_000
VALIDATION_FILMS = 36
SCORE_THRESHOLD = 0.4
STAGES = ("demo-mvd", "demo-mvd-turns", "demo-mvd-more")
LICENCE = "Apache-2.0"

log = logging.getLogger(__name__)


def make_detector(models: Path, work: Path) -> None:
    """Train the detector, score it on films and real frames that it has not seen, write its folder."""
    knobs = read_knobs(DemoKnobs, CONFIGS / "demo-detector.toml")
    cache = work / "cache"
    network = train_detector.train(knobs, load_data(knobs, cache), work / "demo-detector")
    unseen = load_images(range(VALIDATION_SEED, VALIDATION_SEED + 40), knobs.input_size, cache)
    metrics = {"AP50 synthetic": round(average_precision(network, unseen), 3)}
    for folder in map(Path, knobs.real):
        if folder.exists():
            held_out = load_real(folder, knobs.input_size, is_held_out=True)
            metrics[f"AP50 {folder.name}"] = round(average_precision(network, held_out), 3)
    config = RtdetrConfig(
        classes=("mouse",), network=train_detector.network_config(knobs).to_json(),
        input=ImageInput(knobs.input_size, SCORE_THRESHOLD), provenance=provenance(knobs.seed, metrics),
    )  # fmt: skip
    mousetal.detector.save(models / "demo-detector", network, config, detector_card(knobs, metrics))
    log.info("demo-detector is written metrics=%s", metrics)


def classifier_stages(work: Path) -> tuple[demo_loop.Knobs, ...]:
    """The knobs of the classifier's runs, each of which starts from the weights of the one before."""
    knobs = [runs.read_knobs(demo_loop.Knobs, CONFIGS / f"{name}.toml") for name in STAGES]
    starts = ["", *(str(work / name) for name in STAGES[:-1])]
    return tuple(replace(one, start=start) for one, start in zip(knobs, starts, strict=True))


def make_classifier(models: Path, work: Path) -> None:
    """Train the classifier, choose its bout rules on validation films, score it on test films, write its folder."""
    cache = work / "cache"
    stages = classifier_stages(work)
    for knobs, name in zip(stages, STAGES, strict=True):
        data = demo_loop.load_data(knobs, cache)
        network = demo_loop.train(knobs, data, work / name)
    spec = demo_loop.spec_of(knobs)
    unseen = load_clips(range(VALIDATION_SEED, VALIDATION_SEED + 20), spec, cache)
    shares = demo_loop.class_accuracy(network, unseen)
    metrics: dict[str, float] = {f"clips right, {c}": round(s, 3) for c, s in zip(spec.classes, shares, strict=True)}
    config = MvdConfig(
        classes=spec.classes, background=spec.background, network={}, bouts=spec.rules,
        input=ClipInput(knobs.num_frames, knobs.sampling_rate, knobs.input_size, knobs.stride, knobs.crop_padding,
                        knobs.trained_fps),
    )  # fmt: skip
    folder = models / "demo-mvd"
    mousetal.mvd.save(folder, network, config, "")
    config = replace(config, bouts=choose_rules(analyse_validation(models, work)))
    mousetal.mvd.save(folder, network, config, "")
    test = tally_films(render(range(SEED, SEED + FILMS), work / "films"), models, TOLERANCE_S)
    metrics |= {f"frame F1, {b}": round(t.f1 or 0.0, 3) for b, t in test.items()}
    metrics |= {f"bouts found, {b}": round(t.matched / max(1, t.true_bouts), 3) for b, t in test.items()}
    metrics |= {f"bouts false, {b}": round(t.false_bouts / max(1, t.found_bouts), 3) for b, t in test.items()}
    config = replace(config, provenance=provenance(knobs.seed, metrics))
    mousetal.mvd.save(
        folder, network, config, classifier_card(stages, len(data.strips), metrics, table(test, TOLERANCE_S))
    )
    log.info("demo-mvd is written metrics=%s", metrics)


def provenance(seed: int, metrics: dict[str, float]) -> dict[str, object]:
    return {"made_by": "python -m training.demo_models", "seed": seed, "metrics": metrics, "licence": LICENCE}


Analysed = tuple[VideoResult, tuple[Truth, ...]]


def analyse_validation(models: Path, work: Path) -> list[Analysed]:
    """Results and truth of the validation films, by the demo models as they stand."""
    detector, classifier = (
        mousetal.detector.load(models / "demo-detector", backend="auto"),
        mousetal.mvd.load(models / "demo-mvd", backend="auto"),
    )
    paths = render(range(VALIDATION_SEED, VALIDATION_SEED + VALIDATION_FILMS), work / "films")
    return [
        (analyse_video(path, detector, classifier), read_truth(path.with_suffix(TRUTH_SUFFIX))[2]) for path in paths
    ]


def choose_rules(films: Sequence[Analysed]) -> tuple[BoutRule, ...]:
    """The bout rule of each class that does best on the films, as for any other model."""
    comparisons = [
        comparison.of_result(
            result,
            [Label(one.behavior, FrameRange(one.start_frame, one.end_frame)) for one in truth],
            BEHAVIORS,
        )
        for result, truth in films
    ]
    spec = films[0][0].classifier
    return tuning.with_chosen(tuning.choose_rules(comparisons, spec), spec.classes, spec.rules)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="where the two folders are written")
    parser.add_argument("--work", type=Path, default=Path("work/demo"), help="samples, checkpoints and films")
    parser.add_argument("--only", choices=("detector", "classifier"), help="make one of the two")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for torch")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    try:
        if arguments.only != "classifier":
            make_detector(arguments.models, arguments.work)
        if arguments.only != "detector":
            make_classifier(arguments.models, arguments.work)
    except MousetalError as error:
        print(error, file=sys.stderr)
        return 1
    log.info("done minutes=%.0f", (time.monotonic() - started) / 60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
