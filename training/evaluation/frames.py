"""Frame by frame: precision, recall, F1, precision-recall curves, confusion. Background is no behaviour.

Frames on which the model said nothing (no animal in sight, damaged) count as frames on which it found nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.types import Float64Array, Int64Array
from training.evaluation.comparison import BoolArray, Comparison, behaviors_of
from training.evaluation.share import Counts, Number

LEVELS = 1000  # of a score, where a curve is made from a histogram


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision and recall at falling thresholds, float64 (points,) each; a frame counts as found at >= threshold."""

    thresholds: Float64Array
    precision: Float64Array
    recall: Float64Array


def counts(comparison: Comparison, behavior: str) -> Counts:
    """Scored frames on which the behaviour was found rightly, found wrongly, and missed."""
    true = comparison.true_mask(behavior) & comparison.is_scored
    found = comparison.found_mask(behavior) & comparison.is_scored
    return Counts(int((true & found).sum()), int((~true & found).sum()), int((true & ~found).sum()))


def scores(comparison: Comparison, behavior: str) -> tuple[Float64Array, BoolArray]:
    """The posterior of each scored frame and whether the behaviour is truly there; 0 where the model said nothing."""
    posterior = np.nan_to_num(comparison.posteriors[behavior][comparison.is_scored].astype(np.float64), nan=0.0)
    return posterior, comparison.true_mask(behavior)[comparison.is_scored]


def pooled_scores(comparisons: Sequence[Comparison], behavior: str) -> tuple[Float64Array, BoolArray]:
    """`scores` of all videos in which the behaviour was looked for, by a model that knows it, one after the other."""
    parts = [scores(one, behavior) for one in comparisons if behavior in one.truth and behavior in one.posteriors]
    if not parts:
        return np.zeros(0), np.zeros(0, np.bool_)
    return np.concatenate([posterior for posterior, _ in parts]), np.concatenate([true for _, true in parts])


def curve(posterior: Float64Array, is_true: BoolArray) -> Curve | None:
    """One point per different score; None where nothing is true, recall is undefined then."""
    if not is_true.any():
        return None
    order = np.argsort(-posterior, kind="stable")
    hits = np.cumsum(is_true[order])
    last = np.flatnonzero(np.diff(posterior[order], append=np.nan) != 0)  # of the frames with one score
    return Curve(posterior[order][last], hits[last] / (last + 1), hits[last] / hits[-1])


def average_precision(points: Curve | None) -> Number:
    """The area under the curve in steps, without interpolation: each gain in recall at the precision it came with."""
    if points is None:
        return None
    return float(np.sum(np.diff(points.recall, prepend=0.0) * points.precision))


def histogram(comparison: Comparison, behavior: str) -> Int64Array:
    """(2, LEVELS): scored frames at each level of the posterior, those without and those with the behaviour."""
    posterior, is_true = scores(comparison, behavior)
    levels = np.minimum((posterior * LEVELS).astype(np.int64), LEVELS - 1)
    return np.stack([np.bincount(levels[is_true == side], minlength=LEVELS) for side in (False, True)])


def histogram_precision(sides: Int64Array) -> Number:
    """Average precision from a (sum of) histograms: within 1 / LEVELS of the exact one's scores, and quick."""
    without, with_it = np.cumsum(sides[:, ::-1], axis=1)
    if not with_it[-1]:
        return None
    found = without + with_it
    is_level = found > 0
    steps = np.diff(with_it / with_it[-1], prepend=0.0)
    return float(np.sum(steps[is_level] * with_it[is_level] / found[is_level]))


def confusion(comparisons: Sequence[Comparison], background: str) -> tuple[tuple[str, ...], Int64Array]:
    """Names, and scored frames by what is true (rows) and what was found (columns); first the background: none of them.

    A frame on which several things are true or found counts once for each pair of them.
    """
    names = (background, *behaviors_of(comparisons))
    table = np.zeros((len(names), len(names)), np.int64)
    for one in comparisons:
        places = [names.index(behavior) for behavior in one.behaviors]
        true = _with_background([one.true_mask(behavior) for behavior in one.behaviors], one)
        found = _with_background([one.found_mask(behavior) for behavior in one.behaviors], one)
        table[np.ix_([0, *places], [0, *places])] += true.astype(np.int64) @ found.astype(np.int64).T
    return names, table


def _with_background(masks: list[BoolArray], comparison: Comparison) -> BoolArray:
    some = np.array(masks, np.bool_).reshape(len(masks), comparison.num_frames)[:, comparison.is_scored]
    return np.concatenate([~some.any(axis=0, keepdims=True), some])
