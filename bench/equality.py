"""Whether two ways to do the job found the same, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import job, replay
from mousetal import atomic, records
from mousetal.arrays import unpack_scores
from mousetal.geometry import iou
from mousetal.types import Detections, Float32Array, WindowScore

#: How far the same network on the same clip may be off when sums are taken in another order, in probabilities.
TOLERANCE = 1e-4
#: When two boxes count as equal: pixels of the frame, on each edge, and score.
SAME_PIXELS, SAME_SCORE = 0.5, 0.01


@dataclass(frozen=True, slots=True)
class WindowsCompared:
    """Two lists of window scores. ``crops_equal`` and ``same_class`` are shares of the windows, 0..1.

    The difference of probabilities is the largest over windows whose crops are equal; ``crop_iou`` is the mean overlap.
    """

    windows_equal: bool
    windows: int
    crops_equal: float
    crop_iou: float
    probability_difference: float
    same_class: float

    @property
    def is_equal(self) -> bool:
        return self.windows_equal and self.crops_equal == 1 and self.probability_difference <= TOLERANCE


@dataclass(frozen=True, slots=True)
class FramesCompared:
    """Two results of one video: the share of scored frames with the same class, and whether the bouts are the same."""

    same_class: float
    bouts_equal: bool
    bouts: tuple[int, int]


@dataclass(frozen=True, slots=True)
class BoxesCompared:
    """What two detectors said themselves of the frames that both looked at: shares of frames, and largest differences.

    A frame counts as equal with as many boxes on it, each at its rank's place and score. Boxes differ where rounding
    puts two of the same score in another order, which random weights often do.
    """

    frames: int
    equal: float
    score_difference: float


def windows(ours: Sequence[WindowScore], others: Sequence[WindowScore]) -> WindowsCompared:
    """Compare window by window, as far as both lists go."""
    pairs = list(zip(ours, others, strict=False))
    equal = [a.crop_xyxy == b.crop_xyxy for a, b in pairs]
    overlaps = [
        1.0 if a.crop_xyxy == b.crop_xyxy else iou(a.crop_xyxy or (0,) * 4, b.crop_xyxy or (0,) * 4) for a, b in pairs
    ]
    scored = [(a, b, same) for (a, b), same in zip(pairs, equal, strict=True) if a.is_scored and b.is_scored]
    differences = [float(np.abs(a.probabilities - b.probabilities).max()) for a, b, same in scored if same]
    return WindowsCompared(
        windows_equal=[score.window for score in ours] == [score.window for score in others],
        windows=len(pairs),
        crops_equal=_mean(equal),
        crop_iou=_mean(overlaps),
        probability_difference=max(differences, default=0.0),
        same_class=_mean([a.probabilities.argmax() == b.probabilities.argmax() for a, b, _ in scored]),
    )


def classes(ours: Float32Array, others: Float32Array) -> float:
    """Share of frames with the same class in two posteriors (frames, classes), of those that either scored."""
    known, other_known = (np.isfinite(rows).all(axis=1) for rows in (ours, others))
    same = known & other_known & (np.nan_to_num(ours).argmax(axis=1) == np.nan_to_num(others).argmax(axis=1))
    return _mean(same[known | other_known])


def boxes(ours: Sequence[Detections], others: Sequence[Detections]) -> BoxesCompared:
    """Compare frame by frame, where both looked."""
    by_frame = {found.frame_index: found for found in others}
    pairs = [(a, by_frame[a.frame_index]) for a in ours if a.frame_index in by_frame]
    best = [abs(float(a.scores[0]) - float(b.scores[0])) for a, b in pairs if len(a) and len(b)]
    return BoxesCompared(len(pairs), _mean([_is_same(a, b) for a, b in pairs]), max(best, default=0.0))


def _is_same(a: Detections, b: Detections) -> bool:
    if len(a) != len(b):
        return False
    return bool(
        np.allclose(a.boxes_xyxy, b.boxes_xyxy, rtol=0, atol=SAME_PIXELS)
        and np.allclose(a.scores, b.scores, rtol=0, atol=SAME_SCORE)
    )


def _mean(values: Sequence[bool] | Sequence[float] | np.ndarray) -> float:
    """1 for nothing: nothing differs."""
    return float(np.mean(values)) if len(values) else 1.0


def scores_in(folder: Path, video: str) -> tuple[WindowScore, ...]:
    """The window scores that a job left in its folder."""
    path = folder / job.SCORES
    if not path.is_file():
        path = records.windows_path(folder / job.RESULTS, video)
    return unpack_scores(atomic.read_arrays(path))


def frames(ours: Path, others: Path, video: str) -> FramesCompared:
    """Compare what two runs of the driver wrote of one video, by the folders of the jobs."""
    a, b = (records.read_video(folder / job.RESULTS, video) for folder in (ours, others))
    places = [[(bout.behavior, bout.start_frame, bout.end_frame) for bout in one.bouts] for one in (a, b)]
    return FramesCompared(classes(a.posteriors, b.posteriors), places[0] == places[1], (len(a.bouts), len(b.bouts)))


def detectors(ours: Path, others: Path) -> BoxesCompared:
    """Compare what the detectors of two jobs said themselves."""
    a, b = (list(replay.read(folder / job.FOUND).values()) for folder in (ours, others))
    return boxes(a, b)
