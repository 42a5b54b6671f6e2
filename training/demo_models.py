"""Makes the two demo models from nothing: ``make demo-models``.

    python -m training.demo_models --work work/demo-models

Walks the whole way that a lab would, at full size (`training.train_demo`), measures what comes out on films that were
used for nothing else, and on real animals where their boxes lie beside the checkout, and writes models/demo-detector
and models/demo-mvd with what was measured in their cards. Hours on a CPU; stopped at any moment, the same command goes
on.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mousetal.detector
from mousetal import modelfolder
from mousetal.modelconfig import MvdConfig, RtdetrConfig
from training import demo_cards, exitcodes, train_demo
from training.boxscores import average_precision
from training.clips import read_table
from training.demo_eval import FILM_SECONDS, FILMS, SEED, are_targets_met, render, tally_films
from training.evaluation.share import Number, ratio
from training.evaluation.tally import TOLERANCE_S, Tally, table
from training.filmpictures import film_images
from training.pictures import Images
from training.real_boxes import load_real
from training.synthetic import Film

SIZE = train_demo.SIZES["full"]
PICTURED_FILMS = 20  # of the test films, every sampled frame of which is a picture with a true box
DETECTOR, CLASSIFIER = "demo-detector", "demo-mvd"

log = logging.getLogger(__name__)


def ship(work: Path, models: Path) -> bool:
    """Measure the models of a walk in ``work`` and write both to ``models``; whether they meet the demo's targets."""
    measured = work / "measured"
    detector, weights = modelfolder.read(modelfolder.locate(work / "models" / f"{SIZE.name}-detector"), RtdetrConfig)
    modelfolder.write(measured / DETECTOR, detector, weights, "")
    trained = work / "mvd" / "best"
    classifier, class_weights = modelfolder.read(modelfolder.locate(trained), MvdConfig)
    modelfolder.write(measured / CLASSIFIER, classifier, class_weights, "")

    films = tally_films(render(range(SEED, SEED + FILMS), work / "films"), measured, TOLERANCE_S)
    test = table(films, TOLERANCE_S)
    print(test)
    boxes, bouts = detector_metrics(measured / DETECTOR), bout_metrics(films)

    detector = replace(detector, name=DETECTOR, provenance=provenance(detector.provenance, boxes))
    modelfolder.write(models / DETECTOR, detector, weights, demo_cards.detector_card(detector, SIZE, boxes))
    clips = len(read_table(work / "clips").in_split("train"))
    card = (trained / modelfolder.CARD_NAME).read_text("utf-8")
    classifier = replace(classifier, name=CLASSIFIER, provenance=provenance(classifier.provenance, bouts))
    card = demo_cards.classifier_card(classifier, SIZE, clips, bouts, test, card)
    modelfolder.write(models / CLASSIFIER, classifier, class_weights, card)
    return are_targets_met(films)


def detector_metrics(folder: Path) -> dict[str, Number]:
    """AP50 on the test films and, where they are, on held-out frames of real animals."""
    found = mousetal.detector.load(folder)
    size = found.spec.input_size
    seeds = range(SEED, SEED + PICTURED_FILMS)
    drawn = Images.together([film_images(Film(seed, FILM_SECONDS), size) for seed in seeds])
    metrics: dict[str, Number] = {"AP50 drawn films": average_precision(found.network, drawn)}
    for real in SIZE.real:
        if real.exists():
            held_out = load_real(real, size, is_held_out=True)
            metrics[f"AP50 {real.name}"] = average_precision(found.network, held_out)
    return _rounded(metrics)


def bout_metrics(tallies: Mapping[str, Tally]) -> dict[str, Number]:
    """The numbers of the table that the demo's targets are about; None for what is undefined."""
    metrics: dict[str, Number] = {f"frame F1, {behavior}": tally.f1 for behavior, tally in tallies.items()}
    metrics |= {f"bouts found, {b}": ratio(t.matched, t.true_bouts) for b, t in tallies.items()}
    metrics |= {f"bouts false, {b}": ratio(t.false_bouts, t.found_bouts) for b, t in tallies.items()}
    return _rounded(metrics)


def _rounded(metrics: Mapping[str, Number]) -> dict[str, Number]:
    return {name: None if value is None else round(value, 3) for name, value in metrics.items()}


def provenance(trained: Mapping[str, Any], metrics: Mapping[str, Number]) -> dict[str, Any]:
    """What training wrote, without the places on this machine, and what was measured."""
    knobs = {name: value for name, value in trained["knobs"].items() if not _is_place(value)}
    shipped = {"made_by": demo_cards.MADE_BY, "licence": demo_cards.LICENCE, "metrics": dict(metrics)}
    return {**trained, "knobs": knobs, "validation": trained.get("metrics", {}), **shipped}


def _is_place(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(isinstance(one, str) and Path(one).is_absolute() for one in values)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="where the two folders are written")
    parser.add_argument("--work", type=Path, default=Path("work/demo-models"), help="data, checkpoints and films")
    parser.add_argument("--trained", action="store_true", help="the walk in --work is through: measure and write only")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def run() -> int:
        if not given.trained:
            train_demo.run(SIZE, given.work, given.work / "models")
        if ship(given.work, given.models):
            return exitcodes.OK
        print("the targets of training.demo_eval are missed", file=sys.stderr)
        return exitcodes.FAILED

    return exitcodes.guarded(run)


if __name__ == "__main__":
    sys.exit(main())
