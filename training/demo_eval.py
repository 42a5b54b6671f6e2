"""Measures the demo models on films that were used for nothing else: ``make demo-eval``.

    python -m training.demo_eval --models models --work work/demo

Renders 60 films, analyses them with the library's pipeline and both networks in this process, and compares with the
truth. Ends with 1 when the targets below are missed. Takes some minutes on a CPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch

import mousetal.detector
import mousetal.mvd
from mousetal import video
from mousetal.errors import MousetalError
from mousetal.pipeline import Plan, analyse, finish
from mousetal.plan import AUTO
from mousetal.types import VideoResult
from training.evaluation.share import ratio
from training.evaluation.tally import TOLERANCE_S, Tally, add, summary, table, tally_video
from training.synthetic import BEHAVIORS, TRUTH_SUFFIX, Film, read_truth, write_videos

SEED = 31_000  # films from here on are used for nothing else (30000 on were, before 0.1.0)
FILMS = 60  # with 118 twitches; of 20 films' 39 a share found of 0.80 and one of 0.87 look alike
FILM_SECONDS = 20.0
MIN_GROOMING_F1 = 0.85
MIN_TWITCHES_FOUND = 0.8
MAX_TWITCHES_FALSE = 0.2


def analyse_video(path: Path, detector: mousetal.detector.Detector, classifier: mousetal.mvd.Classifier) -> VideoResult:
    """One video through the library's pipeline, with the networks in this process."""
    info = video.probe(path)
    plan = Plan(info, detector.spec, classifier.spec, detect_every=AUTO)
    frames = video.decode(info, wanted=plan.sampled_frames)
    return finish(path.name, list(analyse(frames, detector.detect, classifier.classify, plan)), plan)


def render(seeds: Iterable[int], folder: Path) -> list[Path]:
    """Video files of the films with these seeds, each with its truth; those that exist are kept."""
    paths = [folder / f"film-{seed}.mp4" for seed in seeds]
    write_videos((partial(Film, seed, FILM_SECONDS), path) for seed, path in zip(seeds, paths, strict=True))
    return paths


def tally_films(paths: Sequence[Path], models: Path, tolerance_s: float) -> dict[str, Tally]:
    """Counts over rendered films, analysed with the two demo models in ``models``."""
    detector = mousetal.detector.load(models / "demo-detector", backend="auto")  # as a driver's services would
    classifier = mousetal.mvd.load(models / "demo-mvd", backend="auto")
    total = dict.fromkeys(BEHAVIORS, Tally())
    for path in paths:
        result = analyse_video(path, detector, classifier)
        one = tally_video(result, read_truth(path.with_suffix(TRUTH_SUFFIX))[2], tolerance_s)
        print(f"{path.name}  {summary(one)}", file=sys.stderr)
        total = add(total, one)
    return total


def are_targets_met(tallies: dict[str, Tally]) -> bool:
    """Grooming by F1 over frames; twitches by the share found and the share of those found that are false."""
    grooming, twitch = (tallies[behavior] for behavior in BEHAVIORS)
    return (
        (grooming.f1 or 0) >= MIN_GROOMING_F1
        and (ratio(twitch.matched, twitch.true_bouts) or 0) >= MIN_TWITCHES_FOUND
        and (ratio(twitch.false_bouts, twitch.found_bouts) or 0) <= MAX_TWITCHES_FALSE
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=FILMS, help="how many films")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the first film")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of demo-detector and demo-mvd")
    parser.add_argument("--work", type=Path, default=Path("work/demo"), help="folder for rendered films")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    try:
        paths = render(range(arguments.seed, arguments.seed + arguments.films), arguments.work / "films")
        total = tally_films(paths, arguments.models, TOLERANCE_S)
    except MousetalError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(total, TOLERANCE_S))
    is_met = are_targets_met(total)
    print(f"targets {'met' if is_met else 'missed'}, {time.monotonic() - started:.0f} s")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
