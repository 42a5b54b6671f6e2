"""What the figures of one video show, as data: lanes of the ethogram, durations of bouts, the animal's places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from inference_script.report import drawing, numbers, words
from mousetal import svg
from mousetal.seconds import bout_seconds, seconds_at
from mousetal.svg import percent
from mousetal.types import Float64Array, VideoResult

# Above this many, the bars of a class are drawn as one shape without tooltips.
MOST_BARS = 500
# More dots than this hide each other; then an even choice of the bouts is drawn.
MOST_DOTS, MOST_MARKS = 1000, 150
# One axis for all videos, so that figures can be compared by eye.
DURATION_AXIS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# The golden ratio spreads neighbours evenly over a lane without a random number.
SPREAD = 0.618034
T = TypeVar("T")

SOURCE_WORDS = {"detected": "seen", "interpolated": "interpolated", "held": "held"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A span on the time axis, in percent; ``href`` leads to the bout's row in the table, "" when it has none."""

    x: float
    width: float
    title: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One behaviour in the ethogram and in the figure of durations.

    Bouts are in ``bars``, or in ``bars_path`` where there are too many. ``trace`` draws the probability, ``dots`` are
    the bouts' durations (x in percent, height in the lane 0..1).
    """

    behavior: str
    color: str
    numbers: numbers.BehaviorNumbers
    bars: list[Bar]
    bars_path: str
    overview_path: str
    trace: str
    thresholds: list[float]
    dots: list[tuple[float, float]]
    median_percent: float | None


@dataclass(frozen=True, slots=True)
class PlaceMap:
    """Where the animal was: cells of time, and a mark (x, y in percent, colour) for each bout."""

    cells: list[drawing.Cell]
    columns: int
    rows: int
    marks: list[tuple[float, float, str]]
    sources: str


def lane(
    result: VideoResult,
    of_class: numbers.BehaviorNumbers,
    color: str,
    edges: Float64Array,
    labels: Mapping[int, tuple[str, str]],
    trace_points: int,
) -> Lane:
    """The lane of one behaviour. ``labels`` gives each bout's tooltip and link by its place in ``result.bouts``."""
    duration_s = float(edges[-1])
    index = result.classifier.classes.index(of_class.behavior)
    places = [i for i, bout in enumerate(result.bouts) if bout.behavior == of_class.behavior]
    spans = [bout_seconds(result.info, result.bouts[i]) for i in places]
    has_bars = len(spans) <= MOST_BARS
    return Lane(
        behavior=of_class.behavior,
        color=color,
        numbers=of_class,
        bars=[bar(span, duration_s, *labels[i]) for i, span in zip(places, spans, strict=True) if has_bars],
        bars_path="" if has_bars else svg.bars_path(spans, duration_s),
        overview_path=svg.bars_path(spans, duration_s, columns=500),
        trace=svg.trace(result.posteriors[:, index], edges, trace_points),
        thresholds=_thresholds(result, index),
        dots=[
            (_on_duration_axis(end - start), i * SPREAD % 1)
            for i, (start, end) in enumerate(_thinned(spans, MOST_DOTS))
        ],
        median_percent=None if of_class.median_s is None else _on_duration_axis(of_class.median_s),
    )


def bar(span_s: tuple[float, float], duration_s: float, title: str, href: str = "") -> Bar:
    """A span of seconds as a bar."""
    x, end = (percent(moment, duration_s) for moment in span_s)
    return Bar(round(x, 4), round(end - x, 4), title, href)


def holes(result: VideoResult, duration_s: float) -> list[Bar]:
    """The ranges that were not scored, as bars."""
    bars = []
    for hole in result.not_scored:
        start, end = hole.frames.start_frame, hole.frames.end_frame
        span = seconds_at(result.info, start), seconds_at(result.info, end)
        bars.append(bar(span, duration_s, f"not scored: {hole.reason}"))
    return bars


def place(result: VideoResult, colors: Mapping[str, str]) -> PlaceMap:
    """The map of one video, with a mark at the middle of each bout's box."""
    info = result.info
    cells, columns, rows = drawing.occupancy(result.boxes, info.width, info.height)
    marks = []
    for bout in _thinned(result.bouts, MOST_MARKS):
        if bout.box_xyxy:
            x1, y1, x2, y2 = bout.box_xyxy
            x, y = 50 * (x1 + x2) / info.width, 50 * (y1 + y2) / info.height
            marks.append((round(x, 2), round(y, 2), colors[bout.behavior]))
    return PlaceMap(cells, columns, rows, marks, _sources([box.source for box in result.boxes]))


def duration_axis() -> list[tuple[float, str]]:
    """Marks of the axis of bout durations: position in percent, seconds."""
    return [(_on_duration_axis(seconds), f"{seconds:g}") for seconds in DURATION_AXIS_S]


def _on_duration_axis(seconds: float) -> float:
    return round(drawing.log_percent(seconds, DURATION_AXIS_S[0], DURATION_AXIS_S[-1]), 2)


def _thinned(items: Sequence[T], most: int) -> Sequence[T]:
    """Evenly chosen items, at most so many."""
    return items[:: -(-len(items) // most) or 1]


def _thresholds(result: VideoResult, index: int) -> list[float]:
    """The lines to draw across a trace; none where bouts were made by the reference's rule instead."""
    if result.reference_compat or index >= len(result.classifier.rules):
        return []
    rule = result.classifier.rules[index]
    return sorted({rule.threshold, rule.low_threshold}, reverse=True)


def _sources(sources: Sequence[str]) -> str:
    """How the places of the animal are known, such as: Known on 1,200 frames: seen on 97 %, held on 3 %."""
    if not sources:
        return "The animal was not found on any frame."
    parts = [
        f"{SOURCE_WORDS.get(name, name)} on {100 * n / len(sources):.3g} %"
        for name, n in Counter(sources).most_common()
    ]
    return f"Known on {words.count(len(sources), 'frame')}: {', '.join(parts)}."
