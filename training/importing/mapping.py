"""Which column of a lab's table means what: ``mapping.toml``, guessed by the program and corrected by a person."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mousetal.errors import SettingsError
from mousetal.formats.sheets import Sheet
from training.importing.times import UNITS

LAYOUTS = ("bouts", "start_stop", "columns", "binary")
FACTS = ("subject", "group", "phase", "session")

# What columns are called in the tables that we have seen, BORIS's and the reference system's among them.
NAMES = {
    "video": ("video", "video_file", "media file name", "media file path", "media file", "file", "filename",
              "video name", "observation id", "id", "clip", "orig_file"),
    "behavior": ("behavior", "behaviour", "event", "type", "label", "action", "code"),
    "start": ("start_s", "start (s)", "start", "from", "start time", "start_time", "onset", "begin", "start_frame"),
    "end": ("end_s", "stop (s)", "stop", "end", "to", "end time", "end_time", "offset", "stop_frame", "end_frame"),
    "duration": ("duration_s", "duration (s)", "duration", "bout_time"),
    "event": ("behavior type", "event", "status", "start/stop", "state"),
    "time": ("time", "time (s)", "t", "seconds"),
    "count": ("count", "repeats", "n"),
    "rater": ("rater", "experimenter", "observer", "scorer", "annotator"),
    "subject": ("subject", "subject_id", "animal", "animal id", "mouse", "mouse id"),
    "group": ("group", "treatment", "genotype"),
    "phase": ("phase", "day", "trial"),
    "session": ("session", "cohort", "date"),
}  # fmt: skip
STARTS = ("start", "begin", "on")
STOPS = ("stop", "end", "off")
POINTS = ("point",)


@dataclass(frozen=True, slots=True)
class TableMapping:
    """How a table is read.

    ``layout``: "bouts" has a row per bout with its start and end (or duration); "start_stop" has two rows per bout, and
    an ``event`` column that tells them apart; "columns" has a column per behaviour whose cells hold times or ranges of
    them (``1:02-1:05; 2:10``); "binary" has a row per frame, and 0 or 1 in a column per behaviour.

    ``columns`` names the columns by what they mean (the keys of NAMES). ``behaviors`` translates the table's words;
    words in ``ignore`` are passed over, those in ``scored`` mark the time that was looked at. ``videos`` translates
    video names. ``sheet_is_video``: each sheet is named after its video. ``unit`` is one of `times.UNITS`.
    ``end_is_inclusive`` counts the frame named as the end in (unit "frame" alone).
    """

    layout: str = "bouts"
    columns: Mapping[str, str] = field(default_factory=dict)
    unit: str = "auto"
    hours_are_minutes: bool = False
    end_is_inclusive: bool = False
    sheet_is_video: bool = False
    sheets: tuple[str, ...] = ()
    behaviors: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    videos: Mapping[str, str] = field(default_factory=dict)
    rater: str = ""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise SettingsError(f"layout: one of {', '.join(LAYOUTS)} expected, got {self.layout!r}")
        if self.unit not in UNITS:
            raise SettingsError(f"unit: one of {', '.join(UNITS)} expected, got {self.unit!r}")
        if unknown := sorted(self.columns.keys() - NAMES.keys()):
            raise SettingsError(f"[columns]: unknown {', '.join(unknown)}; known are {', '.join(NAMES)}")
        needed = {
            "bouts": ("behavior", "start"), "start_stop": ("behavior", "event", "time"), "columns": (), "binary": (),
        }[self.layout]  # fmt: skip
        if not self.sheet_is_video:
            needed = ("video", *needed)
        if missing := [name for name in needed if not self.columns.get(name)]:
            raise SettingsError(f"[columns]: layout {self.layout!r} needs {', '.join(missing)}")

    @property
    def wanted(self) -> frozenset[str]:
        """The column names that the table must have."""
        return frozenset(name for name in self.columns.values() if name)


def read(path: Path) -> TableMapping:
    """The mapping in a TOML file; raises SettingsError for what it can't mean."""
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: a mapping in TOML expected ({error}). Make one with --guess.") from error
    known = {one.name for one in fields(TableMapping)}
    if unknown := sorted(document.keys() - known):
        raise SettingsError(f"{path}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
    try:
        return TableMapping(**values)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def guess(sheets: Sequence[Sheet], behaviors: Iterable[str] = ()) -> TableMapping:
    """The most likely mapping of these tables. ``behaviors`` are the classes wanted, if known.

    Raises SettingsError when there is no column that could name videos or behaviours; it lists what columns there are.
    """
    filled = [sheet for sheet in sheets if sheet.rows]
    if not filled:
        raise SettingsError("the table has no rows under a header")
    sheet = filled[0]
    columns = {name: found for name in NAMES if (found := _find(sheet.columns, name))}
    words = {column: {row.text(column).lower() for row in sheet.rows} for column in sheet.columns}
    event = next((column for column in sheet.columns if words[column] & {*STARTS} and words[column] & {*STOPS}), "")
    if event:
        columns["event"] = event
        if columns.get("behavior") == event:
            columns["behavior"] = next(
                (c for c in sheet.columns if c != event and c.lower() in NAMES["behavior"]), columns["behavior"]
            )
    else:
        columns.pop("event", None)
    is_paired = bool(event) and "time" in columns
    binary = [column for column in sheet.columns if words[column] and words[column] <= {"0", "1", "0.0", "1.0", ""}]
    if is_paired:
        layout, keep = "start_stop", {"video", "behavior", "event", "time"}
    elif "start" in columns and "behavior" in columns:
        layout, keep = "bouts", {"video", "behavior", "start", "end", "duration", "count"}
    elif binary:
        layout, keep = "binary", {"video", "time"}
    else:
        layout, keep = "columns", {"video"}
    if "end" in columns:
        keep -= {"duration"}
    columns = {name: column for name, column in columns.items() if name in keep or name in ("rater", *FACTS)}
    if len(set(columns.values())) < len(columns):  # one column cannot be both; what matters more keeps it
        columns = {
            n: c for n, c in columns.items() if n in keep or c not in {columns[k] for k in keep & columns.keys()}
        }
    is_frames = "frame" in columns.get("start", "").lower()
    seen = (
        sorted({row.text(columns["behavior"]) for one in filled for row in one.rows} - {""})
        if "behavior" in columns
        else []
    )
    wanted = {name.lower(): name for name in behaviors}
    return TableMapping(
        layout=layout,
        columns=columns,
        unit="frame" if is_frames else "auto",
        sheet_is_video="video" not in columns,
        behaviors={word: wanted.get(word.lower(), word) for word in seen},
    )


def to_toml(mapping: TableMapping, sheets: Sequence[Sheet]) -> str:
    """The mapping as a file for people, each key explained, the table's columns listed."""
    quote = lambda value: json.dumps(value, ensure_ascii=False)  # noqa: E731  TOML's basic strings are JSON's
    listed = "\n".join(f"#   {sheet.name or 'table'}: {', '.join(sheet.columns)}" for sheet in sheets)
    columns = "\n".join(f"{name} = {quote(mapping.columns.get(name, ''))}" for name in NAMES)
    behaviors = "\n".join(f"{quote(word)} = {quote(name)}" for word, name in mapping.behaviors.items())
    return f"""\
# Which column means what. Guessed from the table; correct it, then run the import again without --guess.
# Columns there:
{listed}

# bouts: a row per bout. start_stop: two rows per bout, told apart by the column `event`. columns: a column per
# behaviour with times or ranges. binary: a row per frame, 0 or 1 per behaviour.
layout = {quote(mapping.layout)}
# auto, seconds, minutes, milliseconds, clock (1:02.5), day_fraction (Excel's 0.5 = noon), frame (from 0)
unit = {quote(mapping.unit)}
# true: 1:15 typed into Excel (which takes it for 1 h 15 min) was meant as 1 min 15 s
hours_are_minutes = {quote(mapping.hours_are_minutes)}
# true: the frame named as the end belongs to the bout (unit "frame" alone)
end_is_inclusive = {quote(mapping.end_is_inclusive)}
# true: each sheet is named after its video
sheet_is_video = {quote(mapping.sheet_is_video)}
# sheets to read; none: all visible ones
sheets = {quote(list(mapping.sheets))}
# words in the behaviour column to pass over; words that mark the time that was looked at
ignore = {quote(list(mapping.ignore))}
scored = {quote(list(mapping.scored))}
# who scored, where no column says so
rater = {quote(mapping.rater)}

[columns]
{columns}

# The table's word = the behaviour it means
[behaviors]
{behaviors}

# The table's name of a video = its path below the video folder, where they differ
[videos]
"""


def _find(columns: Sequence[str], meaning: str) -> str:
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in NAMES[meaning] if name in lower), "")
