"""Rows of a table to bouts as the table has them: names and times, not yet videos and frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mousetal.errors import RecordError
from mousetal.formats.sheets import Cell, Row, Sheet, read_sheets
from training.importing import times
from training.importing.mapping import FACTS, POINTS, STARTS, STOPS, TableMapping

RANGE = re.compile(r"\s*(?P<start>[\d:.,]+)\s*(?:-|–|to)\s*(?P<end>[\d:.,]+)\s*")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One bout as a table has it. ``end`` is None for a point in time. ``facts`` are subject, group, ... where given.

    ``start`` and ``end`` are seconds, or frame numbers where ``is_frames``; ``is_scored`` marks a time that was looked
    at rather than a bout.
    """

    video: str
    behavior: str
    start: float
    end: float | None
    count: int
    rater: str
    origin: str
    is_frames: bool = False
    is_scored: bool = False
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a row that a person should know. ``is_dropped``: the row was left out for it."""

    origin: str
    text: str
    is_dropped: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """What one file holds."""

    rows: tuple[LabelRow, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def read_label_table(path: Path, mapping: TableMapping) -> Table:
    """All bouts of a file. Raises RecordError when it has no sheet that fits the mapping; a bad row is a Problem."""
    sheets = read_sheets(path, mapping.wanted)
    if mapping.sheets:
        known = {sheet.name for sheet in sheets}
        if missing := [name for name in mapping.sheets if name not in known]:
            raise RecordError(f"{path}: no sheet {', '.join(missing)}; there are {', '.join(sorted(known))}")
        sheets = [sheet for sheet in sheets if sheet.name in mapping.sheets]
    fitting = [sheet for sheet in sheets if sheet.rows]
    if not fitting:
        raise RecordError(
            f"{path}: no sheet has the columns {', '.join(sorted(mapping.wanted)) or 'of a table'}. "
            "Correct the mapping, or make one with --guess."
        )
    rows: list[LabelRow] = []
    problems: list[Problem] = []
    for sheet in fitting:
        for found in _read_sheet(sheet, mapping):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                rows.append(found)
    left_out = [f"{path.name}!{sheet.name}: left out, its columns do not fit" for sheet in sheets if not sheet.rows]
    return Table(tuple(rows), tuple(problems), (*left_out, *(note for sheet in sheets for note in sheet.notes)))


def _read_sheet(sheet: Sheet, mapping: TableMapping) -> Iterator[LabelRow | Problem]:
    readers: dict[str, Callable[[Sheet, TableMapping], Iterator[LabelRow | Problem]]] = {
        "bouts": _bouts, "start_stop": _pairs, "columns": _columns, "binary": _binary,
    }  # fmt: skip
    yield from readers[mapping.layout](sheet, mapping)


def _bouts(sheet: Sheet, mapping: TableMapping) -> Iterator[LabelRow | Problem]:
    columns = mapping.columns
    for row in sheet.rows:
        word = row.text(columns["behavior"])
        if not word or word in mapping.ignore:
            continue
        try:
            start = _time(row, columns["start"], mapping)
            end = _time(row, columns.get("end", ""), mapping)
            if end is None and start is not None and (duration := _time(row, columns.get("duration", ""), mapping)):
                end = start + duration
        except RecordError as error:
            yield Problem(row.origin, str(error))
            continue
        if start is None:
            yield Problem(row.origin, f"{word}: no start time")
            continue
        yield _label(
            sheet, row, mapping, word, start, end, _origin(row, columns.get("start", ""), columns.get("end", ""))
        )


def _pairs(sheet: Sheet, mapping: TableMapping) -> Iterator[LabelRow | Problem]:
    columns = mapping.columns
    running: dict[tuple[str, ...], tuple[float, Row]] = {}
    for row in sheet.rows:
        word = row.text(columns["behavior"])
        if not word or word in mapping.ignore:
            continue
        event = row.text(columns["event"]).lower()
        try:
            at = _time(row, columns["time"], mapping)
        except RecordError as error:
            yield Problem(row.origin, str(error))
            continue
        key = (
            _video(sheet, row, mapping),
            word,
            row.text(columns.get("rater", "")),
            row.text(columns.get("subject", "")),
        )
        if at is None:
            yield Problem(row.origin, f"{word} {event.upper()}: no time")
        elif event in POINTS:
            yield _label(sheet, row, mapping, word, at, None, _origin(row, columns["time"]))
        elif event in STARTS:
            if key in running:
                yield Problem(running[key][1].origin, f"{word}: START without a STOP before the next START")
            running[key] = (at, row)
        elif event in STOPS:
            if key not in running:
                yield Problem(row.origin, f"{word}: STOP without a START")
                continue
            start, first = running.pop(key)
            yield _label(
                sheet,
                first,
                mapping,
                word,
                start,
                at,
                f"{_origin(first, columns['time'])}:{_last(row, columns['time'])}",
            )
        else:
            yield Problem(row.origin, f"{word}: START, STOP or POINT expected, got {event!r}")
    for (_, word, *_), (_, row) in running.items():
        yield Problem(row.origin, f"{word}: START without a STOP")


def _columns(sheet: Sheet, mapping: TableMapping) -> Iterator[LabelRow | Problem]:
    """A column per behaviour; a cell may hold several times or ranges, one after the other with semicolons between."""
    for row in sheet.rows:
        for column in _behavior_columns(sheet, mapping):
            cell = row.cells.get(column)
            if cell is None:
                continue
            for part in cell.text.split(";") if isinstance(cell.value, str) else [None]:
                try:
                    if part is not None and (span := RANGE.fullmatch(part)):
                        ends = [
                            times.parse(span[name], mapping.unit, mapping.hours_are_minutes)
                            for name in ("start", "end")
                        ]
                        yield _label(sheet, row, mapping, column, ends[0], ends[1], cell.origin)
                    elif part is None or part.strip():
                        value = cell.value if part is None else part
                        at = times.parse(value, mapping.unit, mapping.hours_are_minutes)
                        yield _label(sheet, row, mapping, column, at, None, cell.origin)
                except ValueError as error:
                    yield Problem(cell.origin, f"{column}: {error}")


def _binary(sheet: Sheet, mapping: TableMapping) -> Iterator[LabelRow | Problem]:
    """A row per frame, in order, of one video after the other; runs of 1 are bouts."""
    for column in _behavior_columns(sheet, mapping):
        started: tuple[str, int, Row] | None = None
        video, number = "", 0
        for row in sheet.rows:
            now = _video(sheet, row, mapping)
            if now != video:
                if started:
                    yield _frames(sheet, started, number, mapping, column)
                video, number, started = now, 0, None
            is_on = row.text(column) in ("1", "1.0")
            if is_on and started is None:
                started = (video, number, row)
            elif not is_on and started:
                yield _frames(sheet, started, number, mapping, column)
                started = None
            number += 1
        if started:
            yield _frames(sheet, started, number, mapping, column)


def _frames(sheet: Sheet, started: tuple[str, int, Row], end: int, mapping: TableMapping, word: str) -> LabelRow:
    _, start, row = started
    label = _label(sheet, row, mapping, word, float(start), float(end), _origin(row, word))
    return replace(label, start=float(start), end=float(end), count=1, is_frames=True)


def _behavior_columns(sheet: Sheet, mapping: TableMapping) -> Sequence[str]:
    named = [column for column in sheet.columns if column in mapping.behaviors]
    others = {*mapping.columns.values(), *mapping.ignore}
    return named or [column for column in sheet.columns if column not in others]


def _label(
    sheet: Sheet, row: Row, mapping: TableMapping, word: str, start: float, end: float | None, origin: str
) -> LabelRow:
    columns = mapping.columns
    count = row.text(columns.get("count", ""))
    is_frames = mapping.unit == "frame"
    if is_frames and mapping.end_is_inclusive and end is not None:
        end += 1
    return LabelRow(
        video=_video(sheet, row, mapping),
        behavior=mapping.behaviors.get(word, word),
        start=start,
        end=end,
        count=int(float(count)) if count.replace(".", "", 1).isdigit() and float(count) >= 1 else 1,
        rater=row.text(columns.get("rater", "")) or mapping.rater,
        origin=origin,
        is_frames=is_frames,
        is_scored=word in mapping.scored,
        facts={name: text for name in FACTS if (text := row.text(columns.get(name, "")))},
    )


def _video(sheet: Sheet, row: Row, mapping: TableMapping) -> str:
    name = sheet.name if mapping.sheet_is_video else row.text(mapping.columns["video"])
    return mapping.videos.get(name, name)


def _time(row: Row, column: str, mapping: TableMapping) -> float | None:
    cell = row.cells.get(column)
    if cell is None or cell.text.upper() in ("NA", "NAN"):
        return None
    return times.of_cell(cell, mapping.unit, mapping.hours_are_minutes)


def _origin(row: Row, first: str, last: str = "") -> str:
    cells: list[Cell] = [row.cells[name] for name in (first, last) if name in row.cells]
    if not cells:
        return row.origin
    return cells[0].origin if len(cells) == 1 else f"{cells[0].origin}:{cells[1].origin.rpartition('!')[2]}"


def _last(row: Row, column: str) -> str:
    return _origin(row, column).rpartition("!")[2]
