"""Spreadsheets as people keep them, read into cells that know where they stand: xlsx by way of `workbook`, csv here.

    for sheet in read_tables(Path("scores.xlsx")).sheets:
        sheet.rows[6][1]                  # Cell(value=12.5, origin="scores.xlsx!Day 1!B7")

A csv file may be in UTF-8, UTF-16 or Latin-1, with commas, semicolons, tabs or bars; what was found is said in a note.
Values stay what the file says: text in a csv, numbers and times in a workbook. Making sense of them is another's work.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mousetal.errors import RecordError
from mousetal.formats.csv import FORMULA_STARTS

DELIMITERS = (";", "\t", ",", "|")  # in a tie the first wins: with semicolons a comma is a decimal mark
SNIFFED_ROWS = 200
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm")
COMPOUND_FILE = b"\xd0\xcf\x11\xe0"  # how .xls begins, and an .xlsx that is locked by a password


@dataclass(frozen=True, slots=True)
class DayTime:
    """A cell that the spreadsheet holds as a time: ``days`` since its epoch, and the format in which it is shown."""

    days: float
    number_format: str


CellValue = str | float | DayTime | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. ``origin`` says where it stands; ``trouble`` why it has no value though the sheet shows one."""

    value: CellValue
    origin: str
    trouble: str = ""

    @property
    def text(self) -> str:
        """The value as text without blanks around it: a number that is whole has no decimals, nothing is ""."""
        value = self.value
        if value is None:
            return ""
        if isinstance(value, float):
            return str(int(value)) if value.is_integer() else repr(value)
        if isinstance(value, DayTime):
            return f"{value.days:.9g} days"
        return " ".join(value.split())

    @property
    def is_empty(self) -> bool:
        return not self.trouble and self.text == ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table. ``name`` is the sheet's, "" in a csv file. Rows are as long as the longest one."""

    path: Path
    name: str
    rows: tuple[tuple[Cell, ...], ...]
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class TableFile:
    """All sheets of a file, hidden ones too; ``notes``: what a reader should be told, each with its place."""

    path: Path
    sheets: tuple[Sheet, ...]
    notes: tuple[tuple[str, str], ...] = ()


def read_tables(path: Path) -> TableFile:
    """The sheets of an xlsx or csv file; raises RecordError saying what is wrong and what to do."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: expected a table, cannot read it ({error.strerror or error}).") from error
    if content.startswith(COMPOUND_FILE):
        raise RecordError(
            f"{path}: expected an xlsx or csv file, got an old .xls or one locked by a password. "
            "Open it in a spreadsheet program and save it as .xlsx without a password."
        )
    if content.startswith(b"PK") and b"opendocument" in content[:100]:
        raise RecordError(f"{path}: expected an xlsx or csv file, got an OpenDocument table. Save it as .xlsx.")
    if content.startswith(b"PK"):
        from mousetal.formats import workbook  # here: openpyxl is only where data sets are made

        return workbook.read_workbook(path, content)
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        raise RecordError(f"{path}: expected a workbook, got another kind of file. Save it again as .xlsx.")
    return _read_csv(path, content)


def column_letter(index: int) -> str:
    """A spreadsheet's name of a column: 0 -> A, 25 -> Z, 26 -> AA."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def join_origins(*cells: Cell) -> str:
    """Where a label was read: ``scores.xlsx!Day 1!B7:C7`` for two cells of one row, ``...!D7,D8`` for others."""
    places = list(dict.fromkeys(cell.origin for cell in cells))
    sheet, _, first = places[0].rpartition("!")
    others = [place.rpartition("!")[2] for place in places[1:]]
    if len(others) == 1 and _row(others[0]) == _row(first):
        return f"{sheet}!{first}:{others[0]}"
    return f"{sheet}!{','.join([first, *others])}"


def _row(place: str) -> str:
    return place.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _read_csv(path: Path, content: bytes) -> TableFile:
    text, encoding = decode_text(path, content)
    if text.lstrip().startswith(("<", "{")):  # a web page, XML, JSON: no row of them would make sense
        raise RecordError(
            f"{path}: expected a table, got a file of another kind. Save it as csv or xlsx (a BORIS project is called "
            ".boris and needs no mapping)."
        )
    delimiter, text = _delimiter(text)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise RecordError(f"{path}: expected a csv table ({error}). Save it again as csv.") from error
    width = max(map(len, lines), default=0)
    rows = tuple(
        tuple(
            Cell(unmarked(line[column]) if column < len(line) else None, f"{path.name}!{column_letter(column)}{number}")
            for column in range(width)
        )
        for number, line in enumerate(lines, 1)
    )
    notes = [] if encoding == "UTF-8" else [(path.name, f"read as {encoding}")]
    return TableFile(path, (Sheet(path, "", rows),), tuple(notes))


def unmarked(text: str) -> str:
    """The text without the apostrophe that keeps a spreadsheet from running it (see `mousetal.formats.csv.safe`)."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA_STARTS) else text


def decode_text(path: Path, content: bytes) -> tuple[str, str]:
    """A text file's content and the encoding it is in; raises RecordError when it is no text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decoded(path, content, "utf-16"), "UTF-16"
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark: every other byte is zero
        if (
            len(content) >= 4
            and content[offset:400:2].count(0) * 2 > len(content[offset:400:2])
            and (b"\0" not in content[1 - offset : 400 : 2])
        ):
            return _decoded(path, content, name), "UTF-16"
    if b"\0" in content:
        raise RecordError(f"{path}: expected a text table, got binary data. Save it as csv or xlsx.")
    try:
        return content.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        try:
            return content.decode("cp1252"), "Latin-1 (Windows-1252)"
        except UnicodeDecodeError:
            return content.decode("latin-1"), "Latin-1"


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: expected UTF-16 text ({error.reason}). Save it again as UTF-8.") from error


def _delimiter(text: str) -> tuple[str, str]:
    """What stands between the cells, by which most rows are alike in width; and the text without Excel's ``sep=``."""
    first, _, rest = text.partition("\n")
    first = first.removesuffix("\r")  # not strip: the separator may be a tab
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[4], "\n" + rest  # the empty line keeps the row numbers right
    best, best_score = ",", (0, 0)
    for delimiter in DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        widths: Counter[int] = Counter()
        try:
            for _, row in zip(range(SNIFFED_ROWS), rows, strict=False):
                widths[len(row)] += 1
        except csv.Error:
            continue
        score = max(((count, width) for width, count in widths.items() if width > 1), default=(0, 0))
        if score > best_score and (score[0] > best_score[0] or best_score == (0, 0)):
            best, best_score = delimiter, score
    return best, text
