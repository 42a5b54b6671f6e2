"""Tables in the shapes people keep become rows; what cannot be read is listed with its cell, and the rest goes on."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from mousetal.errors import RecordError, SettingsError
from tests.fixtures.tables import bouts_mapping, write_csv, write_xlsx
from training.importing.labeltable import read_label_table
from training.importing.mapping import Mapping, mapping_of, read_mapping
from training.importing.rows import LabelRow, LabelTable
from training.importing.sources import read_source

HEADER = ["video", "behavior", "start", "end"]


def facts(table: LabelTable) -> list[tuple[object, ...]]:
    return [(row.video, row.behavior, row.start, row.end) for row in table.rows]


def kinds(table: LabelTable) -> list[str]:
    return [trouble.kind for trouble in table.troubles]


def test_a_row_per_bout_keeps_its_cells_as_origin(tmp_path: Path) -> None:
    rows = [HEADER, ["m1", "groom", 1.5, 2], ["m1", "groom", 3, 4.25]]
    table = read_label_table(write_xlsx(tmp_path / "s.xlsx", {"Day 1": rows}), bouts_mapping(rater="ann"))
    assert table.rows == (
        LabelRow("m1", "groom", 1.5, 2.0, rater="ann", origin="s.xlsx!Day 1!C2:D2"),
        LabelRow("m1", "groom", 3.0, 4.25, rater="ann", origin="s.xlsx!Day 1!C3:D3"),
    )
    assert table.troubles == ()


def test_start_and_stop_rows_are_paired_by_video_animal_behaviour_and_rater(tmp_path: Path) -> None:
    rows = [
        ["video", "behavior", "event", "time", "by"],
        ["m1", "groom", "START", "0:10", "ann"], ["m1", "groom", "start", "0:11", "bob"],
        ["m1", "twitch", "POINT", "0:12", "ann"], ["m1", "groom", "Stop", "0:15", "ann"],
        ["m1", "groom", "END", "1:00", "bob"], ["m1", "groom", "START", "2:00", "bob"],
        ["m1", "groom", "paused", "2:00", "bob"],
    ]  # fmt: skip
    columns = {"video": "video", "behavior": "behavior", "event": "event", "time": "time", "rater": "by"}
    mapping = mapping_of({"layout": "start_stop", "columns": columns, "time": {"unit": "mm:ss"}})
    table = read_label_table(write_csv(tmp_path / "s.csv", rows), mapping)
    assert [(row.behavior, row.start, row.end, row.rater, row.origin) for row in table.rows] == [
        ("groom", 10.0, 15.0, "ann", "s.csv!D2,D5"),
        ("groom", 11.0, 60.0, "bob", "s.csv!D3,D6"),
        ("twitch", 12.0, None, "ann", "s.csv!D4"),
    ]
    assert [(one.kind, one.origin) for one in table.troubles] == [
        ("unknown event", "s.csv!C8"), ("unpaired event", "s.csv!D7")
    ]  # fmt: skip


def test_a_column_per_behaviour_may_hold_spans_and_instants(tmp_path: Path) -> None:
    rows = [["video", "groom", "twitch"], ["m1", "0:10-0:15; 1:00 – 1:02.5", "0:33"], ["m2", None, "2:00|2:01"]]
    per_behavior = {"Self-Grooming": {"cells": "groom"}, "twitch": {"cells": "twitch"}}
    mapping = mapping_of(
        {"layout": "column_per_behavior", "columns": {"video": "video"}, "time": {"unit": "mm:ss"},
         "column_per_behavior": per_behavior}
    )  # fmt: skip
    table = read_label_table(write_xlsx(tmp_path / "s.xlsx", {"A": rows}), mapping)
    assert facts(table) == [
        ("m1", "Self-Grooming", 10.0, 15.0), ("m1", "Self-Grooming", 60.0, 62.5), ("m1", "twitch", 33.0, None),
        ("m2", "twitch", 120.0, None), ("m2", "twitch", 121.0, None),
    ]  # fmt: skip
    assert set(table.facts) == {"m1", "m2"}


def test_pairs_of_columns_under_a_header_of_two_rows(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["", "groom", "", "twitch"], ["video", "start", "end", "start"], ["m1", 1, 2, 7], ["m1", 3, 4, None]):
        sheet.append(row)
    sheet.merge_cells("B1:C1")
    book.save(tmp_path / "s.xlsx")
    per_behavior = {"groom": {"start": "groom start", "end": "groom end"}, "twitch": {"start": "twitch start"}}
    mapping = mapping_of(
        {"layout": "column_per_behavior", "header": [1, 2], "columns": {"video": "video"},
         "column_per_behavior": per_behavior}
    )  # fmt: skip
    table = read_label_table(tmp_path / "s.xlsx", mapping)
    assert facts(table) == [("m1", "groom", 1.0, 2.0), ("m1", "twitch", 7.0, None), ("m1", "groom", 3.0, 4.0)]


def test_a_sheet_per_video_takes_the_sheets_name(tmp_path: Path) -> None:
    rows = [["behavior", "start", "end"], ["groom", 1, 2]]
    columns = {"behavior": "behavior", "start": "start", "end": "end"}
    mapping = mapping_of({"columns": columns, "video": {"source": "sheet"}})
    table = read_label_table(write_xlsx(tmp_path / "s.xlsx", {"m1": rows, "m2": [*rows, ["groom", 5, 6]]}), mapping)
    assert facts(table) == [("m1", "groom", 1.0, 2.0), ("m2", "groom", 1.0, 2.0), ("m2", "groom", 5.0, 6.0)]


def test_a_binary_table_has_a_bout_from_the_first_one_to_the_next_zero(tmp_path: Path) -> None:
    samples = [(0, 0), (1, 0), (1, 1), (0, 1), (1, 1)]
    rows = [["time", "groom", "twitch"], *([n / 10, a, b] for n, (a, b) in enumerate(samples))]
    mapping = mapping_of({"layout": "binary", "columns": {"time": "time"}, "video": {"source": "file"}})
    table = read_label_table(write_csv(tmp_path / "m1.csv", rows, "\t"), mapping)
    found = [(video, behavior, round(start, 6), round(end or 0, 6)) for video, behavior, start, end in facts(table)]  # type: ignore[arg-type,call-overload]
    assert found == [("m1", "groom", 0.1, 0.3), ("m1", "groom", 0.4, 0.5), ("m1", "twitch", 0.2, 0.5)]


def test_frame_numbers_from_one_with_the_last_counted_in(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", [HEADER, ["m1", "groom", 1, 10], ["m1", "twitch", 11, 11]])
    times = {"unit": "frame", "first_frame": 1, "end": "inclusive"}
    assert facts(read_label_table(path, bouts_mapping(time=times))) == [
        ("m1", "groom", 0, 10),
        ("m1", "twitch", 10, 11),
    ]
    at_ten = read_label_table(path, bouts_mapping(time=times | {"fps": 10}))
    assert [(row.start, row.end, row.unit) for row in at_ten.rows] == [(0.0, 1.0, "seconds"), (1.0, 1.1, "seconds")]


def test_a_column_may_give_durations_counts_and_what_is_known_of_the_animal(tmp_path: Path) -> None:
    header = ["video", "behavior", "start", "length", "n", "animal", "drug"]
    rows = [header, ["m1", "twitch", 1, 0.5, 3, "A7", "saline"], ["m1", "twitch", 2, 0.5, "", "", ""],
            ["m1", "twitch", 3, 0.5, 0, "A8", ""], ["m1", "twitch", 4, 0.5, "some", "", ""]]  # fmt: skip
    columns = {"end": "", "duration": "length", "count": "n", "subject": "animal", "group": "drug"}
    table = read_label_table(write_csv(tmp_path / "s.csv", rows), bouts_mapping(columns=columns))
    assert [(row.end, row.count) for row in table.rows] == [(1.5, 3), (2.5, 1), (4.5, 1)]
    assert (table.facts["m1"].subject, table.facts["m1"].group) == ("A7", "saline")
    assert kinds(table) == ["contradiction", "count of zero", "odd count"]


def test_empty_rows_text_in_time_cells_and_formulas_cost_only_their_row(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        HEADER, ["m1", "groom", 1, 2], [None] * 4, ["m1", "groom", "ca. 5", 7], ["m1", "groom", "=C2+5", 8],
        ["m1", "groom", 9, None], ["m1", None, 10, 11], [None, "groom", 12, 13], ["m1", "groom", 15, 14], [],
        ["m1", "groom", 20, 21], ["m2", None, None, None],
    ]  # fmt: skip
    table = read_label_table(write_xlsx(tmp_path / "s.xlsx", {"A": rows}), bouts_mapping())
    assert facts(table) == [("m1", "groom", 1.0, 2.0), ("m1", "groom", 20.0, 21.0)]
    assert [(one.kind, one.origin) for one in table.troubles] == [
        ("unreadable time", "s.xlsx!A!C4:D4"), ("unreadable time", "s.xlsx!A!C5:D5"),
        ("unreadable time", "s.xlsx!A!C6:D6"), ("no behaviour named", "s.xlsx!A!C7:D7"),
        ("no video named", "s.xlsx!A!B8"), ("end before start", "s.xlsx!A!C9:D9"),
    ]  # fmt: skip
    assert all(one.is_loss for one in table.troubles)
    assert "never saved" in table.troubles[1].message
    assert set(table.facts) == {"m1", "m2"}, "a row with a video alone says that it was looked at"


def test_excel_times_are_read_as_they_were_typed(tmp_path: Path) -> None:
    rows = [HEADER, ["m1", "groom", datetime.time(0, 10), datetime.time(0, 12)]]
    path = write_xlsx(tmp_path / "s.xlsx", {"A": rows})
    book = openpyxl.load_workbook(path)
    for cell in ("C2", "D2"):
        book["A"][cell].number_format = "h:mm"
    book.save(path)
    assert facts(read_label_table(path, bouts_mapping(time={"unit": "mm:ss"}))) == [("m1", "groom", 10.0, 12.0)]
    assert facts(read_label_table(path, bouts_mapping(time={"unit": "hh:mm:ss"}))) == [("m1", "groom", 600.0, 720.0)]


def test_behaviours_go_by_their_own_names_and_unknown_ones_are_reported(tmp_path: Path) -> None:
    rows = [HEADER, ["m1", "Groom ", 1, 2], ["m1", "SELF-GROOMING", 3, 4], ["m1", "NA", 5, 6], ["m1", "rear", 7, 8]]
    rule = {"names": {"Self-Grooming": ["groom"], "Head/Body TWITCH": ["hbt"]}, "ignore": ["na"]}
    table = read_label_table(write_csv(tmp_path / "s.csv", rows), bouts_mapping(behaviors=rule))
    assert [row.behavior for row in table.rows] == ["Self-Grooming"] * 2
    assert [(one.kind, one.is_loss) for one in table.troubles] == [
        ("unmatched behaviour", True), ("class never seen", False)
    ]  # fmt: skip
    assert "Head/Body TWITCH" in table.troubles[1].message


def test_columns_of_one_name_are_said_and_the_first_is_read(tmp_path: Path) -> None:
    rows = [[*HEADER, "start", "note", "note"], ["m1", "groom", 1, 2, 7, "", ""]]
    table = read_label_table(write_csv(tmp_path / "s.csv", rows), bouts_mapping())
    assert facts(table) == [("m1", "groom", 1.0, 2.0)]
    assert [one.message.partition(",")[0] for one in table.troubles] == ["several columns are called 'start'"]


def test_a_behaviour_that_was_never_calculated_is_said(tmp_path: Path) -> None:
    rows = [HEADER, ["m1", "=B9", 1, 2]]
    (trouble,) = read_label_table(write_xlsx(tmp_path / "s.xlsx", {"A": rows}), bouts_mapping()).troubles
    assert "a formula whose value was never saved" in trouble.message


def test_points_may_lack_an_end_where_the_mapping_says_so(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", [HEADER, ["m1", "twitch", 1, ""], ["m1", "groom", 1, ""]])
    table = read_label_table(path, bouts_mapping(behaviors={"points": ["Twitch"]}))
    assert facts(table) == [("m1", "twitch", 1.0, None)]
    assert kinds(table) == ["unreadable time"]


def test_a_mapping_without_a_column_of_ends_is_told_unless_only_instants_are_meant(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", [["video", "behavior", "start", "fin"], ["m1", "groom", 1, 9]])
    named = {"names": {"groom": []}}
    table = read_label_table(path, bouts_mapping(columns={"end": ""}, behaviors=named))
    assert facts(table) == [("m1", "groom", 1.0, None)]
    assert [(one.kind, one.origin, one.is_loss) for one in table.troubles] == [("no column of ends", "s.csv", False)]
    meant = bouts_mapping(columns={"end": ""}, behaviors=named | {"points": ["groom"]})
    assert kinds(read_label_table(path, meant)) == []


def test_markers_bracket_what_was_scored_as_far_as_raters_agree(tmp_path: Path) -> None:
    rows = [[*HEADER, "by"], ["m1", "Start/End", 2, 3, "ann"], ["m1", "Start/End", 98, 99, "ann"],
            ["m1", "startend", 3, 4, "bob"], ["m1", "StartEnd", 99, 100, "bob"], ["m2", "StartEnd", 1, 2, "bob"],
            ["m1", "groom", 5, 6, "bob"]]  # fmt: skip
    mapping = bouts_mapping(columns={"rater": "by"}, behaviors={"markers": ["Start/End", "StartEnd"]})
    table = read_label_table(write_csv(tmp_path / "s.csv", rows), mapping)
    assert facts(table) == [("m1", "groom", 5.0, 6.0)]
    assert [(video, *((row.start, row.end) for row in rows)) for video, rows in table.scored.items()] == [
        ("m1", (3.0, 99.0))
    ]
    assert kinds(table) == ["marker without a partner"]


def test_hidden_empty_and_foreign_sheets_are_left_out_and_said(tmp_path: Path) -> None:
    sheets = {"notes": [["dose", "mg"], [1, 2]], "A": [HEADER, ["m1", "groom", 1, 2]], "B": [[]], "old": [HEADER]}
    path = write_xlsx(tmp_path / "s.xlsx", sheets)
    book = openpyxl.load_workbook(path)
    book["old"].append(["m9", "groom", 1, 2])
    book["old"].sheet_state = "hidden"
    book.save(path)
    table = read_label_table(path, bouts_mapping())
    assert facts(table) == [("m1", "groom", 1.0, 2.0)]
    assert [(one.kind, one.origin, one.is_loss) for one in table.troubles] == [
        ("sheet left out", "s.xlsx!B", False), ("sheet left out", "s.xlsx!old", False),
        ("sheet left out", "s.xlsx!notes", False),
    ]  # fmt: skip
    assert facts(read_label_table(path, bouts_mapping(sheets=["old"]))) == [("m9", "groom", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sheets": ["Day 2"]}, r"no sheet 'Day 2' \(it has: A\)"),
        ({"columns": {"start": "onset"}}, r"no column 'onset' in its header \(found: video, behavior, start, end\)"),
        ({"header": 2}, "no column 'video'"),
        ({"header": 99}, "no column 'video'"),
    ],
)
def test_a_wrong_sheet_or_column_says_what_there_is(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_xlsx(tmp_path / "s.xlsx", {"A": [HEADER, ["m1", "groom", 1, 2]]})
    with pytest.raises(RecordError, match=said):
        read_label_table(path, bouts_mapping(**changes))


def test_an_empty_video_cell_means_the_one_above_only_if_the_mapping_says_so(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", [HEADER, ["m1", "groom", 1, 2], ["", "groom", 3, 4]])
    assert kinds(read_label_table(path, bouts_mapping())) == ["no video named"]
    filled = read_label_table(path, bouts_mapping(video={"fill_down": True}))
    assert [row.video for row in filled.rows] == ["m1", "m1"]


def test_without_a_header_columns_go_by_their_letters(tmp_path: Path) -> None:
    mapping = mapping_of({"header": 0, "columns": {"video": "A", "behavior": "B", "start": "C", "end": "D"}})
    table = read_label_table(write_csv(tmp_path / "s.csv", [["m1", "groom", 1, 2]], ";"), mapping)
    assert facts(table) == [("m1", "groom", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layout = 'bout'", "layout: one of bouts"),
        ("[time]\nunit = 'minutes'\n[columns]\nvideo='v'\nbehavior='b'\nstart='s'", "time.unit: one of seconds"),
        ("[colums]\nvideo = 'a'", "colums: no such key"),
        ("[columns]\nvidoe = 'a'", "columns.vidoe: no such key"),
        ("[columns]\nvideo = 3", "columns.video: str expected, got 3"),
        ("sheets = 'A'", "sheets: a list of texts expected"),
        ("[columns]\nvideo='v'\nbehavior='b'", "needs columns.start"),
        ("[columns]\nbehavior='b'\nstart='s'", "needs columns.video"),
        ("layout = 'start_stop'\n[columns]\nvideo='v'\nbehavior='b'", "needs columns.time, columns.event"),
        ("layout = 'column_per_behavior'\n[columns]\nvideo='v'", "needs \\[column_per_behavior"),
        ("[time]\nend = 'inclusive'\n[columns]\nvideo='v'\nbehavior='b'\nstart='s'", "time.end"),
        ("[behaviors.names]\nGroom = 'groom'", "behaviors.names.Groom: a list of texts"),
        ("columns = 3", "columns: a table expected"),
        ("layout =", "expected a mapping in TOML"),
    ],
)
def test_a_mapping_that_makes_no_sense_names_the_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mapping.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_mapping(tmp_path / "mapping.toml")


def test_a_table_nobody_knows_needs_a_mapping(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", [HEADER, ["m1", "groom", 1, 2]])
    with pytest.raises(SettingsError, match="--guess"):
        read_source(path, None)


TABULAR = ("Observation id,Observation date,Description,Observation duration,Observation type,Source,Time offset (s),"
           "Media duration (s),FPS,Subject,Behavior,Behavioral category,Modifier #1,Behavior type,Time,"
           "Media file name,Image index,Image file path,Comment")  # fmt: skip
LEGACY = "Time,Media file path,Total length,FPS,Subject,Behavior,Behavioral category,Comment,Status"
AGGREGATED = ("Observation id,Observation date,Description,Observation type,Source,Time offset (s),Coding duration,"
              "Media duration (s),FPS (frame/s),rater,Subject,Observation duration by subject by observation,Behavior,"
              "Behavioral category,Modifier #1,Behavior type,Start (s),Stop (s),Duration (s),Media file name,"
              "Image index start,Image index stop,Image file path start,Image file path stop,Comment start,"
              "Comment stop")  # fmt: skip


def event(kind: str, time: float, behavior: str, count: str = "") -> list[object]:
    return ["o", "", "", 60, "Media file(s)", "player #1:v/m1.mp4", 0, 60, "25;25", "m1", behavior, "", count, kind,
            time, "v/m1.mp4", "NA", "NA", ""]  # fmt: skip


def test_every_table_that_boris_exports_needs_no_mapping(tmp_path: Path) -> None:
    expected = [("v/m1.mp4", "groom", 1.0, 2.5), ("v/m1.mp4", "twitch", 3.0, None)]
    rows = [event("START", 1, "groom"), event("STOP", 2.5, "groom"), event("POINT", 3, "twitch", "2")]
    for path in (
        write_csv(tmp_path / "t.csv", [TABULAR.split(","), *rows]),
        write_csv(tmp_path / "t.tsv", [TABULAR.split(","), *rows], "\t"),
        write_xlsx(tmp_path / "t.xlsx", {"events": [TABULAR.split(","), *rows]}),
    ):
        table = read_source(path, None, "ann")
        assert facts(table) == expected
        assert [(row.rater, row.count) for row in table.rows] == [("ann", 1), ("ann", 2)]
        assert table.facts["v/m1.mp4"].subject == "m1"
    short = [(1.0, "groom", "START"), (2.5, "groom", "STOP"), (3.0, "twitch", "POINT")]
    legacy: list[list[object]] = [["Observation id", "o"], ["Player #1", "v/m1.mp4"], *([[""]] * 14), LEGACY.split(",")]
    legacy += [[time, "v/m1.mp4", 60, "25;25", "No focal subject", name, "", "", kind] for time, name, kind in short]
    table = read_source(write_csv(tmp_path / "l.csv", legacy), None)
    assert facts(table) == expected
    assert table.facts["v/m1.mp4"].subject == ""
    spans = [("STATE", 1, 2.5, "groom"), ("POINT", 3, 3, "twitch")]
    aggregated = [
        ["o", "", "", "Media file(s)", "", 0, 60, 60, 25, "bob", "m1", 60, name, "", "None", kind, start, stop,
         stop - start, "v/m1.mp4", "NA", "NA", "NA", "NA", "", ""]
        for kind, start, stop, name in spans
    ]  # fmt: skip
    table = read_source(write_csv(tmp_path / "a.csv", [AGGREGATED.split(","), *aggregated]), None)
    assert facts(table) == expected
    assert {row.rater for row in table.rows} == {"bob"}
    aggregated[1][17] = "NA"  # some versions write no end for a point
    assert facts(read_source(write_csv(tmp_path / "na.csv", [AGGREGATED.split(","), *aggregated]), None)) == expected


def test_boris_tables_in_clock_times_or_decimal_commas_are_read_as_such(tmp_path: Path) -> None:
    expected = [("v/m1.mp4", "groom", 1.0, 2.5), ("v/m1.mp4", "twitch", 3.0, None)]
    rows = [event("START", 1, "groom", "None"), event("STOP", 2.5, "groom", "None"), event("POINT", 3, "twitch", "2")]
    column = TABULAR.split(",").index("Time")
    for name, times in (("clock", ["00:00:01.000", "00:00:02.500", "00:00:03.000"]), ("comma", ["1,0", "2,5", "3"])):
        changed = [[*row[:column], time, *row[column + 1 :]] for row, time in zip(rows, times, strict=True)]
        table = read_source(write_csv(tmp_path / f"{name}.csv", [TABULAR.split(","), *changed], "\t"), None)
        assert facts(table) == expected
        assert [row.count for row in table.rows] == [1, 2]
        assert not table.troubles, "a modifier that was not set is no odd count"


def test_every_sheet_of_a_boris_workbook_is_read_or_said(tmp_path: Path) -> None:
    """BORIS writes an observation a sheet; what has another header can't be read with it."""
    header = TABULAR.split(",")
    one = [header, event("START", 1, "groom"), event("STOP", 2.5, "groom")]
    two = [header, event("POINT", 3, "twitch")]
    other = [["Observation id", "o"], *two]
    sheets = {"info": [["by", "ann"]], "one": one, "two": two, "other": other}
    table = read_source(write_xlsx(tmp_path / "e.xlsx", sheets), None)
    assert facts(table) == [("v/m1.mp4", "groom", 1.0, 2.5), ("v/m1.mp4", "twitch", 3.0, None)]
    assert [(trouble.origin, trouble.is_loss) for trouble in table.troubles] == [
        ("e.xlsx!info", False), ("e.xlsx!other", True)
    ]  # fmt: skip


def test_a_mapping_without_anything_is_the_one_of_the_docs() -> None:
    assert Mapping().layout == "bouts"
    assert Mapping().time.beyond == "clip"
