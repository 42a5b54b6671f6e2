"""Tables of every make are read to the same cells, each of which knows where it stands."""

from __future__ import annotations

import codecs
import datetime
import re
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mousetal.errors import RecordError
from mousetal.formats.csv import safe, table_text
from mousetal.formats.tables import Cell, DayTime, column_letter, join_origins, read_tables
from mousetal.formats.workbook import write_workbook

TEXT = "Tier;Verhalten;von\nMäuschen;Putzen;12,5\n\nB;Zucken;13,0\n"
TABLE = [["Tier", "Verhalten", "von"], ["Mäuschen", "Putzen", "12,5"], ["", "", ""], ["B", "Zucken", "13,0"]]


def texts(path: Path) -> list[list[str]]:
    return [[cell.text for cell in row] for row in read_tables(path).sheets[0].rows]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (TEXT.encode(), None),
        (codecs.BOM_UTF8 + TEXT.encode(), None),
        (TEXT.encode("latin-1"), "Latin-1"),
        (TEXT.encode("utf-16"), "UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-16"),
        (TEXT.encode("utf-16-be"), "UTF-16"),
        (TEXT.replace("\n", "\r\n").encode("cp1252"), "Latin-1"),
        (TEXT.replace(";", "\t").encode(), None),
        (TEXT.replace(";", "|").encode(), None),
    ],
)
def test_csv_is_read_in_every_encoding_and_with_every_separator(
    tmp_path: Path, content: bytes, note: str | None
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert texts(path) == TABLE
    told = [(where, what.partition(" (")[0]) for where, what in read_tables(path).notes]
    assert told == ([("a.csv", f"read as {note}")] if note else [])


def test_excels_own_line_about_the_separator_is_obeyed_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sep=|\na,b|c\n1,2|3\n")
    rows = read_tables(path).sheets[0].rows
    assert [cell.text for cell in rows[1]] == ["a,b", "c"]
    assert rows[2][1].origin == "a.csv!B3"


def test_decimal_commas_do_not_pass_for_separators(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("von;bis\n" + "1,5;2,5\n" * 20)
    assert texts(path)[1] == ["1,5", "2,5"]


@given(
    st.lists(st.lists(st.text("ab;,\n\"' é=-", max_size=5), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
)
@example([["", ";", "\n;"]], "\t")  # where all but the word in the first line speaks for another separator
def test_what_is_written_safely_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    header = ["one", "two", "three"]
    text = table_text(header, [[safe(text) for text in row] for row in rows], delimiter)
    path.write_bytes(f"sep={delimiter}\n{text}".encode())
    cells = [[cell.value for cell in row] for row in read_tables(path).sheets[0].rows][1:]
    marked = [[re.sub("^'(?=[=+@\t\r-])", "", text) for text in row] for row in rows]
    assert cells == [header, *marked]


def test_numbers_times_and_text_of_a_workbook_keep_their_kind(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["m1", 12.5, 3, True, datetime.time(0, 1, 23), datetime.timedelta(hours=30), None])
    sheet["E1"].number_format = "h:mm:ss"
    book.save(tmp_path / "a.xlsx")
    row = read_tables(tmp_path / "a.xlsx").sheets[0].rows[0]
    assert [cell.value for cell in row[:4]] == ["m1", 12.5, 3.0, 1.0]
    assert row[2].text == "3"
    assert isinstance(row[4].value, DayTime)
    assert row[4].value.days == pytest.approx(83 / 86400)
    assert row[4].value.number_format == "h:mm:ss"
    assert isinstance(row[5].value, DayTime)
    assert row[5].value.days == pytest.approx(1.25)
    assert row[1].origin == "a.xlsx!Sheet!B1"


def test_a_merged_block_counts_for_every_cell_it_covers(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["video", "start"], ["m1", 1], [None, 2], [None, 3], ["m2", 4]):
        sheet.append(row)
    sheet.merge_cells("A2:A4")
    book.save(tmp_path / "a.xlsx")
    assert [row[0] for row in texts(tmp_path / "a.xlsx")] == ["video", "m1", "m1", "m1", "m2"]


def test_a_formula_counts_with_its_saved_value_and_without_one_is_trouble(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["=1+1", "=1/0", 5])
    path = tmp_path / "a.xlsx"
    book.save(path)
    cells = read_tables(path).sheets[0].rows[0]
    assert cells[0].value is None
    assert "never saved" in cells[0].trouble
    assert not cells[0].is_empty
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    sheet = sheet.replace("<f>1+1</f><v />", "<f>1+1</f><v>2</v>").replace("<f>1+1</f><v></v>", "<f>1+1</f><v>2</v>")
    sheet = re.sub(r'<c r="B1"[^>]*><f>1/0</f><v ?/?>(</v>)?', '<c r="B1" t="e"><f>1/0</f><v>#DIV/0!</v>', sheet)
    parts["xl/worksheets/sheet1.xml"] = sheet.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    cells = read_tables(path).sheets[0].rows[0]
    assert cells[0].value == 2
    assert "#DIV/0!" in cells[1].trouble


def test_rows_that_are_formatted_and_hold_nothing_are_no_rows(tmp_path: Path) -> None:
    """A format on the last row of all would else make a million of them, a minute and gigabytes."""
    book = openpyxl.Workbook()
    book.active.append(["video", "=1+1"])
    book.active.cell(1_048_576, 9).number_format = "h:mm"
    book.save(tmp_path / "a.xlsx")
    (row,) = read_tables(tmp_path / "a.xlsx").sheets[0].rows
    assert [cell.is_empty for cell in row] == [False, False]


def test_hidden_sheets_are_marked_and_hidden_rows_said(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["a"])
    book.active.append(["b"])
    book.active.row_dimensions[2].hidden = True
    book.create_sheet("old").sheet_state = "hidden"
    book.create_sheet("older").sheet_state = "veryHidden"
    book.save(tmp_path / "a.xlsx")
    file = read_tables(tmp_path / "a.xlsx")
    assert [sheet.is_hidden for sheet in file.sheets] == [False, True, True]
    assert "hidden rows" in file.notes[0][1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1" + b"\0" * 600, "old .xls or one locked by a password"),
        ("a.xlsx", b"video,start\n", "another kind of file"),
        ("a.xlsx", b"PK\x03\x04 and then nothing", "cannot read it"),
        (
            "a.ods",
            b"PK\x03\x04" + b"\0" * 26 + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            "OpenDocument",
        ),
        ("a.html", b"<html><table>", "another kind. Save it as csv"),
        ("a.json", b' {"observations": {}}', "another kind. Save it as csv"),
        ("a.csv", b"\x00\x01\x02\x03" * 50, "binary data"),
        ("a.csv", codecs.BOM_UTF16_LE + b"a\x00\x00\xd8", "UTF-16"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordError, match=said):
        read_tables(path)


def test_a_table_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nothing\.csv: expected a table"):
        read_tables(tmp_path / "nothing.csv")


def test_a_workbook_cut_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_workbook(path, {"labels": [["x"] * 50] * 200})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(RecordError, match="cannot read it"):
        read_tables(path)


def test_text_that_looks_like_a_formula_is_written_as_text(tmp_path: Path) -> None:
    write_workbook(tmp_path / "a.xlsx", {"one": [["=1+1", 2, "a\x07b"]], "two": []})
    file = read_tables(tmp_path / "a.xlsx")
    assert [cell.value for cell in file.sheets[0].rows[0]] == ["=1+1", 2.0, "a b"]
    assert [sheet.name for sheet in file.sheets] == ["one", "two"]


def test_columns_have_the_letters_of_a_spreadsheet() -> None:
    assert [column_letter(n) for n in (0, 25, 26, 51, 701, 702)] == ["A", "Z", "AA", "AZ", "ZZ", "AAA"]


def test_origins_are_joined_as_a_spreadsheet_would_write_them() -> None:
    def at(place: str) -> Cell:
        return Cell(None, f"s.xlsx!Day 1!{place}")

    assert join_origins(at("B7"), at("C7")) == "s.xlsx!Day 1!B7:C7"
    assert join_origins(at("D7"), at("D8")) == "s.xlsx!Day 1!D7,D8"
    assert join_origins(at("D7"), at("D7")) == "s.xlsx!Day 1!D7"
