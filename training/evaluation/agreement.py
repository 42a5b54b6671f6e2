"""Per video: how often, how long, how soon. Do two scorers come to the same count, total duration, latency?

Bias and limits of agreement as Bland and Altman (1986, 1999) have them; concordance as Lin (1989); the intraclass
correlation as ICC(2,1) of Shrout and Fleiss (1979). All of the correlations grow with the range of the videos, so n and
the range stand beside them. A latency is known only where both saw the behaviour; videos where one did not are counted.
Intervals come from drawing animals: the textbook's, by Student's t over videos, take several videos of one animal for
independent and are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mousetal.types import Float64Array
from training.evaluation import bootstrap
from training.evaluation.bootstrap import Interval
from training.evaluation.comparison import Comparison
from training.evaluation.share import Number, ratio

NORMAL = 1.959963984540054  # |Z| is below it with a chance of 95 %
MEASURES = ("count", "duration_s", "latency_s")
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two scorers over n videos. ``bias`` is second minus first; intervals are at 95 %, over animals, None with too
    few of them. ``unpaired`` counts videos for which only one has a value."""

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
    ccc_interval: Interval
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


def agree(pairs: Sequence[tuple[Number, Number]], subjects: Sequence[str]) -> Agreement:
    """How two scorers' values of the same videos agree. ``subjects`` are the videos' animals, which are resampled."""
    known = [((a, b), who) for (a, b), who in zip(pairs, subjects, strict=True) if a is not None and b is not None]
    unpaired = sum((a is None) != (b is None) for a, b in pairs)
    both, animals = [pair for pair, _ in known], [who for _, who in known]
    first, second = _sides(both)
    if not known:
        return Agreement(0, unpaired, *[None] * 15)

    def spread(statistic: Callable[[list[Pair]], Number]) -> Interval:
        return bootstrap.interval(both, animals, statistic)

    return Agreement(
        n=len(both),
        unpaired=unpaired,
        first_mean=float(first.mean()),
        second_mean=float(second.mean()),
        first_range=(float(first.min()), float(first.max())),
        second_range=(float(second.min()), float(second.max())),
        bias=bias(both),
        bias_interval=spread(bias),
        mae=float(np.abs(second - first).mean()),
        lower_limit=limit(both, -1),
        lower_limit_interval=spread(lambda some: limit(some, -1)),
        upper_limit=limit(both, 1),
        upper_limit_interval=spread(lambda some: limit(some, 1)),
        ccc=concordance(first, second),
        ccc_interval=spread(lambda some: concordance(*_sides(some))),
        icc=intraclass(first, second),
        pearson=pearson(first, second),
    )


def bias(pairs: Sequence[Pair]) -> float:
    """The mean of second minus first."""
    first, second = _sides(pairs)
    return float((second - first).mean())


def limit(pairs: Sequence[Pair], side: int) -> Number:
    """The lower (``side`` -1) or upper (1) limit of agreement: the bias and 1.96 standard deviations. None of one."""
    if len(pairs) < 2:
        return None
    first, second = _sides(pairs)
    difference = second - first
    return float(difference.mean() + side * NORMAL * difference.std(ddof=1))


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


def _sides(pairs: Sequence[Pair]) -> Float64Array:
    """(2, n): the first scorer's values and the second's."""
    return np.array(pairs, np.float64).reshape(-1, 2).T


def _first_scored_second(comparison: Comparison) -> float:
    scored = np.flatnonzero(comparison.is_scored)
    return float(comparison.edges_seconds[scored[0]]) if len(scored) else 0.0
