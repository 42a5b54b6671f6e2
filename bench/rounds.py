"""From the numbers of rounds to medians with their spread. Ratios are taken within a round, and then the median."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a number over rounds, and its least and greatest value."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread | None:
    """None without values."""
    known = list(values)
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def ratios(base: Mapping[int, float], others: Mapping[int, float]) -> list[float]:
    """How many times less each other number is than the base of its own round; both are by round.

    Rounds that lack either are left out, so that a slow minute weighs on both or on none.
    """
    return [base[number] / others[number] for number in sorted(base.keys() & others.keys())]


def shares(whole: Mapping[int, float], parts: Mapping[int, float]) -> list[float]:
    """How much of the whole is left when the part of the same round is taken away; negative where the part is more."""
    return [1 - parts[number] / whole[number] for number in sorted(whole.keys() & parts.keys())]
