"""BORIS: `.boris` projects read and written, and the columns of its tables under all the names they have had.

In a project an event is a row ``[seconds, subject, behavior, modifier, comment, frame]``; a state is two rows that
follow each other. Times count through all media of an observation that are played one after another, from its time
offset on; here each bout is given in the seconds of its own file. A modifier that is a whole number counts repeats,
which is also how it is written.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mousetal import atomic
from mousetal.errors import RecordError
from mousetal.formats.borismedia import MediaError, Playlist
from mousetal.formats.startstop import POINT, Event, kinds_by_order, pair

POINT_EVENT, STATE_EVENT = "Point event", "State event"
NO_SUBJECT = "No focal subject"
NO_MODIFIER = ("None", "NA")  # one that was not set
PLAYER = "1"  # the first player; the others show the same moments from other sides
RATER_VARIABLES = ("rater", "observer", "coder", "scorer", "experimenter", "annotator")
RATER = "rater"
TIME_DIGITS = 3

# What we call a column, and what BORIS has called it (lower case), the best name first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "observation": ("observation id",),
    "video": ("media file name", "media file path", "media file", "source"),
    "source": ("source", "media file", "media file path", "media file name"),
    "subject": ("subject",),
    "behavior": ("behavior",),
    "event": ("behavior type", "status"),
    "time": ("time",),
    "start": ("start (s)", "start"),
    "end": ("stop (s)", "stop"),
    "media_duration": ("media duration (s)", "total length"),
    "offset": ("time offset (s)",),
    "count": ("modifier #1", "modifier 1", "modifiers"),
}
NAMES_OF_TABULAR = ("event", "time", "behavior", "video")
NAMES_OF_AGGREGATED = ("event", "start", "end", "behavior", "video")


@dataclass(frozen=True, slots=True)
class BorisBout:
    """One bout in the seconds of ``media``; ``end_s`` is None for a point event. ``origin`` says where it was read."""

    media: str
    behavior: str
    start_s: float
    end_s: float | None
    count: int = 1
    subject: str = ""
    rater: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Project:
    """What a project says: its ``media`` in order, its ``behaviors``, the bouts, and the rows that are of no use."""

    media: tuple[str, ...]
    behaviors: tuple[str, ...]
    bouts: tuple[BorisBout, ...]
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # independent variables per media file
    troubles: tuple[tuple[str, str], ...] = ()  # (origin, what is wrong)
    notes: tuple[tuple[str, str], ...] = ()  # as troubles, but nothing was lost
    left_out: tuple[tuple[str, str], ...] = ()  # whole observations, as troubles


@dataclass(frozen=True, slots=True)
class Observation:
    """One video as one person scored it, to be written. Bouts without an end are points."""

    name: str
    media: str
    duration_s: float
    fps: float
    bouts: tuple[BorisBout, ...]
    rater: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


def find_header(rows: Sequence[Sequence[str]]) -> tuple[int, dict[str, str]] | None:
    """Where a BORIS table's header is (0-based row) and which column is what; None when it is no such table.

    Old tables have up to some dozens of rows about the observation above the header.
    """
    for number, row in enumerate(rows[:100]):
        found = _named(row)
        if set(found) >= set(NAMES_OF_AGGREGATED) or set(found) >= set(NAMES_OF_TABULAR):
            return number, found
    return None


def _named(row: Sequence[str]) -> dict[str, str]:
    spelt = {text.strip().lower(): text.strip() for text in row}
    found = {}
    for name, spellings in COLUMNS.items():
        known = [spelt[spelling] for spelling in spellings if spelling in spelt]
        if known:
            found[name] = known[0]
    return found


def read_project(path: Path) -> Project:
    """The bouts of a `.boris` project; raises RecordError. Live observations and images have no video and are noted."""
    document = atomic.read_json(path)
    try:
        kinds = {one["code"]: one["type"] for one in document["behaviors_conf"].values()}
        media: dict[str, None] = {}
        bouts: list[BorisBout] = []
        troubles: list[tuple[str, str]] = []
        notes: list[tuple[str, str]] = []
        left_out: list[tuple[str, str]] = []
        variables: dict[str, Mapping[str, str]] = {}
        for name, observation in document["observations"].items():
            where = f"{path.name}!{name}"
            files = [str(one) for one in (observation.get("file") or {}).get(PLAYER, ())]
            if observation.get("type", "MEDIA") != "MEDIA" or not files:
                notes.append((where, "no video in this observation, left out"))
                continue
            try:
                played = _playlist(observation, files)
            except MediaError as error:
                left_out.append((where, str(error)))
                continue
            if played.offset_note:
                notes.append((where, played.offset_note))
            said = {key.lower(): str(value) for key, value in (observation.get("independent_variables") or {}).items()}
            media.update(dict.fromkeys(files))
            variables.update(dict.fromkeys(files, said))
            bouts += _bouts(where, observation, played, kinds, _rater(said), troubles)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RecordError(
            f"{path}: expected a BORIS project ({error!r}). Save it again with BORIS 7 or newer."
        ) from error
    return Project(tuple(media), tuple(kinds), tuple(bouts), variables, tuple(troubles), tuple(notes), tuple(left_out))


def _playlist(observation: Mapping[str, Any], files: Sequence[str]) -> Playlist:
    """The observation's files, and when the first of them begins. Raises MediaError where that is not known."""
    known = observation.get("media_info") or {}
    lengths = known.get("length") or {}
    unknown = [file for file in files[:-1] if file not in lengths]
    if unknown:
        raise MediaError(f"plays several files, and the length of {unknown[0]} is not known")
    offset_s = float(observation.get("time offset") or 0)
    if observation.get("media_creation_date_as_offset"):
        since = "its times count from when its files were made, and"
        created = known.get("media_creation_time") or {}
        if len(files) > 1:
            raise MediaError(f"{since} there are several of them")
        if files[0] not in created:
            raise MediaError(f"{since} when {files[0]} was is not known")
        offset_s += float(created[files[0]])
    return Playlist(tuple(files), tuple(float(lengths[name]) for name in files[:-1]), offset_s)


