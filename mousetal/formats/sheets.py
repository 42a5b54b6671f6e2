"""Tables as people keep them, read into rows of named cells that know where they stood.

    for sheet in read_sheets(Path("scores.xlsx")):
        for row in sheet.rows:
            row["Behaviour"].value, row["Behaviour"].origin      # "Self-Grooming", "scores.xlsx!Day 1!B7"

Comma, semicolon or tab separated text in UTF-8, UTF-16 or Latin-1, and Excel workbooks. Of a workbook the visible
sheets are read, with the values that Excel stored for formulas; a merged cell's value counts for all cells it covers.
Times that Excel knows as times come as Python's; everything else as text or number.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mousetal.errors import RecordError

Value = str | int | float | dt.datetime | dt.time | dt.timedelta
WORKBOOKS = (".xlsx", ".xlsm")
DEEPEST_HEADER = 30  # rows before the header: old BORIS tables have up to twenty
BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


@dataclass(frozen=True, slots=True)
class Cell:
    """One value and where it stood: ``file!sheet!B7``; of text files ``file!B7``."""

    value: Value
    origin: str

    @property
    def text(self) -> str:
        return str(self.value).strip()


@dataclass(frozen=True, slots=True)
class Row:
    """The filled cells of one row by column name. ``origin`` names the row: ``file!sheet!7``."""

    cells: Mapping[str, Cell]
    origin: str

    def text(self, column: str) -> str:
        """The text in a column, empty where nothing stands."""
        cell = self.cells.get(column)
        return cell.text if cell else ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: ``columns`` in order, ``rows`` without the empty ones, ``notes`` on what was left out."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def read_sheets(path: Path, wanted: Iterable[str] = ()) -> list[Sheet]:
    """All tables of a file. ``wanted`` are column names by which the header is known; without them, by its shape.

    Raises RecordError for a file that is no table, and for a formula whose value Excel never stored.
    """
    try:
        if path.suffix.lower() in WORKBOOKS:
            return _read_workbook(path, frozenset(wanted))
        return [_sheet("", _text_rows(path), path.name, frozenset(wanted))]
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error}).") from error


def column_letter(place: int) -> str:
    """A column's name in a spreadsheet: 0 -> A, 25 -> Z, 26 -> AA."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _text_rows(path: Path) -> list[list[Value | None]]:
    content = path.read_bytes()
    encoding = next((name for mark, name in BOMS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise RecordError(f"{path}: a table (csv, tsv or xlsx) expected, this is a binary file. Export it as csv.")
    lines = [line for line in text.splitlines() if line.strip()][:50]
    counts = {mark: sum(line.count(mark) for line in lines) for mark in "\t;,"}
    # A decimal comma appears in every line of a semicolon's table, so the semicolon goes first where it is regular.
    delimiter = next((mark for mark in "\t;" if counts[mark] >= max(1, len(lines) // 2)), ",")
    return [
        [cell if cell.strip() else None for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)
    ]


def _read_workbook(path: Path, wanted: frozenset[str]) -> list[Sheet]:
    import openpyxl  # here, because the driver's image reads no workbooks
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        values = openpyxl.load_workbook(path, data_only=True)
        formulas = openpyxl.load_workbook(path)
    except (InvalidFileException, KeyError, ValueError, EOFError) as error:
        raise RecordError(f"{path}: an Excel workbook expected ({error}). Save it as .xlsx or .csv.") from error
    except Exception as error:  # zipfile's own class for a file that is no archive
        if type(error).__name__ != "BadZipFile":
            raise
        raise RecordError(f"{path}: an Excel workbook expected ({error}). Save it as .xlsx or .csv.") from error
    sheets, hidden = [], []
    for sheet in values.worksheets:
        if sheet.sheet_state != "visible":
            hidden.append(sheet.title)
            continue
        grid = [list(row) for row in sheet.iter_rows(values_only=True)]
        _require_values(path, sheet.title, grid, formulas[sheet.title])
        for merged in sheet.merged_cells.ranges:
            for row, column in merged.cells:
                grid[row - 1][column - 1] = grid[merged.min_row - 1][merged.min_col - 1]
        sheets.append(_sheet(sheet.title, grid, f"{path.name}!{sheet.title}", wanted))
    if hidden and sheets:
        note = f"{path.name}: hidden sheets are left out: {', '.join(hidden)}"
        sheets[0] = Sheet(sheets[0].name, sheets[0].columns, sheets[0].rows, (*sheets[0].notes, note))
    if not sheets:
        raise RecordError(
            f"{path}: no visible sheet (hidden: {', '.join(hidden) or 'none'}). Unhide the one to import."
        )
    return sheets


def _require_values(path: Path, sheet: str, grid: Sequence[Sequence[Any]], formulas: Any) -> None:
    for row in formulas.iter_rows():
        for cell in row:
            is_formula = isinstance(cell.value, str) and cell.value.startswith("=")
            if is_formula and grid[cell.row - 1][cell.column - 1] is None:
                raise RecordError(
                    f"{path.name}!{sheet}!{cell.coordinate}: a formula whose value is not stored. "
                    "Open the workbook in Excel or LibreOffice, save it, and import again."
                )


def _sheet(name: str, grid: Sequence[Sequence[Any]], origin: str, wanted: frozenset[str]) -> Sheet:
    place = _header_place(grid, wanted)
    if place is None:
        return Sheet(name, (), (), (f"{origin}: no header found",))
    header = [str(value).strip() if value is not None else "" for value in grid[place]]
    columns = _distinct(header)
    rows = []
    for number, values in enumerate(grid[place + 1 :], place + 2):
        cells = {
            column: Cell(value, f"{origin}!{column_letter(i)}{number}")
            for i, (column, value) in enumerate(zip(columns, values, strict=False))
            if column and value is not None and str(value).strip()
        }
        if cells:
            rows.append(Row(cells, f"{origin}!{number}"))
    return Sheet(name, tuple(column for column in columns if column), tuple(rows))


def _header_place(grid: Sequence[Sequence[Any]], wanted: frozenset[str]) -> int | None:
    """The row that holds the wanted names; without any, the first of those at the top that has about the most text."""
    top = grid[:DEEPEST_HEADER]
    texts = [{str(value).strip() for value in row if isinstance(value, str) and value.strip()} for row in top]
    if wanted:
        return next((place for place, names in enumerate(texts) if wanted <= names), None)
    most = max((len(names) for names in texts), default=0)
    return next((place for place, names in enumerate(texts) if names and len(names) >= 0.7 * most), None)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names with a number behind those that come again, as spreadsheets do: Start, Start (2)."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 or not name else f"{name} ({seen[name]})")
    return distinct
