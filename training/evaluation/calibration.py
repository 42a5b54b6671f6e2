"""Is a probability of 0.8 right in 80 of 100 cases? Reliability, its summary (ECE), the temperature that mends it.

Guo et al. (2017): dividing the network's logits by one number, the temperature, makes its probabilities as sure as it
is right, and changes no ranking between classes. It is chosen so that the truth is likeliest on the frames' posteriors,
that is after the windows' probabilities were averaged: these are what bouts are made from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.intervals import frame_posteriors, match
from mousetal.types import Float32Array, Float64Array, WindowScore
from training.evaluation.comparison import BoolArray, Comparison
from training.evaluation.share import Number

BINS = 10
RIGHT_IOU = 0.1  # a found bout is right when it overlaps a true one by this much, one to one
TEMPERATURES = (0.25, 8.0)  # the range that is searched
SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Bin:
    """Cases whose probability lies in [low, high): how many, their mean probability, the share that is true."""

    low: float
    high: float
    n: int
    probability: Number
    share_true: Number


def reliability(probabilities: Float64Array, is_true: BoolArray, bins: int = BINS) -> list[Bin]:
    """Bins of equal width; the last one includes 1."""
    places = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    made = []
    for place in range(bins):
        inside = places == place
        n = int(inside.sum())
        averages = (float(probabilities[inside].mean()), float(is_true[inside].mean())) if n else (None, None)
        made.append(Bin(place / bins, (place + 1) / bins, n, *averages))
    return made


def expected_calibration_error(bins: Sequence[Bin]) -> Number:
    """The mean gap between probability and share of true cases, weighted by cases; None without any."""
    n = sum(one.n for one in bins)
    gaps = [one.n * abs(one.probability - one.share_true) for one in bins if one.probability is not None and one.n
            and one.share_true is not None]  # fmt: skip
    return sum(gaps) / n if n else None


def judged_bouts(comparison: Comparison, behavior: str) -> tuple[Float64Array, BoolArray]:
    """Each found bout's confidence, and whether it is right."""
    found = comparison.found[behavior]
    pairs = match([one.frames for one in found], comparison.truth[behavior], RIGHT_IOU)
    is_right = np.zeros(len(found), np.bool_)
    is_right[[i for i, _ in pairs]] = True
    return np.array([one.confidence for one in found], np.float64), is_right


def risk_coverage(confidences: Float64Array, is_right: BoolArray) -> tuple[Float64Array, Float64Array]:
    """If only the surest bouts are believed: the share that is kept, and of these the share that is wrong."""
    order = np.argsort(-confidences, kind="stable")
    kept = np.arange(1, len(order) + 1)
    return kept / max(len(order), 1), np.cumsum(~is_right[order]) / kept


def tempered(probabilities: Float32Array, temperature: float, is_multi_label: bool) -> Float32Array:
    """What the probabilities (..., classes) would be, had the logits been divided by ``temperature``."""
    p = np.clip(probabilities.astype(np.float64), SMALLEST, 1 - SMALLEST if is_multi_label else 1.0)
    if is_multi_label:
        mended = 1 / (1 + np.exp((np.log1p(-p) - np.log(p)) / temperature))
    else:
        powers = np.exp((np.log(p) - np.log(p).max(axis=-1, keepdims=True)) / temperature)
        mended = powers / powers.sum(axis=-1, keepdims=True)
    return mended.astype(np.float32)


def tempered_scores(scores: Sequence[WindowScore], temperature: float, is_multi_label: bool) -> tuple[WindowScore, ...]:
    """The same windows at another temperature."""
    return tuple(
        WindowScore(one.window, one.crop_xyxy, tempered(one.probabilities, temperature, is_multi_label), one.flags)
        for one in scores
    )


def log_loss(posteriors: Float32Array, targets: Float64Array, is_multi_label: bool) -> tuple[float, int]:
    """Minus the log probability of the truth, summed, and over how many frames (multi-label: frames and classes).

    ``targets`` (frames, classes) is 1 for what is true, 0 for what is not, NaN where that is unknown.
    """
    p = np.clip(posteriors.astype(np.float64), SMALLEST, 1 - SMALLEST)
    if is_multi_label:
        losses = -targets * np.log(p) - (1 - targets) * np.log1p(-p)
    else:
        losses = -(targets * np.log(p)).sum(axis=1)
    known = losses[np.isfinite(losses)]
    return float(known.sum()), len(known)


def fit_temperature(
    videos: Sequence[tuple[Sequence[WindowScore], Float64Array]], is_multi_label: bool
) -> tuple[float, float | None, float | None]:
    """The temperature at which the truth is likeliest, the mean loss at 1 and there; 1 where nothing is known.

    ``videos`` are windows and `log_loss`'s targets of the same video.
    """

    def loss(temperature: float) -> float | None:
        total, known = 0.0, 0
        for scores, targets in videos:
            mended = tempered_scores(scores, temperature, is_multi_label)
            part, n = log_loss(frame_posteriors(mended, *targets.shape), targets, is_multi_label)
            total, known = total + part, known + n
        return total / known if known else None

    before = loss(1.0)
    if before is None:
        return 1.0, None, None
    lowest = _lowest(lambda log_t: loss(math.exp(log_t)) or 0.0, math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    after = loss(math.exp(lowest))
    return (math.exp(lowest), before, after) if after is not None and after < before else (1.0, before, before)


def _lowest(function: Callable[[float], float], low: float, high: float, steps: int = 24) -> float:
    """Where a function with one valley is lowest, by the golden section."""
    golden = (math.sqrt(5) - 1) / 2
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(steps):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = function(b)
    return (low + high) / 2
