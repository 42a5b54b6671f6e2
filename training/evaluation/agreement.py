"""Per video: how often, how long, how soon. Do two scorers come to the same count, total duration, latency?

Bias and limits of agreement as Bland and Altman (1986, 1999) have them; concordance as Lin (1989); the intraclass
correlation as ICC(2,1) of Shrout and Fleiss (1979). All of the correlations grow with the range of the videos, so n and
the range stand beside them. A latency is known only where both saw the behaviour; videos where one did not are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.evaluation import student
from training.evaluation.comparison import Comparison
from training.evaluation.share import Number, ratio

LEVEL = 0.95
NORMAL = 1.959963984540054  # |Z| is below it with chance LEVEL
MEASURES = ("count", "duration_s", "latency_s")
Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two scorers over n videos. ``bias`` is second minus first; intervals are at 95 %. ``unpaired`` counts videos
    for which only one has a value."""

    n: int
    unpaired: int
    first_mean: Number
    second_mean: Number
    first_range: Interval
    second_range: Interval
    bias: Number
    bias_interval: Interval
    mae: Number
    lower_limit: Number
    lower_limit_interval: Interval
    upper_limit: Number
    upper_limit_interval: Interval
    ccc: Number
    icc: Number
    pearson: Number


def value(bouts_s: Sequence[tuple[float, float]], measure: str) -> Number:
    """One of MEASURES of a video's bouts (start, end in seconds); the latency counts from the first scored frame."""
    if measure == "count":
        return len(bouts_s)
    if measure == "duration_s":
        return sum(end - start for start, end in bouts_s)
    return min((start for start, _ in bouts_s), default=None)


def values(comparison: Comparison, behavior: str, measure: str) -> tuple[Number, Number]:
    """What the truth says and what was found in one video."""
    origin = _first_scored_second(comparison)
    sides = (comparison.truth[behavior], comparison.found_ranges(behavior))
    spans = [[comparison.seconds(one) for one in side] for side in sides]
    first, second = ([(a - origin, b - origin) for a, b in side] for side in spans)
    return value(first, measure), value(second, measure)


def agree(pairs: Sequence[tuple[Number, Number]]) -> Agreement:
    """How two scorers' values of the same videos agree."""
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    unpaired = sum((a is None) != (b is None) for a, b in pairs)
    first, second = np.array(both, np.float64).reshape(-1, 2).T
    n = len(both)
    if not n:
        return Agreement(0, unpaired, *[None] * 14)
    difference = second - first
    bias = float(difference.mean())
    deviation = float(difference.std(ddof=1)) if n > 1 else None
    t = student.quantile(LEVEL, n - 1) if n > 1 else 0.0
    limits: list[Number] = [None, None]
    limit_intervals: list[Interval] = [None, None]
    if deviation is not None:
        limits = [bias - NORMAL * deviation, bias + NORMAL * deviation]
        margin = t * deviation * np.sqrt(1 / n + NORMAL**2 / (2 * (n - 1)))
        limit_intervals = [_around(limit, margin) for limit in limits]
    return Agreement(
        n=n,
        unpaired=unpaired,
        first_mean=float(first.mean()),
        second_mean=float(second.mean()),
        first_range=(float(first.min()), float(first.max())),
        second_range=(float(second.min()), float(second.max())),
        bias=bias,
        bias_interval=None if deviation is None else _around(bias, t * deviation / np.sqrt(n)),
        mae=float(np.abs(difference).mean()),
        lower_limit=limits[0],
        lower_limit_interval=limit_intervals[0],
        upper_limit=limits[1],
        upper_limit_interval=limit_intervals[1],
        ccc=concordance(first, second),
        icc=intraclass(first, second),
        pearson=pearson(first, second),
    )


def concordance(first: npt.ArrayLike, second: npt.ArrayLike) -> Number:
    """Lin's CCC, variances divided by n: 1 only if all points lie on the line of equality. None for constant values."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(a) < 2:
        return None
    covariance = float(((a - a.mean()) * (b - b.mean())).mean())
    return ratio(2 * covariance, float(a.var() + b.var() + (a.mean() - b.mean()) ** 2))


def intraclass(first: npt.ArrayLike, second: npt.ArrayLike) -> Number:
    """ICC(2,1): two-way random effects, absolute agreement, one scorer. None for constant values."""
    table = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)], axis=1)
    n, k = table.shape
    if n < 2:
        return None
    mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    msr = k * float(((rows - mean) ** 2).sum()) / (n - 1)
    msc = n * float(((columns - mean) ** 2).sum()) / (k - 1)
    residual = table - rows[:, None] - columns[None, :] + mean
    mse = float((residual**2).sum()) / ((n - 1) * (k - 1))
    return ratio(msr - mse, msr + (k - 1) * mse + k * (msc - mse) / n)


def pearson(first: npt.ArrayLike, second: npt.ArrayLike) -> Number:
    """Pearson's r; None where one of the two never varies."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(a) < 2:
        return None
    return ratio(float(((a - a.mean()) * (b - b.mean())).mean()), float(a.std() * b.std()))


def _around(middle: float | None, margin: float) -> Interval:
    return None if middle is None else (float(middle - margin), float(middle + margin))


def _first_scored_second(comparison: Comparison) -> float:
    scored = np.flatnonzero(comparison.is_scored)
    return float(comparison.edges_seconds[scored[0]]) if len(scored) else 0.0
