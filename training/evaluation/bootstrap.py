"""How much a number would change had other animals been filmed: percentile intervals from resampling subjects.

Frames of a video and videos of an animal resemble each other, so neither may be drawn by itself: the intervals would be
far too narrow. A number is made from items that add up or join (counts of one video, say), so that a draw is cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from training.evaluation.share import Number

Item = TypeVar("Item")
Interval = tuple[float, float] | None

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
FEWEST_SUBJECTS = 3  # with fewer, an interval would say more than anyone knows


def interval(
    items: Sequence[Item],
    subjects: Sequence[str],
    statistic: Callable[[list[Item]], Number],
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = SEED,
) -> Interval:
    """Percentile interval of ``statistic`` over ``items``, of which each belongs to one of ``subjects``.

    None with fewer than FEWEST_SUBJECTS, or where the number is undefined in half of the draws. The same seed draws the
    same subjects for every number, so that numbers of one set of videos can be compared.
    """
    groups: dict[str, list[Item]] = {}
    for item, subject in zip(items, subjects, strict=True):
        groups.setdefault(subject, []).append(item)
    parts = list(groups.values())
    if len(parts) < FEWEST_SUBJECTS:
        return None
    resamples = RESAMPLES if resamples is None else resamples
    draws = np.random.default_rng(seed).integers(len(parts), size=(resamples, len(parts)))
    found = [statistic([item for place in draw for item in parts[place]]) for draw in draws.tolist()]
    defined = [value for value in found if value is not None]
    if 2 * len(defined) < resamples:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
