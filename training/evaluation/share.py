"""Precision, recall and F1 from three counts: shared by scores over frames, segments and onsets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Number = float | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What was found and is true, was found and is not, is true and was not found. They add up over videos."""

    hits: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.false + other.false, self.missed + other.missed)

    @property
    def support(self) -> int:
        """How many there truly are."""
        return self.hits + self.missed

    @property
    def precision(self) -> Number:
        return ratio(self.hits, self.hits + self.false)

    @property
    def recall(self) -> Number:
        return ratio(self.hits, self.support)

    @property
    def f1(self) -> Number:
        return ratio(2 * self.hits, 2 * self.hits + self.false + self.missed)


def total(counts: Iterable[Counts]) -> Counts:
    """The sum over videos."""
    columns = list(zip(*((one.hits, one.false, one.missed) for one in counts), strict=True))
    return Counts(*map(sum, columns)) if columns else Counts()


def ratio(part: float, whole: float) -> Number:
    """``part / whole``; None where there is no whole."""
    return part / whole if whole else None


def mean(values: Iterable[Number]) -> Number:
    """The mean of those that are defined; None where none is."""
    defined = [value for value in values if value is not None and math.isfinite(value)]
    return sum(defined) / len(defined) if defined else None
