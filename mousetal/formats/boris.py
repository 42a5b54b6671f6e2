"""BORIS projects (`.boris`, JSON, format version 7), both ways.

An event is a row ``[time in seconds, subject, behaviour, modifier, comment, frame]``; a state event is two rows, of
which the first is its start. BORIS knows videos by path, and behaviours as "Point event" or "State event".

Its tables (tabular and aggregated events) are ordinary tables, see `sheets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mousetal import atomic
from mousetal.errors import RecordError

FORMAT_VERSION = "7.0"
POINT, STATE = "Point event", "State event"


@dataclass(frozen=True, slots=True)
class Event:
    """One bout in a BORIS observation: seconds; ``end_s`` None for a point event; ``origin`` names its rows."""

    behavior: str
    start_s: float
    end_s: float | None
    subject: str
    origin: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What was scored of one video. ``media`` is its path in BORIS; ``problems`` are events without a partner."""

    name: str
    media: str
    events: tuple[Event, ...]
    problems: tuple[str, ...] = ()


def read_project(path: Path) -> list[Observation]:
    """All observations of videos in a project; raises RecordError. Times are those of the first video of each."""
    document = atomic.read_json(path)
    try:
        points = {one["code"] for one in document["behaviors_conf"].values() if one["type"].startswith("Point")}
        observations = document["observations"]
        return [
            _observation(path, name, one, points)
            for name, one in observations.items()
            if one.get("type", "MEDIA") == "MEDIA"
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise RecordError(f"{path}: a BORIS project (version 7) expected ({error!r}).") from error


def project_document(
    observations: Sequence[Observation], behaviors: Mapping[str, bool], facts: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """A project that BORIS opens. ``behaviors`` maps names to whether they are points; ``facts`` a medium to its length
    in seconds and its frames per second."""
    codes = list(behaviors)
    subjects = sorted({event.subject for one in observations for event in one.events} - {""})
    return {
        "time_format": "hh:mm:ss",
        "project_name": "mousetal",
        "project_date": "2026-01-01T00:00:00",
        "project_description": "",
        "project_format_version": FORMAT_VERSION,
        "subjects_conf": {str(i): {"key": "", "name": name, "description": ""} for i, name in enumerate(subjects)},
        "behaviors_conf": {
            str(i): {
                "type": POINT if behaviors[code] else STATE,
                "key": chr(ord("a") + i % 26),
                "code": code,
                "description": "",
                "color": "",
                "category": "",
                "modifiers": {},
                "excluded": "",
                "coding map": "",
            }
            for i, code in enumerate(codes)
        },
        "observations": {one.name: _observation_document(one, facts[one.media]) for one in observations},
        "behavioral_categories": [],
        "behavioral_categories_config": {},
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }


def _observation_document(one: Observation, facts: tuple[float, float]) -> dict[str, Any]:
    length_s, fps = facts
    rows: list[list[Any]] = []
    for event in one.events:
        ends = (event.start_s,) if event.end_s is None else (event.start_s, event.end_s)
        rows += [[round(at, 6), event.subject, event.behavior, "", "", round(at * fps)] for at in ends]
    return {
        "file": {"1": [one.media], **{str(i): [] for i in range(2, 9)}},
        "type": "MEDIA",
        "date": "2026-01-01T00:00:00",
        "description": "",
        "time offset": 0.0,
        "events": sorted(rows, key=lambda row: row[0]),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {one.media: length_s},
            "fps": {one.media: fps},
            "hasVideo": {one.media: True},
            "hasAudio": {one.media: False},
            "offset": {"1": 0.0},
        },
    }


def _observation(path: Path, name: str, document: dict[str, Any], points: set[str]) -> Observation:
    media = next((files[0] for files in document["file"].values() if files), "")
    offset = float(document.get("time offset", 0) or 0)
    events: list[Event] = []
    problems: list[str] = []
    running: dict[tuple[str, str, str], tuple[float, int]] = {}
    for number, row in enumerate(sorted(document["events"], key=lambda row: row[0]), 1):
        at, subject, code, modifier = float(row[0]) - offset, str(row[1]), str(row[2]), str(row[3])
        origin = f"{path.name}!{name}!event {number}"
        key = (subject, code, modifier)
        if code in points:
            events.append(Event(code, at, None, subject, origin))
        elif key in running:
            start, first = running.pop(key)
            events.append(Event(code, start, at, subject, f"{path.name}!{name}!event {first}:{number}"))
        else:
            running[key] = (at, number)
    problems += [
        f"{path.name}!{name}!event {n}: {code} starts and never ends" for (_, code, _), (_, n) in running.items()
    ]
    return Observation(name, media, tuple(sorted(events, key=lambda event: event.start_s)), tuple(problems))
