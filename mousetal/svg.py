"""Geometry of figures for pages: from seconds and probabilities to percentages and SVG paths. Templates do the drawing.

Horizontal positions are percent of a video's duration, so that a figure fits a phone, a screen and a sheet of paper
without its text being scaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.types import Float32Array, Float64Array

# Okabe and Ito (2008), told apart by colour-blind eyes; the yellow is left out, which is too faint on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5c5c5c")
# Points of one probability trace: with 4,800 a three-hour video keeps every peak (see `envelope`) in 40 kB of text, and
# still has a shape when zoomed in.
TRACE_POINTS = 4800
# Width and height of a trace's own whole-numbered coordinates, stretched to the figure's.
TRACE_WIDTH, TRACE_HEIGHT = 20_000, 100
TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the time axis; ``anchor`` keeps the outermost labels inside the figure."""

    x_percent: float
    label: str
    anchor: str


def clock(seconds: float, decimals: int = 1) -> str:
    """``m:ss.s`` below an hour, ``h:mm:ss.s`` above: 75.25 -> "1:15.3"."""
    ticks = round(seconds * 10**decimals)
    whole, fraction = divmod(ticks, 10**decimals)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f".{fraction:0{decimals}d}" if decimals else ""
    return f"{hours}:{minutes:02d}:{secs:02d}{tail}" if hours else f"{minutes}:{secs:02d}{tail}"


def percent(seconds: float, duration_s: float) -> float:
    """Where a moment lies on the time axis, in percent of its length."""
    return 100 * min(max(seconds / duration_s, 0.0), 1.0) if duration_s > 0 else 0.0


def ticks(duration_s: float, most: int) -> list[Tick]:
    """At most about ``most`` marks at round times."""
    step = next((s for s in TICK_STEPS_S if duration_s / s <= most), TICK_STEPS_S[-1])
    decimals = 0 if step >= 1 else 1
    marks = []
    for i in range(math.floor(duration_s / step) + 1):
        x = percent(i * step, duration_s)
        anchor = "start" if x < 2 else "end" if x > 98 else "middle"
        marks.append(Tick(x, clock(i * step, decimals), anchor))
    return marks


def envelope(values: Float32Array, most: int = TRACE_POINTS) -> list[int]:
    """Indices of the points to draw of a long trace: the lowest and the highest of each of ``most / 2`` bins, in order.

    Averaging would flatten a twitch of five frames in a video of hours; the extremes keep it. NaN (not scored) is
    passed over; a bin of nothing else yields its first index, so that the gap shows.
    """
    n = len(values)
    if n <= most:
        return list(range(n))
    size = -(-n // (most // 2))
    padded = np.full(-(-n // size) * size, np.nan, np.float64)
    padded[:n] = values
    bins = padded.reshape(-1, size)
    lowest = np.where(np.isnan(bins), np.inf, bins).argmin(axis=1)
    highest = np.where(np.isnan(bins), -np.inf, bins).argmax(axis=1)
    offsets = np.arange(len(bins)) * size
    kept: list[int] = np.unique(np.concatenate([offsets + lowest, offsets + highest])).tolist()
    return kept


def trace(values: Float32Array, edges: Float64Array, most: int = TRACE_POINTS) -> str:
    """SVG path of the area below a probability over time, in pieces where nothing was scored between.

    ``values`` is float32 (frames,), ``edges`` float64 (frames + 1,) seconds.
    """
    if not len(values) or edges[-1] <= 0:
        return ""
    kept = envelope(values, most)
    middles = (edges[:-1] + edges[1:]) / 2
    points = [(TRACE_WIDTH * middles[i] / edges[-1], TRACE_HEIGHT * (1 - float(values[i]))) for i in kept]
    pieces = []
    for run in _finite_runs(points):
        steps = " ".join(f"{x:.0f},{y:.0f}" for x, y in run)
        pieces.append(f"M{run[0][0]:.0f},{TRACE_HEIGHT}L{steps} {run[-1][0]:.0f},{TRACE_HEIGHT}Z")
    return "".join(pieces)


def _finite_runs(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for point in points:
        if math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def bars_path(spans_s: Sequence[tuple[float, float]], duration_s: float, columns: int | None = None) -> str:
    """One SVG path of all spans as rectangles, in the trace's coordinates; on a grid of ``columns``, if given.

    The grid joins what falls on neighbouring columns, which keeps an overview of two thousand bouts to a few kB.
    """
    if duration_s <= 0:
        return ""
    if columns is None:
        edges = [(TRACE_WIDTH * a / duration_s, TRACE_WIDTH * b / duration_s) for a, b in spans_s]
    else:
        covered = np.zeros(columns + 2, bool)
        for start, end in spans_s:
            first = min(int(columns * start / duration_s), columns - 1)
            covered[first + 1 : max(first + 2, math.ceil(columns * end / duration_s) + 1)] = True
        covered[-1] = False
        turns = np.flatnonzero(np.diff(covered.astype(np.int8))) * TRACE_WIDTH / columns
        edges = [(float(a), float(b)) for a, b in turns.reshape(-1, 2)]
    return "".join(f"M{a:.0f},0H{b:.0f}V{TRACE_HEIGHT}H{a:.0f}Z" for a, b in edges)
