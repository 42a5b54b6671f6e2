"""One video's part of the report, as data: everything the template prints, nothing it must compute.

A section is small (traces thinned, pictures left as paths), so that a report over hundreds of videos needs little
memory: each result is turned into its section and let go.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_script import thumbnails
from inference_script.report import figures, numbers, words
from mousetal import svg
from mousetal.seconds import bout_seconds, seconds_at
from mousetal.svg import percent
from mousetal.types import Bout, ClassifierSpec, DetectorSpec, VideoResult

ZOOMS = (1, 4, 16)
TICKS_PER_SCREEN = 7
# Shorter videos show every bout without a zoom.
ZOOM_FROM_S = 120.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of each video a report shows, so that a report over many videos still opens."""

    strips_per_behavior: int
    table_rows: int
    trace_points: int

    @classmethod
    def for_videos(cls, videos: int) -> Budget:
        """About 20 MB of pictures, 10 MB of tables and traces at the most, shared out between the videos."""
        share = max(videos, 1)
        return cls(
            strips_per_behavior=min(thumbnails.MOST_PER_BEHAVIOR, 300 // share),
            table_rows=min(200, max(20, 20_000 // share)),
            trace_points=min(svg.TRACE_POINTS, max(200, 120_000 // share)),
        )


@dataclass(frozen=True, slots=True)
class BoutRow:
    """A bout as the table and the captions print it; ``last_frame`` is its last one, not the one after."""

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
class Strip:
    """A bout's picture, still on disk."""

    row: BoutRow
    path: Path


@dataclass(frozen=True, slots=True)
class StripGroup:
    """The pictures of one behaviour; ``more`` counts its bouts that are not shown."""

    behavior: str
    color: str
    strips: list[Strip]
    more: int


@dataclass(frozen=True, slots=True)
class Section:
    """One video. ``folder`` and ``name`` make up ``video``; ``ticks`` are the time axis' marks by zoom."""

    anchor: str
    video: str
    folder: str
    name: str
    facts: list[str]
    duration_s: float
    scored_s: float
    not_scored_s: float
    warnings: list[str]
    lanes: list[figures.Lane]
    holes: list[figures.Bar]
    ticks: dict[int, list[svg.Tick]]
    place: figures.PlaceMap
    groups: list[StripGroup]
    rows: list[BoutRow]
    bouts: int
    detector: DetectorSpec
    classifier: ClassifierSpec
    reference_compat: bool

    def numbers_of(self, behavior: str) -> numbers.BehaviorNumbers | None:
        """The figures of a behaviour, None where the model that was used here does not know it."""
        return next((lane.numbers for lane in self.lanes if lane.behavior == behavior), None)


def build(result: VideoResult, anchor: str, colors: Mapping[str, str], folder: Path, budget: Budget) -> Section:
    """The section of one video. ``folder`` holds its thumbnails (may be missing), ``colors`` a colour per behaviour."""
    edges = numbers.frame_edges(result.info)
    duration_s, scored_s = float(edges[-1]), numbers.scored_seconds(result)
    rows = [_row(result, bout, number, colors) for number, bout in enumerate(result.bouts, start=1)]
    labels = {i: (_title(row), _link(row, anchor, budget)) for i, row in enumerate(rows)}
    slash = result.video.rfind("/") + 1
    return Section(
        anchor=anchor,
        video=result.video,
        folder=result.video[:slash],
        name=result.video[slash:],
        facts=_facts(result),
        duration_s=duration_s,
        scored_s=scored_s,
        not_scored_s=max(0.0, duration_s - scored_s),
        warnings=_warnings(result, duration_s),
        lanes=[
            figures.lane(result, of_class, colors[of_class.behavior], edges, labels, budget.trace_points)
            for of_class in numbers.of_video(result)
        ],
        holes=figures.holes(result, duration_s),
        ticks={zoom: svg.ticks(duration_s, TICKS_PER_SCREEN * zoom) for zoom in _zooms(duration_s)},
        place=figures.place(result, colors),
        groups=_strip_groups(result, rows, folder, budget.strips_per_behavior),
        rows=rows[: budget.table_rows],
        bouts=len(rows),
        detector=result.detector,
        classifier=result.classifier,
        reference_compat=result.reference_compat,
    )


def _zooms(duration_s: float) -> tuple[int, ...]:
    return ZOOMS if duration_s > ZOOM_FROM_S else ZOOMS[:1]


def _row(result: VideoResult, bout: Bout, number: int, colors: Mapping[str, str]) -> BoutRow:
    start_s, end_s = bout_seconds(result.info, bout)
    return BoutRow(
        number=number,
        behavior=bout.behavior,
        color=colors[bout.behavior],
        start=svg.clock(start_s, 2),
        end=svg.clock(end_s, 2),
        start_frame=bout.start_frame,
        last_frame=bout.end_frame - 1,
        duration=words.duration(end_s - start_s),
        confidence=bout.confidence,
        mean_probability=bout.mean_probability,
        flags="; ".join(words.flag(name) for name in bout.flags),
    )


def _title(row: BoutRow) -> str:
    when = f"{row.start} to {row.end} ({row.duration} s)"
    return f"{row.behavior}, no. {row.number}: {when}, confidence {row.confidence:.2f}"


def _link(row: BoutRow, anchor: str, budget: Budget) -> str:
    return f"#{anchor}-{row.number}" if row.number <= budget.table_rows else ""


def _facts(result: VideoResult) -> list[str]:
    info = result.info
    fps = f"{float(info.fps):.5g} frames per second" + (" (variable)" if info.is_variable_frame_rate else "")
    size = f"{info.width}×{info.height}"
    return [words.long_time(info.duration_seconds), words.count(info.num_frames, "frame"), fps, size, info.codec]


def _warnings(result: VideoResult, duration_s: float) -> list[str]:
    """The file's and the pipeline's warnings, what was not scored and why, and what the bouts' flags mean."""
    texts = [words.sentence(text) for text in dict.fromkeys([*result.info.warnings, *result.warnings])]
    lost: defaultdict[str, float] = defaultdict(float)
    for hole in result.not_scored:
        start, end = hole.frames.start_frame, hole.frames.end_frame
        lost[hole.reason] += seconds_at(result.info, end) - seconds_at(result.info, start)
    for reason, seconds in lost.items():
        texts.append(f"{words.long_time(seconds)} ({percent(seconds, duration_s):.1f} %) not scored: {reason}.")
    flags = Counter(name for bout in result.bouts for name in set(bout.flags) - words.HARMLESS_FLAGS)
    texts += [f"{n} of {words.count(len(result.bouts), 'bout')}: {words.flag(name)}." for name, n in flags.items()]
    return texts


def _strip_groups(result: VideoResult, rows: list[BoutRow], folder: Path, most: int) -> list[StripGroup]:
    row_of = dict(zip(result.bouts, rows, strict=True))
    groups = []
    for behavior in numbers.behaviors(result):
        bouts = [bout for bout in result.bouts if bout.behavior == behavior]
        files = [(bout, thumbnails.file_of(folder, bout)) for bout in thumbnails.choose(bouts, most)]
        strips = [Strip(row_of[bout], path) for bout, path in files if path.is_file()]
        if strips:
            groups.append(StripGroup(behavior, strips[0].row.color, strips, len(bouts) - len(strips)))
    return groups
