"""Tables as people keep them: every encoding, layout and way to write a time gives the bouts that are meant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.errors import RecordError, SettingsError
from mousetal.formats.sheets import column_letter, read_sheets
from training.importing import mapping as mappings
from training.importing.mapping import TableMapping
from training.importing.matching import match
from training.importing.rows import LabelRow, read_label_table
from training.importing.times import parse

BOUTS = TableMapping(columns={"video": "Video", "behavior": "Behaviour", "start": "Start", "end": "End"})
PAIRS = TableMapping(
    layout="start_stop", columns={"video": "Video", "behavior": "Behaviour", "event": "Event", "time": "Time"}
)


def spans(rows: tuple[LabelRow, ...]) -> list[tuple[str, str, float, float | None]]:
    return [(row.video, row.behavior, row.start, row.end) for row in rows]


def workbook(path: Path, *rows: tuple[object, ...], change: Callable[[openpyxl.Workbook], None] | None = None) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    if change:
        change(book)
    book.save(path)
    return path


# Times


@given(st.integers(0, 359_999_999))
def test_a_clock_of_any_length_comes_back_to_the_millisecond(milliseconds: int) -> None:
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    text = f"{hours}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"
    assert parse(text) == pytest.approx(milliseconds / 1000, abs=1e-6)
    assert parse(text.replace(".", ",")) == pytest.approx(milliseconds / 1000, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [
        ("12.5", "auto", 12.5), ("12,5", "auto", 12.5), ("12.5 s", "auto", 12.5), (3, "seconds", 3.0),
        ("1:02", "auto", 62.0), ("00:01:02.250", "clock", 62.25), (0.5, "day_fraction", 43_200.0),
        (1500, "milliseconds", 1.5), (2, "minutes", 120.0), ("17", "frame", 17.0),
        (dt.time(0, 1, 2, 500_000), "auto", 62.5), (dt.timedelta(seconds=62.5), "auto", 62.5),
        (dt.datetime(1900, 1, 1, 1, 0), "auto", 86_400 + 3600.0), (dt.datetime(2026, 3, 4, 0, 1, 2), "auto", 62.0),
    ],
)  # fmt: skip
def test_every_spelling_of_a_time_is_understood(value: object, unit: str, seconds: float) -> None:
    assert parse(value, unit) == pytest.approx(seconds)  # type: ignore[arg-type]


def test_minutes_that_excel_took_for_hours_can_be_read_as_meant() -> None:
    assert parse(dt.time(1, 15), hours_are_minutes=True) == 75.0


@pytest.mark.parametrize("value", ["soon", "1:2:3:4", "", "nan", True])
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="a time expected"):
        parse(value)


def test_a_plain_number_is_no_clock() -> None:
    with pytest.raises(ValueError, match=r"1:02\.5 expected"):
        parse(12, "clock")


# Text files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_text_is_read_in_every_usual_form(tmp_path: Path, encoding: str, delimiter: str) -> None:
    decimal = "," if delimiter == ";" else "."
    lines = [("Video", "Behaviour", "Start", "End"), ("Käfig 1.mp4", "putzen", f"1{decimal}5", f"2{decimal}25")]
    path = tmp_path / "a.csv"
    path.write_bytes("\n".join(delimiter.join(line) for line in lines).encode(encoding))
    assert spans(read_label_table(path, BOUTS).rows) == [("Käfig 1.mp4", "putzen", 1.5, 2.25)]


def test_a_binary_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(RecordError, match="binary file"):
        read_sheets(tmp_path / "a.csv")
    (tmp_path / "a.xlsx").write_bytes(b"no workbook")
    with pytest.raises(RecordError, match="an Excel workbook expected"):
        read_sheets(tmp_path / "a.xlsx")


# Workbooks


def test_a_bout_knows_its_cells(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ("Video", "Behaviour", "Start", "End"), (), ("m1", "groom", "0:01", 2.5))
    (row,) = read_label_table(path, BOUTS).rows
    assert (row.start, row.end, row.origin) == (1.0, 2.5, "a.xlsx!Sheet!C3:D3")


def test_a_merged_cell_counts_for_all_it_covers(tmp_path: Path) -> None:
    rows = [("Video", "Behaviour", "Start", "End"), ("m1", "groom", 1, 2), (None, "groom", 3, 4), ("m2", "groom", 5, 6)]
    path = workbook(tmp_path / "a.xlsx", *rows, change=lambda book: book.worksheets[0].merge_cells("A2:A3"))
    assert [row.video for row in read_label_table(path, BOUTS).rows] == ["m1", "m1", "m2"]


def test_hidden_sheets_are_left_out_and_said_so(tmp_path: Path) -> None:
    def hide(book: openpyxl.Workbook) -> None:
        other = book.create_sheet("old")
        other.append(("Video", "Behaviour", "Start", "End"))
        other.append(("m9", "groom", 1, 2))
        other.sheet_state = "hidden"

    path = workbook(tmp_path / "a.xlsx", ("Video", "Behaviour", "Start", "End"), ("m1", "groom", 1, 2), change=hide)
    table = read_label_table(path, BOUTS)
    assert [row.video for row in table.rows] == ["m1"]
    assert any("hidden sheets are left out: old" in note for note in table.notes)


def test_a_formula_whose_value_was_never_stored_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ("Video", "Behaviour", "Start", "End"), ("m1", "groom", "=1+1", 3))
    with pytest.raises(RecordError, match=r"a\.xlsx!Sheet!C2: a formula whose value is not stored"):
        read_label_table(path, BOUTS)


def test_text_in_a_time_cell_costs_that_row_and_is_named(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "a.xlsx", ("Video", "Behaviour", "Start", "End"), ("m1", "groom", "early", 3), ("m1", "groom", 4, 5)
    )
    table = read_label_table(path, BOUTS)
    assert len(table.rows) == 1
    assert "C2: a time expected, got 'early'" in table.problems[0].text


def test_a_sheet_that_is_not_there_and_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ("Film", "What", "When"), ("m1", "groom", 1))
    with pytest.raises(RecordError, match="no sheet has the columns Behaviour, End, Start, Video"):
        read_label_table(path, BOUTS)
    with pytest.raises(RecordError, match="no sheet Day 2; there are Sheet"):
        read_label_table(path, TableMapping(columns={**BOUTS.columns}, sheets=("Day 2",)))


def test_a_sheet_can_be_a_video(tmp_path: Path) -> None:
    def second(book: openpyxl.Workbook) -> None:
        book.worksheets[0].title = "m1"
        book.create_sheet("m2").append(("Behaviour", "Start", "End"))
        book["m2"].append(("groom", 3, 4))

    path = workbook(tmp_path / "a.xlsx", ("Behaviour", "Start", "End"), ("groom", 1, 2), change=second)
    mapping = TableMapping(
        columns={"behavior": "Behaviour", "start": "Start", "end": "End"},
        sheet_is_video=True,
        videos={"m2": "x/m2.avi"},
    )
    assert spans(read_label_table(path, mapping).rows) == [("m1", "groom", 1, 2), ("x/m2.avi", "groom", 3, 4)]


# Layouts


def test_starts_and_stops_are_paired_by_video_and_behaviour(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "a.xlsx", ("Video", "Behaviour", "Event", "Time"),
        ("m1", "groom", "START", "00:01"), ("m1", "twitch", "start", "00:02"), ("m2", "groom", "START", "00:02"),
        ("m1", "twitch", "stop", "00:02.5"), ("m1", "groom", "STOP", "00:04"), ("m2", "groom", "STOP", "00:03"),
        ("m1", "twitch", "POINT", "00:09"),
    )  # fmt: skip
    table = read_label_table(path, PAIRS)
    assert sorted(spans(table.rows), key=str) == [
        ("m1", "groom", 1.0, 4.0), ("m1", "twitch", 2.0, 2.5), ("m1", "twitch", 9.0, None), ("m2", "groom", 2.0, 3.0),
    ]  # fmt: skip
    assert {row.origin for row in table.rows} >= {"a.xlsx!Sheet!D2:D6"}
    assert table.problems == ()


def test_starts_and_stops_without_partners_are_named(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "a.xlsx", ("Video", "Behaviour", "Event", "Time"), ("m1", "groom", "STOP", 1),
        ("m1", "groom", "START", 2), ("m1", "groom", "START", 3), ("m1", "groom", "STOP", 4),
        ("m1", "groom", "START", 9),
        ("m1", "groom", "pause", 9),
    )  # fmt: skip
    table = read_label_table(path, PAIRS)
    assert spans(table.rows) == [("m1", "groom", 3.0, 4.0)]
    said = " | ".join(problem.text for problem in table.problems)
    for words in ("STOP without a START", "before the next START", "START without a STOP", "got 'pause'"):
        assert words in said


def test_a_column_per_behaviour_holds_times_and_ranges(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ("Video", "groom", "twitch"), ("m1", "0:01-0:03; 0:10 - 0:12", "4,5;7"))
    mapping = TableMapping(layout="columns", columns={"video": "Video"})
    assert spans(read_label_table(path, mapping).rows) == [
        ("m1", "groom", 1, 3), ("m1", "groom", 10, 12), ("m1", "twitch", 4.5, None), ("m1", "twitch", 7, None),
    ]  # fmt: skip


def test_a_row_per_frame_gives_runs(tmp_path: Path) -> None:
    lines = ["file,groom,twitch", *(f"a,{groom},{twitch}" for groom, twitch in ["00", "10", "11", "00"]), "b,1,0"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    mapping = TableMapping(layout="binary", columns={"video": "file"})
    rows = read_label_table(tmp_path / "a.csv", mapping).rows
    assert sorted(spans(rows)) == [("a", "groom", 1, 3), ("a", "twitch", 2, 3), ("b", "groom", 0, 1)]
    assert all(row.is_frames for row in rows)


def test_an_inclusive_last_frame_is_counted_in(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Video,Behaviour,Start,End\nm1,groom,10,19\n")
    mapping = TableMapping(columns=BOUTS.columns, unit="frame", end_is_inclusive=True)
    assert spans(read_label_table(tmp_path / "a.csv", mapping).rows) == [("m1", "groom", 10, 20)]


# Guessing


BORIS_TABULAR = (
    "Observation id\tMedia file name\tFPS\tSubject\tBehavior\tBehavior type\tTime\n"
    "obs\tm1.mp4\t30\tmouse 1\tgroom\tSTART\t1.0\nobs\tm1.mp4\t30\tmouse 1\tgroom\tSTOP\t2.0\n"
)
BORIS_AGGREGATED = (
    "Observation id,Media file name,Subject,Behavior,Behavior type,Start (s),Stop (s),Duration (s)\n"
    "obs,m1.mp4,mouse 1,groom,STATE,1.0,2.0,1.0\n"
)
BORIS_LEGACY = "Observation id\tobs\n\nMedia file(s)\n\nPlayer #1\tm1.mp4\n\n" + (
    "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus\n"
    "1.0\tm1.mp4\t60\t30\tmouse 1\tgroom\t\t\tSTART\n2.0\tm1.mp4\t60\t30\tmouse 1\tgroom\t\t\tSTOP\n"
)


@pytest.mark.parametrize(
    "text", [BORIS_TABULAR, BORIS_AGGREGATED, BORIS_LEGACY], ids=["tabular", "aggregated", "legacy"]
)
def test_the_tables_of_boris_are_understood_without_a_word(tmp_path: Path, text: str) -> None:
    path = tmp_path / "events.tsv"
    path.write_text(text)
    mapping = mappings.guess(read_sheets(path))
    table = read_label_table(path, mapping)
    assert spans(table.rows) == [("m1.mp4", "groom", 1.0, 2.0)]
    assert table.rows[0].facts == {"subject": "mouse 1"}


def test_a_guess_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(BORIS_TABULAR)
    sheets = read_sheets(path)
    guessed = mappings.guess(sheets, ["Groom"])
    (tmp_path / "mapping.toml").write_text(mappings.to_toml(guessed, sheets))
    again = mappings.read(tmp_path / "mapping.toml")
    assert {name: column for name, column in again.columns.items() if column} == guessed.columns
    assert (again.layout, again.behaviors) == ("start_stop", {"groom": "Groom"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layout = 'rows'", "layout: one of bouts"),
        ("unit = 'hours'\n[columns]\nvideo='v'", "unit: one of auto"),
        ("colour = 1", "unknown keys colour"),
        ("[columns]\nvideo = 'Video'", "layout 'bouts' needs behavior, start"),
        ("= 3", "a mapping in TOML expected"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        mappings.read(tmp_path / "m.toml")


def test_three_raters_in_a_real_table_stay_apart(shared: Path) -> None:
    path = shared / "data/real/copyleft/dlcanalyzer_oft_labels/AllLabDataOFT_part.csv"
    mapping = TableMapping(
        columns={"video": "ID", "behavior": "type", "start": "from", "end": "to", "rater": "Experimenter"},
        behaviors={"Grooming": "Self-Grooming"}, scored=("Start/End", "StartEnd"),
        ignore=("_DEFAULT", "NA", "Supported", "Unsupported", "Jumping"),
    )  # fmt: skip
    table = read_label_table(path, mapping)
    assert table.problems == ()
    bouts = [row for row in table.rows if not row.is_scored]
    assert {row.behavior for row in bouts} == {"Self-Grooming"}
    assert len({row.video for row in bouts}) == 14
    assert len({row.rater for row in bouts}) == 3


# Names


@given(st.integers(0, 5000))
def test_columns_are_named_as_in_a_spreadsheet(place: int) -> None:
    assert column_letter(place) == openpyxl.utils.get_column_letter(place + 1)


FILES = ["day 1/m1.mp4", "day 1/m2.MP4", "day 2/m1.mp4", "m10.avi"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("day 1/m1.mp4", "day 1/m1.mp4"), ("DAY 1/M1.MP4", "day 1/m1.mp4"), ("m2", "day 1/m2.MP4"),
        ("m2.mp4", "day 1/m2.MP4"), ("C:\\videos\\day 2\\m1.mp4", "day 2/m1.mp4"), ("m10.mp4", "m10.avi"),
    ],
)  # fmt: skip
def test_names_find_their_videos(name: str, file: str) -> None:
    assert match([name], FILES).files == {name: file}


def test_a_name_that_fits_two_videos_or_none_is_for_a_person_to_settle() -> None:
    unmatched = match(["m1.mp4", "m12"], FILES).unmatched
    assert unmatched["m1.mp4"] == "fits several videos: day 1/m1.mp4, day 2/m1.mp4"
    assert "nearest are" in unmatched["m12"]
