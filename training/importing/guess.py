"""A first mapping.toml from the look of a table, with the reasons as comments: for a person to correct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mousetal.errors import RecordError
from mousetal.formats.tables import Cell, TableFile, read_tables
from training.importing import headers, mappingtext
from training.importing.grid import Grid, grid_of, plain
from training.importing.known import recognise
from training.importing.mapping import Mapping
from training.importing.match import Matcher
from training.importing.timelook import holds_times, look

EVENT_WORDS = {"start", "stop", "begin", "end", "on", "off", "point"}
SAMPLE = 500


@dataclass
class Guess:
    """What is to be written: the document's sections, and remarks that become comments."""

    layout: str = "bouts"
    header: tuple[int, ...] = (1,)
    sheets: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    source: str = "column"
    fill_down: bool = False
    unit: str = "seconds"
    decimal: str = "."
    per_behavior: dict[str, dict[str, str]] = field(default_factory=dict)
    behaviors: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)


def guess(path: Path, videos: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The text of a mapping.toml for a table, and what to tell the user; raises RecordError.

    ``videos`` are the names of the files that labels may be for: a column or sheets that name them are known by that.
    """
    file = read_tables(path)
    known = recognise(file)
    guessed = _of_known(file, known) if known else _of_table(file, videos)
    return mappingtext.text(guessed, path.name), guessed.remarks


def _of_known(file: TableFile, known: Mapping) -> Guess:
    columns = {name: value for name in known.columns.__slots__ if (value := getattr(known.columns, name))}
    guessed = Guess(known.layout, known.header, list(known.sheets) if any(known.sheets) else [], columns)
    guessed.unit, guessed.decimal = known.time.unit, known.time.decimal
    guessed.remarks.append(f"{file.path.name}: its columns are known, it needs no mapping but for changes.")
    for sheet in file.sheets:
        if sheet.name in known.sheets:
            grid = grid_of(sheet, known.header)
            guessed.behaviors.update(grid.text(row, known.columns.behavior) for row in grid.rows())
    return guessed


def _of_table(file: TableFile, videos: Sequence[str]) -> Guess:
    shown = [
        sheet for sheet in file.sheets if not sheet.is_hidden and any(not c.is_empty for r in sheet.rows for c in r)
    ]
    hidden = [sheet.name for sheet in file.sheets if sheet.is_hidden]
    if not shown:
        raise RecordError(f"{file.path}: expected a table, found no sheet that is neither hidden nor empty.")
    guessed = Guess(header=headers.header_rows(shown[0]))
    grid = grid_of(shown[0], guessed.header)
    if hidden:
        guessed.remarks.append(f"hidden sheets are left out: {', '.join(hidden)}")
    if not guessed.header:
        guessed.remarks.append("there is no row of names: columns go by their letters")
    _guess_columns(guessed, grid)
    _guess_video(guessed, grid, [sheet.name for sheet in shown], videos)
    _guess_layout(guessed, grid)
    if len(shown) > 1 and guessed.source != "sheet":
        alike = [sheet for sheet in shown if grid_of(sheet, guessed.header).names == grid.names]
        guessed.sheets = [sheet.name for sheet in alike] if len(alike) < len(shown) else []
    times = [cell for row in grid.rows() for cell in _time_cells(guessed, grid, row) if not cell.is_empty][:SAMPLE]
    told = {headers.unit_of(name) for name in _time_columns(guessed)}
    seen = look(times, told.pop() if len(told) == 1 else "")
    guessed.unit, guessed.decimal = seen.unit, seen.decimal
    guessed.remarks += [seen.remark] if seen.remark else []
    column = guessed.columns.get("behavior", "")
    if column:
        for sheet in shown:
            same = grid_of(sheet, guessed.header)
            if plain(column) in same.places:
                guessed.behaviors.update(text for row in same.rows() if (text := same.text(row, column)))
    return guessed


def _guess_columns(guessed: Guess, grid: Grid) -> None:
    """Which column is what, by its name and, for START/STOP, by what is in it."""
    free = dict.fromkeys(name for name in grid.names if name)
    for name in list(free):
        texts = {plain(grid.text(row, name)) for row in grid.rows()} - {""}
        if texts and texts <= EVENT_WORDS and texts & {"start", "begin", "on"}:
            guessed.columns["event"] = name
            del free[name]
            break
    for role in headers.WORDS:
        if role in guessed.columns or role == "event":
            continue
        # An end in seconds goes with a start in seconds, where the table has both in frames, too.
        unit = headers.unit_of(guessed.columns.get("start", "")) if role in ("end", "duration") else ""
        fitting = headers.named(role, list(free), unit)
        if fitting:
            guessed.columns[role] = fitting
            del free[fitting]


def _guess_layout(guessed: Guess, grid: Grid) -> None:
    columns = guessed.columns
    if "event" in columns and "behavior" in columns:
        guessed.layout = "start_stop"
        if "time" not in columns and "start" in columns:
            columns["time"] = columns.pop("start")
        for name in ("start", "end", "duration"):
            columns.pop(name, None)
        return
    _guess_by_content(guessed, grid)
    if "behavior" in columns and "start" in columns:
        columns.pop("time", None)
        if "end" in columns:
            columns.pop("duration", None)
        return
    if "behavior" in columns and "time" in columns:
        columns["start"] = columns.pop("time")
        guessed.remarks.append("there is no column of ends: every row is taken for an instant, one frame long")
        return
    rest = _rest(guessed, grid)
    if "time" in columns and rest and all(_is_binary(grid, name) for name in rest):
        guessed.layout = "binary"
        return
    guessed.layout = "column_per_behavior"
    if "start" in columns and ("end" in columns or not _behavior_columns(guessed, grid, rest)):
        # One behaviour, which nothing but the file's name may tell.
        name = grid.sheet.path.stem
        guessed.per_behavior = {name: {role: columns.pop(role) for role in ("start", "end") if role in columns}}
        guessed.remarks.append(f"no column names a behaviour: all rows are taken for one, called {name!r}; rename it")
        return
    for name in ("start", "end", "duration", "time", "behavior"):
        columns.pop(name, None)
    rest = _rest(guessed, grid)
    held = _behavior_columns(guessed, grid, rest)
    guessed.per_behavior = _pairs(held)
    if guessed.per_behavior:
        guessed.remarks.append(f"these columns are taken for behaviours: {', '.join(held)}")
        if dropped := [name for name in rest if name not in held]:
            guessed.remarks.append(f"these hold no times and are not read: {', '.join(dropped)}")
        return
    guessed.layout = "bouts"
    guessed.remarks.append(
        f"what the columns mean can't be told ({', '.join(rest) or 'there are no more'}): write behavior, start and "
        "end into [columns], or choose another layout"
    )


def _guess_by_content(guessed: Guess, grid: Grid) -> None:
    """Fill in the behaviour or its times by what is in the columns whose names say nothing."""
    columns = guessed.columns
    filled = {name: [cell for row in grid.rows() if (cell := grid.cell(row, name)) and not cell.is_empty]
              for name in _rest(guessed, grid)}  # fmt: skip
    times = [name for name, cells in filled.items() if cells and holds_times(cells)]
    texts = [name for name, cells in filled.items() if cells and not holds_times(cells) and not headers.is_remark(name)]
    has_times = "start" in columns or "time" in columns
    took = []
    if "behavior" not in columns and len(texts) == 1 and (has_times or (not guessed.header and times)):
        columns["behavior"] = texts[0]
        took.append(f"{texts[0]!r} for the behaviour")
    if "behavior" in columns and not has_times and times:
        columns |= dict(zip(("start", "end"), times, strict=False))
        took += [f"{name!r} for the {role}" for role, name in zip(("start", "end"), times, strict=False)]
    if took:
        guessed.remarks.append(f"by what is in it, {', '.join(took)} was taken")


def _rest(guessed: Guess, grid: Grid) -> list[str]:
    """The columns that have no role yet."""
    return [name for name in dict.fromkeys(grid.names) if name and name not in guessed.columns.values()]


def _behavior_columns(guessed: Guess, grid: Grid, names: Sequence[str]) -> list[str]:
    """Those of the columns that may hold a behaviour's times."""
    return [
        name for name in names
        if not headers.is_remark(name) and holds_times([grid.required(row, name) for row in grid.rows()])
    ]  # fmt: skip


def _is_binary(grid: Grid, name: str) -> bool:
    return all(grid.text(row, name) in ("0", "1", "") for row in grid.rows())


def _pairs(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """ "Grooming start" and "Grooming end" are one behaviour; any other column is one by itself."""
    pairs: dict[str, dict[str, str]] = {}
    for name in names:
        stem, role = headers.side_of(name)
        if role:
            pairs.setdefault(stem, {})[role] = name
        else:
            pairs.setdefault(name, {})["cells"] = name
    return {stem: pair for stem, pair in pairs.items() if "start" in pair or "cells" in pair}


def _guess_video(guessed: Guess, grid: Grid, sheets: Sequence[str], videos: Sequence[str]) -> None:
    """A column that names known videos, else one that is called so, else the sheets, else the file."""
    matcher = Matcher(videos, {})
    for name in grid.names:
        texts = {grid.text(row, name) for row in grid.rows()} - {""} if name else set()
        if texts and sum(bool(matcher.find(text).video) for text in texts) * 2 > len(texts):
            guessed.columns = {role: column for role, column in guessed.columns.items() if column != name}
            guessed.columns["video"] = name
            break
    if "video" in guessed.columns:
        column = guessed.columns["video"]
        rows = list(grid.rows())
        empty = sum(not grid.text(row, column) for row in rows)
        guessed.fill_down = bool(rows) and bool(grid.text(rows[0], column)) and empty > 0
        if guessed.fill_down:
            guessed.remarks.append(f"{column!r} is empty in {empty} rows: they are taken for the video above")
        return
    matched = sum(bool(matcher.find(sheet).video) for sheet in sheets)
    guessed.source = "sheet" if len(sheets) > 1 or matched else "file"
    what = "sheet" if guessed.source == "sheet" else "file"
    guessed.remarks.append(f"no column names a video: the name of the {what} is taken for it")


def _time_columns(guessed: Guess) -> list[str]:
    names = [guessed.columns.get(name, "") for name in ("start", "end", "time")]
    names += [column for pair in guessed.per_behavior.values() for column in pair.values()]
    return [name for name in names if name]


def _time_cells(guessed: Guess, grid: Grid, row: tuple[Cell, ...]) -> Iterable[Cell]:
    return [cell for name in _time_columns(guessed) if (cell := grid.cell(row, name)) is not None]
