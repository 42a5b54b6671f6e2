"""Looking at some frames only against looking at all: `python -m bench.keyframes VIDEO_OR_FOLDER...`.

Each video goes twice through the pipeline in this process, with DETECT_EVERY=1 and =auto. Printed per video and in all:
the share of frames that the detector looked at, the mean overlap (IoU) of the windows' crops, the share of frames whose
likeliest class is the same, and the bouts that only one of the two found. What is asked of `auto` (see CONTRIBUTING):
at least 0.99 of frames with the same class, crops with a mean IoU of at least 0.97, the same bouts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import mousetal.detector
import mousetal.mvd
from mousetal import video
from mousetal.errors import VideoError
from mousetal.geometry import iou
from mousetal.pipeline import Plan, analyse, finish
from mousetal.plan import AUTO
from mousetal.types import Detections, DetectorBatch, VideoInfo, VideoResult
from training.evaluation.tally import TOLERANCE_S, matched_within


@dataclass
class Likeness:
    """Sums over videos."""

    looks: int = 0
    frames: int = 0
    same: int = 0
    scored: int = 0
    overlap: float = 0.0
    windows: int = 0
    bouts: int = 0
    only_one: int = 0

    def add(self, other: Likeness) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def results(self) -> str:
        return (
            f"crops {self.overlap / max(1, self.windows):.4f}  same class {self.same / max(1, self.scored):.4f}  "
            f"bouts {self.bouts}, of one way only {self.only_one}"
        )

    def __str__(self) -> str:
        return f"looked at {self.looks / max(1, self.frames):.2f}  {self.results}"


class Counting:
    """A detector that counts the frames it is asked about."""

    def __init__(self, detector: mousetal.detector.Detector) -> None:
        self.detector = detector
        self.looks = 0

    def detect(self, batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        for batch in batches:
            self.looks += len(batch.frame_indices)
            yield self.detector.predict(batch)


def compare(exact: VideoResult, sparse: VideoResult) -> Likeness:
    """How alike two results for one video are; looks and frames are left at 0."""
    found = Likeness()
    known = np.isfinite(exact.posteriors).all(axis=1) & np.isfinite(sparse.posteriors).all(axis=1)
    found.scored = int(known.sum())
    found.same = int((exact.posteriors.argmax(axis=1) == sparse.posteriors.argmax(axis=1))[known].sum())
    for one, other in zip(exact.scores, sparse.scores, strict=True):
        if one.crop_xyxy is not None and other.crop_xyxy is not None:
            found.overlap += iou(one.crop_xyxy, other.crop_xyxy)
            found.windows += 1
    found.bouts = len(exact.bouts)
    near = TOLERANCE_S * float(exact.info.fps)
    for behavior in exact.classifier.classes:
        ours, theirs = ([b.start_frame for b in one.bouts if b.behavior == behavior] for one in (exact, sparse))
        found.only_one += len(ours) + len(theirs) - 2 * matched_within(sorted(ours), sorted(theirs), near)
    return found


def videos_of(paths: list[Path]) -> Iterator[VideoInfo]:
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                if file.is_file() and file.suffix != ".json":
                    yield video.probe(file)
            except VideoError as error:
                print(error, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of demo-detector and demo-mvd")
    arguments = parser.parse_args()
    detector = Counting(mousetal.detector.load(arguments.models / "demo-detector", backend="auto"))
    classifier = mousetal.mvd.load(arguments.models / "demo-mvd", backend="auto")
    total = Likeness()
    seconds = [0.0, 0.0]
    for info in videos_of(arguments.videos):
        results = []
        plan = Plan(info, detector.detector.spec, classifier.spec)
        for way, one in enumerate((plan, replace(plan, detect_every=AUTO))):
            detector.looks, started = 0, time.monotonic()
            frames = video.decode(info, wanted=plan.sampled_frames)
            windows = list(analyse(frames, detector.detect, classifier.classify, one))
            results.append(finish(info.path.name, windows, one))
            seconds[way] += time.monotonic() - started
        likeness = compare(*results)
        likeness.looks, likeness.frames = detector.looks, len(plan.sampled_frames)
        print(f"{info.path.name:40} {likeness}", flush=True)
        total.add(likeness)
    print(f"{'all':40} {total}  (seconds {seconds[0]:.0f} and {seconds[1]:.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
