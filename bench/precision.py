"""What a faster arithmetic changes: `python -m bench.precision int8 VIDEO_OR_FOLDER... --models FOLDER`.

Each video goes twice through the pipeline in this process, in float32 and in the other, the detector looking as rarely
as a driver has it. Printed per video and in all: the mean overlap (IoU) of the windows' crops, the share of frames
whose likeliest class is the same, and the bouts that only one of the two found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mousetal.detector
import mousetal.mvd
from bench.keyframes import Likeness, compare, videos_of
from mousetal.settingkeys import PRECISIONS
from mousetal.types import VideoResult
from training.demo_eval import analyse_video


class Pair:
    """Detector and action model in one arithmetic."""

    def __init__(self, models: Path, precision: str) -> None:
        self.detector = mousetal.detector.load(models / "demo-detector", precision=precision, backend="auto")
        self.classifier = mousetal.mvd.load(models / "demo-mvd", precision=precision, backend="auto")

    def result(self, path: Path) -> VideoResult:
        return analyse_video(path, self.detector, self.classifier)

    def __str__(self) -> str:
        return f"detector on {self.detector.spec.device}, action model on {self.classifier.spec.device}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precision", choices=[name for name in PRECISIONS if name != "fp32"])
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of demo-detector and demo-mvd")
    arguments = parser.parse_args()
    exact, fast = Pair(arguments.models, "fp32"), Pair(arguments.models, arguments.precision)
    print(f"{exact}; {fast}")  # which says so where a network was refused
    total = Likeness()
    for info in videos_of(arguments.videos):
        likeness = compare(exact.result(info.path), fast.result(info.path))
        print(f"{info.path.name:40} {likeness.results}", flush=True)
        total.add(likeness)
    print(f"{'all':40} {total.results}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
