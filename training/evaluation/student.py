"""Student's t distribution, for intervals around means of a few animals. Exact for whole degrees of freedom."""

from __future__ import annotations

import functools
import math


def probability(t: float, degrees: int) -> float:
    """The chance that |T| <= t, from the finite series in Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cos, sin = math.cos(angle), math.sin(angle)
    if degrees % 2:
        term, series = cos, cos if degrees > 1 else 0.0
        for k in range(3, degrees - 1, 2):
            term *= cos * cos * (k - 1) / k
            series += term
        return 2 / math.pi * (angle + sin * series)
    term = series = 1.0
    for k in range(2, degrees - 1, 2):
        term *= cos * cos * (k - 1) / k
        series += term
    return sin * series


@functools.cache
def quantile(level: float, degrees: int) -> float:
    """The t for which |T| <= t with chance ``level``: 12.706 for 0.95 and one degree of freedom."""
    low, high = 0.0, 1.0
    while probability(high, degrees) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle, degrees) < level else (low, middle)
    return high
