"""One video's part of the report, as data: everything the template prints, nothing it must compute.

A section is small (traces thinned, pictures left as paths), so that a report over hundreds of videos needs little
memory: each result is turned into its section and let go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_script import thumbnails
from inference_script.report import drawing, numbers, words
from inference_script.report.drawing import percent
from mousetal.types import Bout, ClassifierSpec, DetectorSpec, Float64Array, VideoResult

# Above this many, bars of one class are drawn as one shape without tooltips.
MOST_BARS = 500
MOST_DOTS = 400
ZOOMS = (1, 4, 16)
TICKS_PER_SCREEN = 7
DURATION_AXIS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of each video a report shows, so that a report over many videos still opens."""

    strips_per_behavior: int
    table_rows: int
    trace_points: int

    @classmethod
    def for_videos(cls, videos: int) -> Budget:
        share = max(videos, 1)
        return cls(
            strips_per_behavior=min(thumbnails.MOST_PER_BEHAVIOR, 300 // share),
            table_rows=min(200, max(20, 20_000 // share)),
            trace_points=min(drawing.TRACE_POINTS, max(200, 120_000 // share)),
        )


@dataclass(frozen=True, slots=True)
class BoutRow:
    number: int
    behavior: str
    color: str
    start: str
    end: str
    start_frame: int
    last_frame: int
    duration: str
    confidence: float
    mean_probability: float
    flags: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A span on the time axis, in percent; ``href`` names the bout's row in the table, "" when it has none."""

    x: float
    width: float
    title: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One behaviour in the ethogram and the figures beside it."""

    behavior: str
    color: str
    numbers: numbers.BehaviorNumbers
    bars: list[Bar]
    bars_path: str
    overview_path: str
    line: str
    area: str
    thresholds: list[float]
    dots: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Strip:
    """A bout's picture, still on disk."""

    row: BoutRow
    path: Path


@dataclass(frozen=True, slots=True)
class StripGroup:
    behavior: str
    color: str
    strips: list[Strip]
    more: int


@dataclass(frozen=True, slots=True)
class PlaceMap:
    """Where the animal was: cells of time, and a mark (x, y in percent, colour) for each bout."""

    cells: list[drawing.Cell]
    columns: int
    rows: int
    marks: list[tuple[float, float, str]]
    sources: str


@dataclass(frozen=True, slots=True)
class Section:
    anchor: str
    video: str
    facts: list[str]
    duration_s: float
    scored_s: float
    warnings: list[str]
    lanes: list[Lane]
    holes: list[Bar]
    ticks: dict[int, list[drawing.Tick]]
    rows: list[BoutRow]
    more_rows: int
    bouts: int
    groups: list[StripGroup]
    place: PlaceMap
    detector: DetectorSpec
    classifier: ClassifierSpec
    reference_compat: bool


def build(result: VideoResult, anchor: str, colors: Mapping[str, str], folder: Path, budget: Budget) -> Section:
    """The section of one video. ``folder`` holds its thumbnails (it may be missing), ``colors`` a colour per behaviour."""
    edges = numbers.frame_edges(result.info)
    duration_s = float(edges[-1])
    ordered = sorted(result.bouts, key=lambda bout: (bout.start_frame, bout.end_frame))
    rows = {id(bout): _row(i, bout, edges, colors) for i, bout in enumerate(ordered, start=1)}
    shown = ordered[: budget.table_rows]
    linked = {id(bout): f"#{anchor}-{rows[id(bout)].number}" for bout in shown}
    return Section(
        anchor=anchor,
        video=result.video,
        facts=_facts(result),
        duration_s=duration_s,
        scored_s=numbers.scored_seconds(result),
        warnings=_warnings(result, edges),
        lanes=[
            _lane(result, of_class, edges, colors[of_class.behavior], rows, linked, budget)
            for of_class in numbers.of_video(result)
        ],
        holes=[
            _bar(edges[hole.frames.start_frame], edges[hole.frames.end_frame], duration_s, f"not scored: {hole.reason}")
            for hole in result.not_scored
        ],
        ticks={zoom: drawing.ticks(duration_s, TICKS_PER_SCREEN * zoom) for zoom in _zooms(duration_s)},
        rows=[rows[id(bout)] for bout in shown],
        more_rows=len(ordered) - len(shown),
        bouts=len(ordered),
        groups=_strip_groups(result, rows, colors, folder, budget.strips_per_behavior),
        place=_place(result, colors),
        detector=result.detector,
        classifier=result.classifier,
        reference_compat=result.reference_compat,
    )


def _zooms(duration_s: float) -> tuple[int, ...]:
    return ZOOMS if duration_s > 120 else ZOOMS[:1]


def _row(number: int, bout: Bout, edges: Float64Array, colors: Mapping[str, str]) -> BoutRow:
    start_s, end_s = numbers.bout_seconds(bout, edges)
    return BoutRow(
        number=number,
        behavior=bout.behavior,
        color=colors[bout.behavior],
        start=words.clock(start_s, 2),
        end=words.clock(end_s, 2),
        start_frame=bout.start_frame,
        last_frame=bout.end_frame - 1,
        duration=words.duration(end_s - start_s),
        confidence=bout.confidence,
        mean_probability=bout.mean_probability,
        flags="; ".join(words.flag(name) for name in bout.flags),
    )


def _facts(result: VideoResult) -> list[str]:
    info = result.info
    fps = f"{float(info.fps):.5g} frames per second" + (" (variable)" if info.is_variable_frame_rate else "")
    return [words.long_time(info.duration_seconds), f"{info.num_frames:,} frames", fps, f"{info.width}×{info.height}", info.codec]


def _warnings(result: VideoResult, edges: Float64Array) -> list[str]:
    """The file's and the pipeline's warnings, what was not scored and why, and what the bouts' flags mean."""
    texts = list(dict.fromkeys([*result.info.warnings, *result.warnings]))
    lost: dict[str, float] = {}
    for hole in result.not_scored:
        seconds = float(edges[hole.frames.end_frame] - edges[hole.frames.start_frame])
        lost[hole.reason] = lost.get(hole.reason, 0.0) + seconds
    total = float(edges[-1])
    for reason, seconds in lost.items():
        share = f" ({100 * seconds / total:.1f} % of the video)" if total > 0 else ""
        texts.append(f"{words.long_time(seconds)}{share} not scored: {reason}.")
    flags = Counter(name for bout in result.bouts for name in set(bout.flags))
    texts += [f"{n} of {words.count(len(result.bouts), 'bout')}: {words.flag(name)}." for name, n in flags.items()]
    return texts


def _bar(start_s: float, end_s: float, duration_s: float, title: str, href: str = "") -> Bar:
    x = percent(start_s, duration_s)
    return Bar(round(x, 4), round(percent(end_s, duration_s) - x, 4), title, href)


def _lane(
    result: VideoResult,
    of_class: numbers.BehaviorNumbers,
    edges: Float64Array,
    color: str,
    rows: Mapping[int, BoutRow],
    linked: Mapping[int, str],
    budget: Budget,
) -> Lane:
    behavior, duration_s = of_class.behavior, float(edges[-1])
    index = result.classifier.classes.index(behavior)
    bouts = [bout for bout in result.bouts if bout.behavior == behavior]
    spans = [numbers.bout_seconds(bout, edges) for bout in bouts]
    line, area = drawing.trace(result.posteriors[:, index], edges, budget.trace_points)
    return Lane(
        behavior=behavior,
        color=color,
        numbers=of_class,
        bars=[
            _bar(start, end, duration_s, _bar_title(rows[id(bout)]), linked.get(id(bout), ""))
            for bout, (start, end) in zip(bouts, spans, strict=True)
        ][: MOST_BARS if len(bouts) <= MOST_BARS else 0],
        bars_path=drawing.bars_path(spans, duration_s) if len(bouts) > MOST_BARS else "",
        overview_path=drawing.bars_path(spans, duration_s, columns=500),
        line=line,
        area=area,
        thresholds=_thresholds(result, index),
        dots=[
            # The golden ratio spreads neighbours evenly without a random number.
            (drawing.log_percent(end - start, DURATION_AXIS_S[0], DURATION_AXIS_S[-1]), i * 0.618034 % 1)
            for i, (start, end) in enumerate(spans[:MOST_DOTS])
        ],
    )


def _bar_title(row: BoutRow) -> str:
    return f"{row.behavior}, bout {row.number}: {row.start} to {row.end} ({row.duration} s), confidence {row.confidence:.2f}"


def _thresholds(result: VideoResult, index: int) -> list[float]:
    """The lines to draw across a trace; none where bouts were made by the reference's rule instead."""
    if result.reference_compat or index >= len(result.classifier.rules):
        return []
    rule = result.classifier.rules[index]
    return sorted({rule.threshold, rule.low_threshold}, reverse=True)


def _strip_groups(
    result: VideoResult, rows: Mapping[int, BoutRow], colors: Mapping[str, str], folder: Path, most: int
) -> list[StripGroup]:
    groups = []
    for behavior in numbers.behaviors(result.classifier):
        bouts = [bout for bout in result.bouts if bout.behavior == behavior]
        files = [(bout, thumbnails.file_of(folder, bout)) for bout in thumbnails.choose(bouts, most)]
        strips = [Strip(rows[id(bout)], path) for bout, path in files if path.is_file()]
        if strips:
            groups.append(StripGroup(behavior, colors[behavior], strips, len(bouts) - len(strips)))
    return groups


def _place(result: VideoResult, colors: Mapping[str, str]) -> PlaceMap:
    info = result.info
    cells, columns, rows = drawing.occupancy(result.boxes, info.width, info.height)
    marks = []
    for bout in list(result.bouts)[:MOST_DOTS]:
        if bout.box_xyxy:
            x1, y1, x2, y2 = bout.box_xyxy
            x, y = 50 * (x1 + x2) / info.width, 50 * (y1 + y2) / info.height
            marks.append((round(x, 2), round(y, 2), colors[bout.behavior]))
    return PlaceMap(cells, columns, rows, marks, _sources([box.source for box in result.boxes]))


def _sources(sources: Sequence[str]) -> str:
    """"1,200 frames sampled, the animal seen on 97 %, interpolated on 3 %"."""
    if not sources:
        return "The animal was not found on any frame."
    names = {"detected": "seen", "interpolated": "interpolated", "held": "held"}
    shares = Counter(sources)
    parts = [f"{names.get(name, name)} on {100 * n / len(sources):.3g} %" for name, n in shares.most_common()]
    return f"{words.count(len(sources), 'place')}: {', '.join(parts)}."


def colors_for(names: Iterable[str]) -> dict[str, str]:
    """A colour per behaviour, in order of appearance, from the palette of Okabe and Ito (2008) for the colour-blind."""
    palette = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5c5c5c")
    return {name: palette[i % len(palette)] for i, name in enumerate(dict.fromkeys(names))}