def _bouts(
    where: str,
    observation: Mapping[str, Any],
    played: Playlist,
    kinds: Mapping[str, str],
    rater: str,
    troubles: list[tuple[str, str]],
) -> list[BorisBout]:
    """The bouts of one observation; what is wrong with its rows is added to ``troubles``."""
    events = _events(observation["events"], kinds)
    pairing = pair(events)
    troubles += [(f"{where}!event {event.source}", why) for event, why in pairing.alone]
    bouts = []
    for start, stop in pairing.pairs:
        subject, behavior, modifier = start.key
        numbers = str(start.source) if stop is None else f"{start.source},{stop.source}"
        origin = f"{where}!event {numbers}"
        try:
            played.check(start.time)
        except MediaError as error:
            troubles.append((origin, str(error)))
            continue
        for name, start_s, end_s in played.parts(start.time, None if stop is None else stop.time):
            bouts.append(BorisBout(name, behavior, start_s, end_s, _count(modifier), subject, rater, origin))
    return bouts


def _rater(variables: Mapping[str, str]) -> str:
    return next((variables[name] for name in RATER_VARIABLES if variables.get(name)), "")


def _events(rows: Iterable[Sequence[Any]], kinds: Mapping[str, str]) -> list[Event[int]]:
    """The rows as events, numbered from 1; the STARTs and STOPs of a state alternate in order of time."""
    states: dict[tuple[str, str, str], list[tuple[float, int]]] = {}
    events: list[Event[int]] = []
    for number, row in enumerate(rows, 1):
        time_s, subject, behavior, modifier = float(row[0]), str(row[1]), str(row[2]), str(row[3])
        key = ("" if subject == NO_SUBJECT else subject, behavior, modifier)
        if kinds.get(behavior, STATE_EVENT).lower().startswith("point"):
            events.append(Event(key, POINT, time_s, number))
        else:
            states.setdefault(key, []).append((time_s, number))
    for key, moments in states.items():
        for (time_s, number), kind in zip(sorted(moments), kinds_by_order(len(moments)), strict=True):
            events.append(Event(key, kind, time_s, number))
    return events


def _count(modifier: str) -> int:
    """The repeats that a modifier counts; BORIS writes "None" for one that was not set."""
    return int(modifier) if modifier.isdecimal() and int(modifier) > 0 else 1


