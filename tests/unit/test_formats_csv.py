"""The tables that people open: exact columns, safe text, times from the frames."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from mousetal.formats import csv as tables
from mousetal.formats.csv import VideoRow
from mousetal.types import FrameRange, NotScored
from tests.fixtures.stored import stored_result


def rows_of(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_intervals_have_the_promised_columns_and_one_row_per_bout() -> None:
    text = tables.intervals_text(tables.interval_rows(stored_result()))
    assert text.splitlines()[0] == (
        "video,behavior,start_frame,end_frame,start_s,end_s,duration_s,count,confidence,mean_probability,"
        "box_x1,box_y1,box_x2,box_y2,source,model,flags"
    )
    first, second = rows_of(text)
    assert first["video"] == "sub/a.mp4"
    assert first["behavior"] == "Self-Grooming"
    assert (first["start_frame"], first["end_frame"]) == ("2", "6")
    assert float(first["start_s"]) == pytest.approx(2 / 30, abs=1e-6)
    assert float(first["end_s"]) == pytest.approx(6 / 30 + 0.01, abs=1e-6), "presentation times, not frame / fps"
    assert float(first["duration_s"]) == pytest.approx(4 / 30 + 0.01, abs=1e-6)
    assert [first[f"box_{side}"] for side in ("x1", "y1", "x2", "y2")] == ["-4", "2", "31", "80"]
    assert (first["count"], first["source"], first["model"]) == ("1", "model", "classifier@cccccccccccc")
    assert first["flags"] == "cut_at_start;damaged"
    assert second["box_x1"] == ""
    assert float(second["end_s"]) == 0.41, "the last bout ends with the video"


def test_a_name_that_looks_like_a_formula_is_not_run_by_a_spreadsheet() -> None:
    for name in ("=cmd()|A1.mp4", "+1.mp4", "-1.mp4", "@a.mp4"):
        (row,) = rows_of(tables.videos_text([VideoRow(name, "failed", "=1+1")]))
        assert row["video"] == f"'{name}"
        assert row["reason"] == "'=1+1"
    assert tables.safe("a=b.mp4") == "a=b.mp4"


def test_numbers_below_zero_stay_numbers() -> None:
    (row, _) = rows_of(tables.intervals_text(tables.interval_rows(stored_result())))
    assert int(row["box_x1"]) == -4


def test_names_with_commas_quotes_and_line_breaks_survive() -> None:
    name = 'a, "b"\nc/ü☃.mp4'
    (row,) = rows_of(tables.videos_text([VideoRow(name, "failed", "x")]))
    assert row["video"] == name


def test_the_first_column_is_read_by_its_name_by_any_reader() -> None:
    assert tables.videos_text([]).encode("utf-8").startswith(b"video,status,reason,")


def test_a_row_of_a_video_says_what_is_known_of_it() -> None:
    result = stored_result(not_scored=(NotScored(FrameRange(0, 3), "damaged"), NotScored(FrameRange(9, 12), "damaged")))
    row = VideoRow.of(result, "done", 1.5)
    assert row.bouts == {"Self-Grooming": 1, "Head/Body TWITCH": 1}
    assert row.not_scored_s == pytest.approx(3 / 30 + (0.41 - 9 / 30 - 0.01))
    (shown,) = rows_of(tables.videos_text([row]))
    assert (shown["status"], shown["bouts"], shown["frames"], shown["decoded_frames"]) == ("done", "2", "12", "10")
    assert shown["warnings"] == "2 frames could not be decoded"


def test_a_file_that_failed_has_a_reason_and_no_numbers() -> None:
    (shown,) = rows_of(tables.videos_text([VideoRow("a.mp4", "failed", "no video stream", seconds=0.126)]))
    assert shown["reason"] == "no video stream"
    assert shown["seconds"] == "0.13"
    assert {shown[name] for name in ("bouts", "frames", "fps", "width")} == {""}


def test_boxes_are_listed_per_sampled_frame() -> None:
    first, second = rows_of(tables.boxes_text(stored_result()))
    assert list(first) == ["frame", "time_s", "x1", "y1", "x2", "y2", "score", "source"]
    assert (first["frame"], first["x1"], first["score"], first["source"]) == ("0", "1.25", "0.875", "detected")
    assert (second["time_s"], second["y2"], second["source"]) == ("0.066667", "99.75", "held")
