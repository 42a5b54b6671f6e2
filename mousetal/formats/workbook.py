"""Workbooks (xlsx) to sheets of cells, and rows to a workbook. Needs openpyxl, which the driver has no use for.

A merged block counts for every cell that it covers. A formula counts with the value that the spreadsheet program last
saved for it; one that was never calculated is a cell with trouble, and never an empty one.
"""

from __future__ import annotations

import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.utils.datetime import to_excel
from openpyxl.utils.exceptions import InvalidFileException

from mousetal import atomic
from mousetal.errors import RecordError
from mousetal.formats.tables import Cell, CellValue, DayTime, Sheet, TableFile, column_letter, unmarked

NOT_CALCULATED = "a formula whose value was never saved: open the file in a spreadsheet program and save it"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # what no xlsx may hold


def read_workbook(path: Path, content: bytes) -> TableFile:
    """The sheets of a workbook, hidden ones marked; raises RecordError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl tells of charts and validations that it leaves out
            values = openpyxl.load_workbook(io.BytesIO(content), data_only=True)
            # A second look, at the formulas themselves, costs as much as the first: only where there are any.
            formulas = openpyxl.load_workbook(io.BytesIO(content)) if _has_formulas(content) else values
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise RecordError(f"{path}: expected a workbook, cannot read it ({error}). Save it again as .xlsx.") from error
    sheets, notes = [], []
    for sheet in values.worksheets:
        sheets.append(_sheet(path, sheet, formulas[sheet.title], values.epoch))
        hidden = sorted(number for number, row in sheet.row_dimensions.items() if row.hidden)
        if hidden and not sheets[-1].is_hidden:
            notes.append((f"{path.name}!{sheet.title}", f"{len(hidden)} hidden rows are read like the others"))
    return TableFile(path, tuple(sheets), tuple(notes))


def write_workbook(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]]) -> None:
    """Write rows as a workbook, whole or not at all. Text is text, also where it looks like a formula."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for number, row in enumerate(rows, 1):
            for column, value in enumerate(row, 1):
                if value in ("", None):
                    continue
                text = CONTROL.sub(" ", value) if isinstance(value, str) else value
                cell = sheet.cell(number, column, text)
                if isinstance(value, str):
                    cell.data_type = "s"
    content = io.BytesIO()
    book.save(content)
    atomic.write_bytes(path, content.getvalue())


def _has_formulas(content: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheets = (archive.read(name) for name in archive.namelist() if name.startswith("xl/worksheets/"))
        return any(b"<f>" in sheet or b"<f " in sheet for sheet in sheets)


def _sheet(path: Path, sheet: Any, formulas: Any, epoch: datetime.datetime) -> Sheet:
    covered = {
        (row, column): (block.min_row, block.min_col)
        for block in sheet.merged_cells.ranges
        for row in range(block.min_row, block.max_row + 1)
        for column in range(block.min_col, block.max_col + 1)
    }
    rows = []
    height, width = _used(sheet, formulas)
    for row in range(1, height + 1):
        cells = []
        for column in range(1, width + 1):
            place = covered.get((row, column), (row, column))
            origin = f"{path.name}!{sheet.title}!{column_letter(column - 1)}{row}"
            cells.append(_cell(sheet.cell(*place), formulas.cell(*place), origin, epoch))
        rows.append(tuple(cells))
    return Sheet(path, sheet.title, tuple(rows), is_hidden=sheet.sheet_state != "visible")


def _used(*sheets: Any) -> tuple[int, int]:
    """How many rows and columns hold anything. openpyxl's count goes on to the last cell that was ever formatted, which
    is the millionth row in many a workbook; and its public ways through the cells make all that lie between.
    """
    places = [place for sheet in sheets for place, cell in sheet._cells.items() if cell.value is not None]
    return max((row for row, _ in places), default=0), max((column for _, column in places), default=0)


def _cell(cell: Any, formula: Any, origin: str, epoch: datetime.datetime) -> Cell:
    value = cell.value
    if value is None:
        return Cell(None, origin, NOT_CALCULATED if formula.data_type == "f" else "")
    if cell.data_type == "e":
        return Cell(None, origin, f"the error {value}")
    return Cell(_value(value, cell.number_format, epoch), origin)


def _value(value: Any, number_format: str, epoch: datetime.datetime) -> CellValue:
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time | datetime.timedelta):
        return DayTime(float(to_excel(value, epoch)), number_format)
    return unmarked(str(value))
