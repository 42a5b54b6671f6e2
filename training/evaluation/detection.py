"""Mean average precision at overlaps in time (mAP@tIoU), as ActivityNet's published scorer defines it.

Per behaviour all found bouts of all videos are sorted by confidence, the surest first; each takes the free true bout of
its video that it overlaps most, if by at least the threshold. The area under the curve of precision over recall,
precision made monotone, is the behaviour's average precision; mAP is the mean over behaviours that truly occur.

Where bouts come without confidences, as people's do, there is no order to go by and so no such number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.intervals import temporal_iou
from mousetal.types import Float64Array
from training.evaluation.comparison import BoolArray, Comparison, behaviors_of
from training.evaluation.share import Number, mean

THRESHOLDS = {
    "0.3:0.1:0.7": (0.3, 0.4, 0.5, 0.6, 0.7),  # THUMOS14
    "0.1:0.1:0.5": (0.1, 0.2, 0.3, 0.4, 0.5),  # for events of less than a second
    "0.5:0.05:0.95": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),  # ActivityNet
}


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """One video's found bouts, the surest first, and which of them are true; ``num_true`` bouts there are."""

    confidences: Float64Array
    is_hit: BoolArray
    num_true: int


def ranked(comparison: Comparison, behavior: str, min_iou: float) -> Ranked:
    """Which of a video's found bouts are true. Videos don't compete for true bouts, so each is done by itself.

    Of true bouts that are overlapped alike the later one is taken, as in the published scorer.
    """
    truth = comparison.truth[behavior]
    found = sorted(comparison.found[behavior], key=lambda one: -one.confidence)
    free = set(range(len(truth)))
    hits = []
    for one in found:
        overlaps = [
            (temporal_iou(one.frames, truth[place]), place) for place in free if one.frames.overlap(truth[place])
        ]
        overlap, place = max(overlaps, default=(0.0, -1))
        is_hit = overlap >= min_iou and overlap > 0
        free -= {place} if is_hit else set()
        hits.append(is_hit)
    confidences = np.array([one.confidence for one in found], np.float64)
    return Ranked(confidences, np.array(hits, np.bool_), len(truth))


def average_precision(videos: Sequence[Ranked]) -> Number:
    """Of one behaviour over all videos; None where it never occurs, 0 where it does and nothing was found."""
    num_true = sum(one.num_true for one in videos)
    if not num_true:
        return None
    confidences = np.concatenate([one.confidences for one in videos])
    hits = np.concatenate([one.is_hit for one in videos])[np.argsort(-confidences, kind="stable")]
    recall = np.cumsum(hits) / num_true
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def has_order(comparisons: Sequence[Comparison], behavior: str) -> bool:
    """Whether the found bouts can be sorted by confidence: a model gave them, or they differ, or there is but one."""
    confidences = [found.confidence for one in comparisons for found in one.found.get(behavior, ())]
    return any(behavior in one.posteriors for one in comparisons) or len(confidences) < 2 or len(set(confidences)) > 1


def mean_average_precision(comparisons: Sequence[Comparison], thresholds: Sequence[float]) -> Number:
    """The mean over behaviours that occur, and whose bouts have confidences, and over thresholds."""
    return mean(
        average_precision([ranked(one, behavior, threshold) for one in comparisons if behavior in one.truth])
        for behavior in behaviors_of(comparisons)
        if has_order(comparisons, behavior)
        for threshold in thresholds
    )
