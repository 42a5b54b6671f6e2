"""Bout by bout: F1 at an overlap, and the edit score, as in work on action segmentation (Lea et al. 2017, MS-TCN 2019).

Background is dropped in both. Overlaps are of whole frames, so that one that is met exactly is met.
"""

from __future__ import annotations

from collections.abc import Sequence

from mousetal.intervals import temporal_iou
from mousetal.types import FrameRange
from training.evaluation.comparison import Comparison
from training.evaluation.share import Counts, Number

OVERLAPS = (0.10, 0.25, 0.50)


def f1_counts(truth: Sequence[FrameRange], found: Sequence[FrameRange], min_iou: float) -> Counts:
    """Each found bout in order of time claims the true one that it overlaps most, if that is enough and still free."""
    used = [False] * len(truth)
    hits = 0
    for one in found:
        overlaps = [temporal_iou(one, true) for true in truth]
        best = max(range(len(truth)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= min_iou and overlaps[best] > 0 and not used[best]:
            used[best] = True
            hits += 1
    return Counts(hits, len(found) - hits, len(truth) - hits)


def counts(comparison: Comparison, behavior: str, min_iou: float) -> Counts:
    """`f1_counts` of one behaviour in one video."""
    return f1_counts(comparison.truth[behavior], comparison.found_ranges(behavior), min_iou)


def edit_score(comparison: Comparison) -> Number:
    """100 for the same bouts in the same order, 0 for nothing in common; None where there is nothing to order.

    100 * (1 - edits / length of the longer), where an edit adds, drops or renames a bout. Times don't matter.
    """
    truth = _sequence({name: comparison.truth[name] for name in comparison.behaviors})
    found = _sequence({name: comparison.found_ranges(name) for name in comparison.behaviors})
    longer = max(len(truth), len(found))
    return 100 * (1 - edit_distance(truth, found) / longer) if longer else None


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The fewest additions, removals and replacements that make b of a (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, item in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (item != other))
    return row[-1]


def split_and_merged(truth: Sequence[FrameRange], found: Sequence[FrameRange]) -> tuple[int, int]:
    """True bouts that share frames with two or more found ones, and found bouts that do with two or more true ones."""
    split = sum(sum(one.overlap(other) > 0 for other in found) > 1 for one in truth)
    merged = sum(sum(one.overlap(other) > 0 for other in truth) > 1 for one in found)
    return split, merged


def _sequence(bouts: dict[str, tuple[FrameRange, ...]]) -> list[str]:
    ordered = sorted((one.start_frame, one.end_frame, name) for name, ranges in bouts.items() for one in ranges)
    return [name for _, _, name in ordered]
