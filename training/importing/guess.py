"""A first mapping.toml from the look of a table, with the reasons as comments: for a person to correct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mousetal.errors import RecordError
from mousetal.formats.tables import Cell, DayTime, Sheet, TableFile, read_tables
from training.importing import mappingtext
from training.importing.cells import SPAN
from training.importing.grid import Grid, grid_of, plain
from training.importing.known import recognise
from training.importing.mapping import Mapping
from training.importing.match import Matcher
from training.importing.times import CLOCK, shows_seconds

# What columns are called, the surest word first. The order of the roles decides who gets a column that fits two.
WORDS: dict[str, tuple[str, ...]] = {
    "video": ("video", "video file", "file", "filename", "file name", "media file", "recording", "movie", "clip"),
    "event": ("event type", "start/stop", "status", "behavior type", "event"),
    "start": ("start", "start time", "start_s", "start (s)", "start_frame", "start frame", "from", "onset", "begin",
              "von"),
    "end": ("end", "end time", "end_s", "end (s)", "end_frame", "end frame", "stop", "stop time", "to", "offset",
            "bis"),
    "duration": ("duration", "duration (s)", "length", "dauer"),
    "behavior": ("behavior", "behaviour", "action", "label", "annotation", "type", "verhalten", "code", "event"),
    "time": ("time", "time (s)", "timestamp", "seconds", "frame", "zeit"),
    "count": ("count", "repeats", "number", "n", "anzahl"),
    "rater": ("rater", "observer", "experimenter", "scorer", "annotator", "coder", "scored by"),
    "subject": ("subject", "animal", "animal id", "mouse", "mouse id", "rat", "id", "tier"),
    "group": ("group", "treatment", "genotype", "condition", "gruppe"),
    "phase": ("phase", "trial phase"),
    "session": ("session", "day", "date"),
}  # fmt: skip
EVENT_WORDS = {"start", "stop", "begin", "end", "on", "off", "point"}
HEADER_ROWS = 30
SAMPLE = 500


@dataclass
class Guess:
    """What is to be written: the document's sections, and remarks that become comments."""

    layout: str = "bouts"
    header: int = 1
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
    guessed = Guess(known.layout, known.header[0], columns=columns, unit=known.time.unit)
    guessed.remarks.append(f"{file.path.name}: its columns are known, it needs no mapping but for changes.")
    grid = grid_of(file.sheets[0], known.header)
    guessed.behaviors = Counter(grid.text(row, known.columns.behavior) for row in grid.rows())
    return guessed


def _of_table(file: TableFile, videos: Sequence[str]) -> Guess:
    shown = [
        sheet for sheet in file.sheets if not sheet.is_hidden and any(not c.is_empty for r in sheet.rows for c in r)
    ]
    hidden = [sheet.name for sheet in file.sheets if sheet.is_hidden]
    if not shown:
        raise RecordError(f"{file.path}: expected a table, found no sheet that is neither hidden nor empty.")
    guessed = Guess(header=_header(shown[0]))
    grid = grid_of(shown[0], (guessed.header,))
    if hidden:
        guessed.remarks.append(f"hidden sheets are left out: {', '.join(hidden)}")
    _guess_columns(guessed, grid)
    _guess_layout(guessed, grid)
    _guess_video(guessed, grid, [sheet.name for sheet in shown], videos)
    if len(shown) > 1 and guessed.source != "sheet":
        alike = [sheet for sheet in shown if grid_of(sheet, (guessed.header,)).names == grid.names]
        guessed.sheets = [sheet.name for sheet in alike] if len(alike) < len(shown) else []
    times = [cell for row in grid.rows() for cell in _time_cells(guessed, grid, row) if not cell.is_empty][:SAMPLE]
    headers = [guessed.columns.get(name, "") for name in ("start", "end", "time")]
    guessed.unit, guessed.decimal = _unit(times, headers)
    column = guessed.columns.get("behavior", "")
    if column:
        for sheet in shown:
            same = grid_of(sheet, (guessed.header,))
            if plain(column) in same.places:
                guessed.behaviors.update(text for row in same.rows() if (text := same.text(row, column)))
    return guessed


def _header(sheet: Sheet) -> int:
    """The row (from 1) that holds most names that are known; the first one that is not empty where none does."""
    words = {word for all_ in WORDS.values() for word in all_}
    best, best_score = 0, 0
    for number, row in enumerate(sheet.rows[:HEADER_ROWS], 1):
        score = sum(plain(cell.text) in words for cell in row)
        if score > best_score:
            best, best_score = number, score
    if best:
        return best
    return next(number for number, row in enumerate(sheet.rows, 1) if not all(cell.is_empty for cell in row))


