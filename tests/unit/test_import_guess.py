"""A guessed mapping reads the table that it was guessed from."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

import pytest

from mousetal.errors import RecordError
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
    "cells with spans": ([["Video", "groom", "twitch"], ["m1", "1:12-1:15.5", ""], ["m2", "", "0:10-0:11"]], ","),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_guess_reads_the_table(tmp_path: Path, shape: str) -> None:
    rows, delimiter = SHAPES[shape]
    assert facts(guessed(write_csv(tmp_path / "s.csv", rows, delimiter))) == PLAIN


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
