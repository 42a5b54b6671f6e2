"""How far people agree, beyond chance: Cohen's kappa, Gwet's AC1 and Krippendorff's alpha, all on frames.

Kappa breaks down for rare behaviours (two people who agree on 99 % of the frames may get 0), AC1 does not; alpha takes
more than two people and frames that not all of them scored. Nominal categories throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mousetal.types import Int64Array, Label
from training.evaluation.comparison import BoolArray, Comparison
from training.evaluation.share import Number, ratio

MISSING = -1


def table(comparison: Comparison, behavior: str) -> Int64Array:
    """(2, 2) scored frames by what the first says (rows) and the second: no, yes."""
    first = comparison.true_mask(behavior)[comparison.is_scored]
    second = comparison.found_mask(behavior)[comparison.is_scored]
    return np.bincount(2 * first + second, minlength=4).reshape(2, 2)


def cohen_kappa(counts: npt.ArrayLike) -> Number:
    """From a square table of counts; None where chance alone would agree on everything."""
    shares = _shares(counts)
    if shares is None:
        return None
    expected = float(shares.sum(axis=0) @ shares.sum(axis=1))
    return ratio(float(np.trace(shares)) - expected, 1 - expected) if expected < 1 else None


def gwet_ac1(counts: npt.ArrayLike) -> Number:
    """From a square table of counts, (categories, categories) with at least two categories."""
    shares = _shares(counts)
    if shares is None:
        return None
    prevalence = (shares.sum(axis=0) + shares.sum(axis=1)) / 2
    expected = float((prevalence * (1 - prevalence)).sum()) / (len(prevalence) - 1)
    return ratio(float(np.trace(shares)) - expected, 1 - expected)


def krippendorff_alpha(ratings: npt.ArrayLike) -> Number:
    """From (raters, units) of whole numbers, MISSING where one did not rate; None where all that was said is the same.

    Units that fewer than two people rated don't count.
    """
    values = np.asarray(ratings, np.int64)
    categories = np.unique(values[values != MISSING])
    counts = np.stack([(values == category).sum(axis=0) for category in categories], axis=1).astype(np.float64) \
        if len(categories) else np.zeros((0, 0))  # fmt: skip
    counts = counts[counts.sum(axis=1) > 1]
    if not counts.size:
        return None
    raters = counts.sum(axis=1)
    coincidences = (counts.T / (raters - 1)) @ counts - np.diag((counts / (raters - 1)[:, None]).sum(axis=0))
    margins = coincidences.sum(axis=0)
    whole = margins.sum()
    expected = (whole**2 - (margins**2).sum()) / (whole - 1)
    return None if expected == 0 else float(1 - (whole - np.trace(coincidences)) / expected)


def ratings(
    by_rater: Mapping[str, Iterable[Label]], raters: Sequence[str], behavior: str, is_scored: BoolArray
) -> Int64Array:
    """(raters, scored frames) of one video for `krippendorff_alpha`: 1 where one saw it, MISSING if one didn't look."""
    said = np.full((len(raters), len(is_scored)), MISSING, np.int64)
    for place, rater in enumerate(raters):
        if rater in by_rater:
            said[place] = 0
            for label in by_rater[rater]:
                if label.behavior == behavior:
                    said[place, label.frames.start_frame : label.frames.end_frame] = 1
    return said[:, is_scored]


def pairs_of(raters: Sequence[str]) -> list[tuple[str, str]]:
    """All pairs, in order."""
    return list(combinations(raters, 2))


def _shares(counts: npt.ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    table = np.asarray(counts, np.float64)
    return table / table.sum() if table.sum() else None