def _guess_columns(guessed: Guess, grid: Grid) -> None:
    """Which column is what, by its name and, for START/STOP, by what is in it."""
    free = dict.fromkeys(name for name in grid.names if name)
    for name in list(free):
        texts = {plain(grid.text(row, name)) for row in grid.rows()} - {""}
        if texts and texts <= EVENT_WORDS and texts & {"start", "begin", "on"}:
            guessed.columns["event"] = name
            del free[name]
            break
    for role, words in WORDS.items():
        if role in guessed.columns or (role == "event"):
            continue
        by_name = {plain(name): name for name in free}
        fitting = next((by_name[word] for word in words if word in by_name), None)
        if fitting is not None:
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
    if "behavior" in columns and "start" in columns:
        columns.pop("time", None)
        if "end" in columns:
            columns.pop("duration", None)
        return
    if "behavior" in columns and "time" in columns:
        columns["start"] = columns.pop("time")
        guessed.remarks.append("there is no column of ends: every row is taken for an instant, one frame long")
        return
    rest = [name for name in grid.names if name and name not in columns.values()]
    if "time" in columns and rest and all(_is_binary(grid, name) for name in rest):
        guessed.layout = "binary"
        return
    guessed.layout = "column_per_behavior"
    for name in ("start", "end", "duration", "time", "behavior"):
        columns.pop(name, None)
    rest = [name for name in grid.names if name and name not in columns.values()]
    guessed.per_behavior = _pairs(rest)


def _is_binary(grid: Grid, name: str) -> bool:
    return all(grid.text(row, name) in ("0", "1", "") for row in grid.rows())


def _pairs(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """ "Grooming start" and "Grooming end" are one behaviour; any other column is one by itself."""
    pairs: dict[str, dict[str, str]] = {}
    for name in names:
        stem, _, last = name.replace("_", " ").rpartition(" ")
        role = "start" if plain(last) in WORDS["start"] else "end" if plain(last) in WORDS["end"] else ""
        if role and stem:
            pairs.setdefault(stem, {})[role] = name
        else:
            pairs.setdefault(name, {})["cells"] = name
    return pairs


def _guess_video(guessed: Guess, grid: Grid, sheets: Sequence[str], videos: Sequence[str]) -> None:
    """A column that names known videos, else one that is called so, else the sheets, else the file."""
    matcher = Matcher(videos, {})
    for name in grid.names:
        texts = {grid.text(row, name) for row in grid.rows()} - {""} if name else set()
        if texts and sum(bool(matcher.find(text).video) for text in texts) * 2 > len(texts):
            guessed.columns = {role: column for role, column in guessed.columns.items() if column != name}
            guessed.columns["video"] = name
            guessed.per_behavior.pop(name, None)
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


def _time_cells(guessed: Guess, grid: Grid, row: tuple[Cell, ...]) -> Iterable[Cell]:
    names = [guessed.columns.get(name, "") for name in ("start", "end", "time")]
    names += [column for pair in guessed.per_behavior.values() for column in pair.values()]
    return [cell for name in names if name and (cell := grid.cell(row, name)) is not None]


def _unit(cells: Sequence[Cell], headers: Sequence[str]) -> tuple[str, str]:
    """How most of these times are written: the unit and the decimal mark."""
    votes: Counter[str] = Counter()
    commas = points = 0
    wholes = True
    largest = 0.0
    for cell in cells:
        if isinstance(cell.value, DayTime):
            votes["hh:mm:ss" if shows_seconds(cell.value.number_format) else "mm:ss"] += 1
            continue
        for part in SPAN.split(cell.text.replace(";", " to ")):
            commas, points = commas + ("," in part), points + ("." in part)
            plain_text = part.strip().replace(",", ".")
            clock = CLOCK.fullmatch(plain_text)
            if clock:
                votes["hh:mm:ss" if clock[1] is not None else "mm:ss"] += 1
            else:
                try:
                    number = float(plain_text)
                except ValueError:
                    continue
                votes["number"] += 1
                wholes, largest = wholes and number.is_integer(), max(largest, number)
    decimal = "," if commas > points else "."
    # A 1:23 among 1:02:03 is a minute, which "mm:ss" reads too.
    unit = "mm:ss" if votes["mm:ss"] else votes.most_common(1)[0][0] if votes else "seconds"
    if unit != "number":
        return unit, decimal
    if any("frame" in plain(header) for header in headers) and wholes:
        return "frame", decimal
    if 0 < largest < 1 and not wholes and votes["number"] >= 4:
        return "day_fraction", decimal
    return "seconds", decimal
