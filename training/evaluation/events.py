"""Did it begin when the person says it did: onsets within a tolerance, one to one. The right measure for twitches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mousetal.types import Float64Array
from training.evaluation.comparison import Comparison
from training.evaluation.share import Counts

FRAME = "1 frame"
TOLERANCES_S: dict[str, float | None] = {FRAME: None, "50 ms": 0.05, "100 ms": 0.1, "250 ms": 0.25, "500 ms": 0.5}
SLACK = 1e-6  # what times may be off in floating point
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """How much too late (positive) bouts began and ended, in seconds, float64 (pairs,) each."""

    onsets_s: Float64Array
    offsets_s: Float64Array


def match_onsets(true: Sequence[float], found: Sequence[float], tolerance: float) -> list[Pair]:
    """Pairs (place in ``true``, place in ``found``), one to one, none further apart than ``tolerance``.

    As many as can be, and of all ways to have so many the one with the least distance in all. Both are sorted. Pairs
    never need to cross, so one table over both sequences finds them; it is made per cluster of near neighbours.
    """
    pairs: list[Pair] = []
    for trues, founds in _clusters(true, found, tolerance):
        near = _best([true[i] for i in trues], [found[j] for j in founds], tolerance)
        pairs += [(trues[i], founds[j]) for i, j in near]
    return pairs


def counts(comparison: Comparison, behavior: str, tolerance: str) -> Counts:
    """Onsets found in time, false and missed, at one of TOLERANCES_S. One frame means one in frame numbers."""
    true, found = comparison.truth[behavior], comparison.found_ranges(behavior)
    seconds = TOLERANCES_S[tolerance]
    edges = np.arange(comparison.num_frames + 1) if seconds is None else comparison.edges_seconds
    starts = [[float(edges[one.start_frame]) for one in side] for side in (true, found)]
    hits = len(match_onsets(starts[0], starts[1], 1 if seconds is None else seconds))
    return Counts(hits, len(found) - hits, len(true) - hits)


def errors(comparison: Comparison, behavior: str, tolerance_s: float = 0.5) -> Errors:
    """Signed errors of the bouts whose onsets match within ``tolerance_s``."""
    true = [comparison.seconds(one) for one in comparison.truth[behavior]]
    found = [comparison.seconds(one) for one in comparison.found_ranges(behavior)]
    pairs = match_onsets([start for start, _ in true], [start for start, _ in found], tolerance_s)
    late = np.array([(found[j][0] - true[i][0], found[j][1] - true[i][1]) for i, j in pairs], np.float64)
    return Errors(*late.reshape(-1, 2).T)


def _clusters(true: Sequence[float], found: Sequence[float], tolerance: float) -> list[tuple[list[int], list[int]]]:
    """Places in both sequences, cut where the next moment is too far away for any pair across."""
    moments = sorted([(t, 0, i) for i, t in enumerate(true)] + [(t, 1, j) for j, t in enumerate(found)])
    breaks = [n for n, (a, b) in enumerate(pairwise(moments), start=1) if b[0] - a[0] > tolerance + SLACK]
    edges = [0, *breaks, len(moments)]
    parts = [moments[a:b] for a, b in pairwise(edges)]
    split = [([k for _, side, k in part if side == 0], [k for _, side, k in part if side == 1]) for part in parts]
    return [(trues, founds) for trues, founds in split if trues and founds]


def _best(true: list[float], found: list[float], tolerance: float) -> list[Pair]:
    """The most pairs at the least distance: best[i][j] is (pairs left out, distance) of the first i and j."""
    best = [[(0, 0.0)] * (len(found) + 1) for _ in range(len(true) + 1)]
    is_pair = [[False] * (len(found) + 1) for _ in range(len(true) + 1)]
    for i in range(1, len(true) + 1):
        for j in range(1, len(found) + 1):
            best[i][j] = min(best[i - 1][j], best[i][j - 1])
            distance = abs(true[i - 1] - found[j - 1])
            if distance <= tolerance + SLACK:
                number, length = best[i - 1][j - 1]
                with_pair = (number - 1, length + distance)
                if with_pair < best[i][j]:
                    best[i][j], is_pair[i][j] = with_pair, True
    pairs: list[Pair] = []
    i, j = len(true), len(found)
    while i and j:
        if is_pair[i][j]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]
