"""mapping.toml: what the columns of a table mean. `--guess` writes one, a person edits it, `read_mapping` reads it.

Every key is optional but those that the layout needs; a key that is not known is an error, since a misspelt one would
be obeyed by nobody. The fields below are the keys.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mousetal.errors import SettingsError
from training.importing.times import DECIMALS, UNITS

LAYOUTS = ("bouts", "start_stop", "column_per_behavior", "binary")
VIDEO_FROM = ("column", "sheet", "file")
Section = TypeVar("Section")


@dataclass(frozen=True, slots=True)
class Columns:
    """[columns]: names of columns as the header has them; without a header, letters ("A"). Empty: there is none.

    ``time`` and ``event`` are for layout start_stop, ``time`` also for binary; in layout bouts ``event`` tells
    which rows are points; ``duration`` may stand for ``end``; ``fps`` is the rate at which frame numbers of the row
    count, ``confidence`` (0..1) how sure the program was that found the bout, which only an evaluation asks.
    """

    video: str = ""
    behavior: str = ""
    start: str = ""
    end: str = ""
    duration: str = ""
    time: str = ""
    event: str = ""
    count: str = ""
    rater: str = ""
    subject: str = ""
    group: str = ""
    phase: str = ""
    session: str = ""
    fps: str = ""
    confidence: str = ""


@dataclass(frozen=True, slots=True)
class VideoRule:
    """[video]: ``source`` tells where a label's video is named: in a column, by its sheet's name, or by its file's.

    With ``fill_down`` an empty cell means the video of the row above. ``aliases`` lead from a name in the table to a
    file of the videos folder.
    """

    source: str = "column"
    fill_down: bool = False
    aliases: MappingOf[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimeRule:
    """[time]: how times are written.

    ``unit`` is one of UNITS, ``decimal`` "." or ",". For frame numbers: ``first_frame`` is the number of the first one,
    ``end`` says whether the end frame still belongs to the bout ("inclusive") or not ("exclusive"), ``fps`` is 0 where
    the video's own frames are numbered, else the rate at which they were counted. ``offset_s`` is added to every time.
    ``beyond`` says what becomes of a bout that goes on after the video's end: "clip" or "drop". A bout that begins
    after the end is always left out.
    """

    unit: str = "seconds"
    decimal: str = "."
    first_frame: int = 0
    end: str = "exclusive"
    fps: float = 0.0
    offset_s: float = 0.0
    beyond: str = "clip"


@dataclass(frozen=True, slots=True)
class EventWords:
    """[events]: the words for begin, end and point in the event column; upper and lower case are the same."""

    start: tuple[str, ...] = ("START", "begin", "on", "1")
    stop: tuple[str, ...] = ("STOP", "END", "off", "0")
    point: tuple[str, ...] = ("POINT",)


@dataclass(frozen=True, slots=True)
class BehaviorRule:
    """[behaviors]: ``names`` lead from a behaviour to its spellings in the table; upper and lower case are the same.

    With names given, a behaviour that is not among them is reported and left out; without, all are taken as written.
    ``ignore`` are left out in silence; ``points`` may lack an end and are then one frame long. ``markers`` are no
    behaviours: the first and the last one of a video bracket the part that was scored, as far as all raters agree.
    ``looked_for``: only these were looked for (empty: all of the data set's).
    """

    names: MappingOf[str, tuple[str, ...]] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    looked_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BehaviorColumns:
    """[column_per_behavior.<name>]: a pair of columns, or one whose cells hold times and spans ("1:23-1:30; 2:04")."""

    start: str = ""
    end: str = ""
    cells: str = ""
    count: str = ""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A whole mapping.toml. ``sheets`` empty: all that are not hidden. ``header``: its rows, from 1; none: no header.

    ``rater`` is who scored, where no column says it.
    """

    layout: str = "bouts"
    sheets: tuple[str, ...] = ()
    header: tuple[int, ...] = (1,)
    rater: str = ""
    columns: Columns = field(default_factory=Columns)
    video: VideoRule = field(default_factory=VideoRule)
    time: TimeRule = field(default_factory=TimeRule)
    events: EventWords = field(default_factory=EventWords)
    behaviors: BehaviorRule = field(default_factory=BehaviorRule)
    column_per_behavior: MappingOf[str, BehaviorColumns] = field(default_factory=dict)


SECTIONS: dict[str, type[Any]] = {
    "columns": Columns,
    "video": VideoRule,
    "time": TimeRule,
    "events": EventWords,
    "behaviors": BehaviorRule,
}


def read_mapping(path: Path) -> Mapping:
    """The mapping in a TOML file; raises SettingsError naming the key that is wrong."""
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: expected a mapping in TOML ({error}). --guess writes one.") from error
    try:
        return mapping_of(document)
    except ValueError as error:
        raise SettingsError(f"{path}: {error}.") from error


def mapping_of(document: dict[str, Any]) -> Mapping:
    """The mapping that a parsed TOML document describes; raises ValueError."""
    values = dict(document)
    for name, kind in SECTIONS.items():
        if name in values:
            values[name] = _section(kind, values[name], name)
    per_behavior = _table(values.get("column_per_behavior", {}), "column_per_behavior")
    values["column_per_behavior"] = {
        name: _section(BehaviorColumns, columns, f"column_per_behavior.{name}")
        for name, columns in per_behavior.items()
    }
    header = values.get("header", 1)
    values["header"] = tuple(header) if isinstance(header, list) else (header,) if header else ()
    mapping = _section(Mapping, values, "")
    _check(mapping)
    return mapping


def _check(mapping: Mapping) -> None:
    """Raises ValueError where values make no sense, or the layout's columns are missing."""
    time, columns = mapping.time, mapping.columns
    for key, value, allowed in (
        ("layout", mapping.layout, LAYOUTS),
        ("video.source", mapping.video.source, VIDEO_FROM),
        ("time.unit", time.unit, UNITS),
        ("time.decimal", time.decimal, DECIMALS),
        ("time.end", time.end, ("exclusive", "inclusive")),
        ("time.beyond", time.beyond, ("clip", "drop")),
    ):
        if value not in allowed:
            raise ValueError(f"{key}: one of {', '.join(allowed)} expected, got {value!r}")
    if time.end == "inclusive" and time.unit != "frame":
        raise ValueError('time.end: "inclusive" is for frame numbers; moments in time have no length')
    if time.offset_s and time.unit == "frame" and not (time.fps or columns.fps):
        raise ValueError("time.offset_s: for frame numbers it needs time.fps or columns.fps")
    if any(not isinstance(row, int) or row < 1 for row in mapping.header):
        raise ValueError(f"header: row numbers from 1 expected, or 0 for none, got {mapping.header}")
    needed = {
        "bouts": ("behavior", "start"),
        "start_stop": ("behavior", "time", "event"),
        "column_per_behavior": (),
        "binary": ("time",),
    }[mapping.layout]
    missing = [name for name in needed if not getattr(columns, name)]
    if mapping.video.source == "column" and not columns.video:
        missing.append("video")
    if missing:
        raise ValueError(f"layout {mapping.layout!r} needs columns.{', columns.'.join(missing)}")
    if mapping.layout == "column_per_behavior" and not mapping.column_per_behavior:
        raise ValueError("layout 'column_per_behavior' needs [column_per_behavior.<name>] with start and end, or cells")
    for name, pair in mapping.column_per_behavior.items():
        if bool(pair.start) == bool(pair.cells):
            raise ValueError(f"column_per_behavior.{name}: either start (and end) or cells expected")


def _section(kind: type[Section], values: Any, where: str) -> Section:
    """A dataclass from a TOML table, every value checked against the type of the field's default."""
    known = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    checked = {}
    for key, value in _table(values, where).items():
        name = f"{where}.{key}" if where else key
        if key not in known:
            raise ValueError(f"{name}: no such key (known: {', '.join(known)})")
        default = known[key].default
        if default is dataclasses.MISSING:  # a section or a table
            checked[key] = _names(value, name) if key in ("names", "aliases") else value
        elif isinstance(default, tuple):
            checked[key] = _strings(value, name) if key != "header" else value
        elif isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool):
            checked[key] = float(value)
        elif type(value) is type(default):
            checked[key] = value
        else:
            raise ValueError(f"{name}: {type(default).__name__} expected, got {value!r}")
    return kind(**checked)


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: a table expected, got {value!r}")
    return value


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{where}: a list of texts expected, got {value!r}")
    return tuple(value)


def _names(value: Any, where: str) -> dict[str, Any]:
    """Names of one thing each: ``aliases`` lead to a text, ``names`` to texts."""
    if where.endswith("aliases"):
        if any(not isinstance(one, str) for one in _table(value, where).values()):
            raise ValueError(f"{where}: texts expected, got {value!r}")
        return dict(value)
    return {key: _strings(spellings, f"{where}.{key}") for key, spellings in _table(value, where).items()}