def project_document(name: str, observations: Sequence[Observation], behaviors: Sequence[str]) -> dict[str, Any]:
    """A project that BORIS opens, one observation per video and rater.

    A behaviour all of whose bouts are points is a point event there. States of one behaviour must not overlap: the
    format tells START from STOP by their order.
    """
    every = [bout for observation in observations for bout in observation.bouts]
    states = {bout.behavior for bout in every if bout.end_s is not None}
    points = {bout.behavior for bout in every} - states
    names = list(dict.fromkeys([*behaviors, *(bout.behavior for bout in every)]))
    subjects = sorted({bout.subject for bout in every if bout.subject})
    variables = sorted({RATER, *(key for one in observations for key in one.variables)})
    return {
        "time_format": "hh:mm:ss",
        "project_name": name,
        "project_date": datetime.date(1970, 1, 1).isoformat() + "T00:00:00",  # the same labels give the same file
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {str(n): {"key": "", "name": one, "description": ""} for n, one in enumerate(subjects)},
        "behaviors_conf": {
            str(n): _behavior(n, one, POINT_EVENT if one in points else STATE_EVENT, every)
            for n, one in enumerate(names)
        },
        "observations": {one.name: _observation(one, points) for one in observations},
        "behavioral_categories": [],
        "behavioral_categories_config": {},
        "independent_variables": {
            str(n): {"label": one, "description": "", "type": "text", "default value": "", "possible values": ""}
            for n, one in enumerate(variables)
        },
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }


def _behavior(number: int, name: str, kind: str, bouts: Iterable[BorisBout]) -> dict[str, Any]:
    is_counted = any(bout.behavior == name and bout.count > 1 for bout in bouts)
    counted = {"name": "count", "description": "repeats", "type": 2, "ask at stop": False, "values": []}
    return {
        "type": kind, "key": chr(ord("A") + number % 26), "code": name, "description": "", "color": "", "category": "",
        "modifiers": {"0": counted} if is_counted else {}, "excluded": "", "coding map": "",
    }  # fmt: skip


def _observation(observation: Observation, points: set[str]) -> dict[str, Any]:
    rows: list[list[Any]] = []
    for bout in observation.bouts:
        modifier = str(bout.count) if bout.count > 1 else ""
        subject = bout.subject
        end_s = bout.start_s if bout.end_s is None else bout.end_s
        times = [bout.start_s] if bout.behavior in points else [bout.start_s, end_s]
        rows += [[round(time_s, TIME_DIGITS), subject, bout.behavior, modifier, "", "NA"] for time_s in times]
    return {
        "date": "1970-01-01T00:00:00",
        "description": "",
        "type": "MEDIA",
        "file": {PLAYER: [observation.media], **{str(n): [] for n in range(2, 9)}},
        "time offset": 0.0,
        "observation time interval": [0, 0],
        "events": sorted(rows, key=lambda row: row[0]),
        "independent_variables": {**observation.variables, RATER: observation.rater},
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {observation.media: round(observation.duration_s, TIME_DIGITS)},
            "fps": {observation.media: observation.fps},
            "hasVideo": {observation.media: True},
            "hasAudio": {observation.media: False},
            "offset": {PLAYER: 0.0},
        },
    }


AGGREGATED_COLUMNS = (
    "Observation id", "Observation date", "Description", "Observation type", "Source", "Time offset (s)",
    "Coding duration", "Media duration (s)", "FPS (frame/s)", RATER, "Subject",
    "Observation duration by subject by observation", "Behavior", "Behavioral category", "Modifier #1",
    "Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name", "Image index start",
    "Image index stop", "Image file path start", "Image file path stop", "Comment start", "Comment stop",
)  # fmt: skip


def aggregated_rows(observations: Iterable[Observation]) -> list[list[object]]:
    """The rows of an aggregated events table, under AGGREGATED_COLUMNS, one per bout."""
    rows: list[list[object]] = []
    for one in observations:
        duration = round(one.duration_s, TIME_DIGITS)
        for bout in one.bouts:
            start = round(bout.start_s, TIME_DIGITS)
            stop = start if bout.end_s is None else round(bout.end_s, TIME_DIGITS)
            rows.append([
                one.name, "", "", "Media file(s)", f"player #1:{one.media}", 0, duration, duration, one.fps, one.rater,
                bout.subject or NO_SUBJECT, duration, bout.behavior, "", bout.count if bout.count > 1 else "",
                "POINT" if bout.end_s is None else "STATE", start, stop, round(stop - start, TIME_DIGITS), one.media,
                "NA", "NA", "NA", "NA", "", "",
            ])  # fmt: skip
    return rows
