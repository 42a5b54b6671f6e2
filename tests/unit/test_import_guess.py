"""A guessed mapping reads the table that it was guessed from."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

import openpyxl
import pytest

from mousetal.errors import RecordError, SettingsError
from tests.fixtures.tables import Rows, write_csv, write_xlsx
from training.importing import mappingtext
from training.importing.guess import Guess, guess
from training.importing.labeltable import read_label_table
from training.importing.mapping import read_mapping
from training.importing.rows import LabelTable


def guessed(path: Path, videos: tuple[str, ...] = ()) -> LabelTable:
    target = path.with_suffix(".toml")
    target.write_text(guess(path, videos)[0])
    return read_label_table(path, read_mapping(target))


def facts(table: LabelTable) -> set[tuple[str, str, float, float | None]]:
    assert not [trouble for trouble in table.troubles if trouble.is_loss]
    return {(row.video, row.behavior, row.start, row.end) for row in table.rows}


PLAIN = {("m1", "groom", 72.0, 75.5), ("m2", "twitch", 10.0, 11.0)}
SHAPES: dict[str, tuple[Rows, str]] = {
    "seconds": ([["Video", "Behaviour", "Start", "End"], ["m1", "groom", 72, 75.5], ["m2", "twitch", 10, 11]], ","),
    "minutes": ([["file", "label", "onset", "offset"], ["m1", "groom", "1:12", "1:15.5"],
                 ["m2", "twitch", "0:10", "0:11"]], ","),
    "hours": ([["clip", "type", "from", "to"], ["m1", "groom", "0:01:12", "0:01:15.5"],
               ["m2", "twitch", "0:00:10", "0:00:11"]], "\t"),
    "decimal comma": ([["Video", "Verhalten", "von", "bis"], ["m1", "groom", "72,0", "75,5"],
                       ["m2", "twitch", "10,0", "11,0"]], ";"),
    "title above": ([["Scores of cohort 3"], [""], ["Video", "Behavior", "Start", "End"], ["m1", "groom", 72, 75.5],
                     ["m2", "twitch", 10, 11]], ","),
    "durations": ([["video", "action", "start", "duration"], ["m1", "groom", 72, 3.5], ["m2", "twitch", 10, 1]], ","),
    "start and stop": ([["Video", "Code", "Status", "Time"], ["m1", "groom", "START", 72],
                        ["m1", "groom", "STOP", 75.5], ["m2", "twitch", "START", 10],
                        ["m2", "twitch", "STOP", 11]], ","),
    "gaps below the video": ([["Video", "Behavior", "Start", "End"], ["m1", "groom", 72, 75.5],
                              ["m2", "twitch", 10, 11], ["", "twitch", 10, 11]], ","),
    "pairs of columns": ([["Video", "groom start", "groom end", "twitch_start", "twitch_end"],
                          ["m1", 72, 75.5, "", ""], ["m2", "", "", 10, 11]], ","),
    "units in the names": ([["Video_file", "Behavior name", "Start_time [s]", "End_time [s]", "Comment"],
                            ["m1", "groom", 72, 75.5, "?"], ["m2", "twitch", 10, 11, "short"]], ","),
    "milliseconds in the names": ([["VideoName", "Behavior", "Onset (ms)", "Offset (ms)"],
                                   ["m1", "groom", 72000, 75500], ["m2", "twitch", 10000, 11000]], ","),
    "clock in the names": ([["Video", "Behaviour", "Start (mm:ss)", "End (mm:ss)"], ["m1", "groom", "1:12", "1:15.5"],
                            ["m2", "twitch", "0:10", "0:11"]], ","),
    "camel case": ([["VideoName", "Action", "StartTime", "EndTime"], ["m1", "groom", 72, 75.5],
                    ["m2", "twitch", 10, 11]], ","),
    "German": ([["Datei", "Verhalten", "Beginn", "Ende", "Bemerkung"], ["m1", "groom", "72,0", "75,5", ""],
                ["m2", "twitch", "10,0", "11,0", "kurz"]], ";"),
    "frames beside seconds": ([["Video", "Event", "Start_frame", "End_frame", "Start_time", "End Time", "Bout_time"],
                               ["m1", "groom", 2160, 2265, 72, 75.5, 3.5], ["m2", "twitch", 300, 330, 10, 11, 1]], ","),
    "names that say nothing": ([["Video", "Behavior", "t1", "t2"], ["m1", "groom", 72, 75.5],
                                ["m2", "twitch", 10, 11]], ","),
    "behaviours above start and end": ([["video", "groom", "", "twitch", ""], ["", "start", "end", "start", "end"],
                                        ["m1", 72, 75.5, "", ""], ["m2", "", "", 10, 11]], ","),
    "spans with commas": ([["Video", "groom", "twitch", "notes"], ["m1", "1:12-1:15.5, 1:12 - 1:15.5", "", "a"],
                           ["m2", "", "0:10-0:11", "b"]], ";"),
    "cells with spans": ([["Video", "groom", "twitch"], ["m1", "1:12-1:15.5", ""], ["m2", "", "0:10-0:11"]], ","),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_guess_reads_the_table(tmp_path: Path, shape: str) -> None:
    rows, delimiter = SHAPES[shape]
    assert facts(guessed(write_csv(tmp_path / "s.csv", rows, delimiter))) == PLAIN


def test_a_behaviour_that_no_column_names_is_called_by_the_file(tmp_path: Path) -> None:
    rows = [["video", "start", "end"], ["m1", 1.5, 2.5]]
    text, remarks = guess(write_csv(tmp_path / "grooming.csv", rows))
    assert any("rename it" in remark for remark in remarks)
    assert tomllib.loads(text)["column_per_behavior"] == {"grooming": {"start": "start", "end": "end"}}
    assert facts(guessed(tmp_path / "grooming.csv")) == {("m1", "grooming", 1.5, 2.5)}


def test_a_table_without_names_goes_by_letters_and_contents(tmp_path: Path) -> None:
    rows = [["m1.mp4", "groom", 72, 75.5], ["m2.mp4", "twitch", 10, 11]]
    table = guessed(write_csv(tmp_path / "s.csv", rows), ("m1.mp4", "m2.mp4"))
    assert facts(table) == {(f"{video}.mp4", *rest) for video, *rest in PLAIN}


def test_a_table_that_makes_no_sense_gives_a_mapping_that_says_so(tmp_path: Path) -> None:
    """Columns of text are no behaviours: nothing would be worse than labels called "Strain"."""
    path = write_csv(tmp_path / "s.csv", [["Video", "Strain", "Cage"], ["m1", "C57", "left"], ["m2", "BL6", "right"]])
    text, remarks = guess(path)
    assert "Strain, Cage" in remarks[-1]
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"needs columns\.behavior, columns\.start"):
        read_mapping(tmp_path / "m.toml")


@pytest.mark.parametrize(
    ("names", "times", "said"),
    [
        (("start", "end"), [100, 120, 130, 140], "whole numbers"),
        (("start (min)", "end (min)"), [1.5, 2.5, 3.5, 4.5], "minutes"),
        (("start", "end"), [0.1, 0.2, 0.3, 0.4], "parts of a day"),
        (("start (s)", "end (s)"), [0.1, 0.2, 0.3, 0.4], ""),
    ],
)
def test_what_a_unit_was_taken_from_is_said_where_it_is_in_doubt(
    tmp_path: Path, names: tuple[str, str], times: list[float], said: str
) -> None:
    rows = [["video", "behavior", *names], ["m1", "groom", *times[:2]], ["m1", "groom", *times[2:]]]
    remarks = guess(write_csv(tmp_path / "s.csv", rows))[1]
    assert [said in remark for remark in remarks] == ([True] if said else [])


def test_days_below_ten_seconds_are_no_spans(tmp_path: Path) -> None:
    """1.2e-05 of a day is a second: its exponent has a minus that is no "to"."""
    rows = [["file", "groom start", "groom end"], ["m1", 1 / 86400, 3 / 86400], ["m2", 5 / 86400, 6 / 86400]]
    for path in (write_xlsx(tmp_path / "s.xlsx", {"A": rows}), write_csv(tmp_path / "s.csv", rows)):
        assert [(row.start, row.end) for row in guessed(path).rows] == [
            (pytest.approx(1), pytest.approx(3)), (pytest.approx(5), pytest.approx(6))
        ]  # fmt: skip


def test_a_sheet_per_video_and_excel_times(tmp_path: Path) -> None:
    header = ["Behavior", "Start", "End"]
    sheets = {
        "m1": [header, ["groom", datetime.time(0, 1, 12), datetime.time(0, 1, 15, 500000)]],
        "m2": [header, ["twitch", datetime.time(0, 0, 10), datetime.time(0, 0, 11)]],
    }
    assert facts(guessed(write_xlsx(tmp_path / "s.xlsx", sheets))) == PLAIN


def test_a_binary_table_is_known_by_its_zeros_and_ones(tmp_path: Path) -> None:
    rows = [["time", "groom", "twitch"], [0.0, 0, 1], [0.5, 1, 1], [1.0, 0, 0]]
    found = guessed(write_csv(tmp_path / "m1.csv", rows, "\t"))
    assert facts(found) == {("m1", "groom", 0.5, 1.0), ("m1", "twitch", 0.0, 1.0)}


def test_a_column_that_names_the_files_is_the_videos_whatever_it_is_called(tmp_path: Path) -> None:
    rows = [["ID", "what", "Behavior", "Start", "End"], ["1", "m1", "groom", 72, 75.5], ["2", "m2", "twitch", 10, 11]]
    assert facts(guessed(write_csv(tmp_path / "s.csv", rows), ("a/m1.mp4", "a/m2.mp4"))) == PLAIN


def test_frame_numbers_and_parts_of_a_day_are_told_apart(tmp_path: Path) -> None:
    frames = [["video", "behavior", "start_frame", "end_frame"], ["m1", "groom", 10, 20]]
    assert {row.unit for row in guessed(write_csv(tmp_path / "f.csv", frames)).rows} == {"frames"}
    days = [["video", "behavior", "start", "end"], *(["m1", "groom", n / 1440, (n + 0.5) / 1440] for n in range(1, 4))]
    found = guessed(write_csv(tmp_path / "d.csv", days))
    assert [row.start for row in found.rows] == pytest.approx([60, 120, 180])


def test_spellings_that_differ_in_case_are_one_behaviour(tmp_path: Path) -> None:
    rows = [["video", "behavior", "start", "end"], ["m1", "Groom", 1, 2], ["m1", "groom", 3, 4]]
    assert {row.behavior for row in guessed(write_csv(tmp_path / "s.csv", rows)).rows} == {"Groom"}


def test_names_with_any_signs_survive_in_the_toml() -> None:
    nasty = 'a"b\\c\n#[x] = é\x7f'
    written = mappingtext.text(Guess(columns={"video": nasty, "behavior": "b", "start": "s"}), "s.csv")
    assert tomllib.loads(written)["columns"]["video"] == nasty


def test_a_file_of_hidden_sheets_only_has_nothing_to_guess_from(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="neither hidden nor empty"):
        guess(write_csv(tmp_path / "s.csv", []))


def test_whole_minutes_alone_are_minutes_and_seconds_that_the_sheet_took_for_hours(tmp_path: Path) -> None:
    """LibreOffice shows a typed 1:12 as 01:12:00."""
    rows = [["Video", "Behavior", "Start", "End"], ["m1", "groom", datetime.time(1, 12), datetime.time(1, 15)],
            ["m2", "twitch", datetime.time(0, 10), datetime.timedelta(hours=25, minutes=30)]]  # fmt: skip
    path = write_xlsx(tmp_path / "s.xlsx", {"A": rows})
    assert "whole minutes" in guess(path)[1][0]
    assert facts(guessed(path)) == {("m1", "groom", 72.0, 75.0), ("m2", "twitch", 10.0, 1530.0)}
    rows[1][2] = datetime.time(1, 12, 5)
    assert guess(write_xlsx(path, {"A": rows}))[1] == []


def test_a_workbook_as_people_keep_them_loses_only_the_rows_that_say_nothing(tmp_path: Path) -> None:
    """A hidden sheet first, a title over merged columns, videos in merged cells, empty rows, words in time cells."""
    book = openpyxl.Workbook()
    book.active.title = "settings"
    book.active.sheet_state = "hidden"
    sheet = book.create_sheet("Scores")
    for row in (
        ["Cohort 3, scored by JS"], [], ["Video", "Behaviour", "Start (mm:ss)", "End (mm:ss)", "Comment"],
        ["m1", "groom", "0:01", "0:03", ""], [None, "twitch", datetime.time(0, 7), datetime.time(0, 8), "?"], [],
        ["m2", "groom", "approx 4", "0:05"], [None, "groom", "=C5", "=D5"], [None, "groom", "0:09", "0:08"],
    ):  # fmt: skip
        sheet.append(row)
    for block in ("A1:E1", "A4:A5", "A7:A9"):
        sheet.merge_cells(block)
    for cell in sheet["C5:D5"][0]:
        cell.number_format = "h:mm"
    book.create_sheet("Legend").append(["groom", "licks its fur"])
    book.save(tmp_path / "s.xlsx")
    table = guessed(tmp_path / "s.xlsx")
    assert {(row.video, row.behavior, row.start, row.end) for row in table.rows} == {
        ("m1", "groom", 1.0, 3.0), ("m1", "twitch", 7.0, 8.0)
    }  # fmt: skip
    assert {(one.kind, one.origin) for one in table.troubles if one.is_loss} == {
        ("unreadable time", "s.xlsx!Scores!C7:D7"),
        ("unreadable time", "s.xlsx!Scores!C8:D8"),
        ("end before start", "s.xlsx!Scores!C9:D9"),
    }


def test_the_columns_of_the_real_labels_are_known(rater_table: Path) -> None:
    text, remarks = guess(rater_table, ["OFT_11.mp4", "OFT_41.mp4"])
    columns = {"video": "file", "behavior": "type", "start": "from", "end": "to", "rater": "Experimenter"}
    assert tomllib.loads(text)["columns"] == columns | {"subject": "ID"}
    assert remarks == []
