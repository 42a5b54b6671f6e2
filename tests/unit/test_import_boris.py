"""BORIS tables of observations that play several files or have an offset: bouts in their file's own seconds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fixtures.tables import write_csv, write_xlsx
from training.importing.labeltable import read_label_table
from training.importing.mapping import mapping_of
from training.importing.rows import LabelTable
from training.importing.sources import read_source

SOURCE = "player #1:v/a.mp4;v/b.mp4|player #2:v/side.mp4"
LENGTHS = "100.000;100.000|200.000"
A, B = "v/a.mp4", "v/b.mp4"
Spans = set[tuple[str, str, float, float | None]]
# a state in each file, one across both, an instant in the second
EVENTS = [(10, "groom", "START", A), (15, "groom", "STOP", A), (95, "rear", "START", A), (103, "rear", "STOP", B),
          (150, "groom", "START", B), (152.5, "groom", "STOP", B), (160, "twitch", "POINT", B)]  # fmt: skip
STATES = [(10, 15, "groom", A), (95, 103, "rear", A), (150, 152.5, "groom", B)]
EXPECTED: Spans = {(A, "groom", 10, 15), (A, "rear", 95, 100), (B, "rear", 0, 3), (B, "groom", 50, 52.5)}
INSTANT: Spans = {(B, "twitch", 60, None)}


def spans(table: LabelTable) -> Spans:
    return {(row.video, row.behavior, row.start, row.end) for row in table.rows}


def written(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """A csv with quotes where they are needed."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def tabular(
    events: Sequence[tuple[float, str, str, str]] = EVENTS, source: str = SOURCE, lengths: str = LENGTHS,
    video: str = "Media file name", duration: str = "Media duration (s)", kind: str = "Behavior type",
    offset: str = "0",
) -> list[list[object]]:  # fmt: skip
    header = [
        "Observation id",
        "Source",
        "Time offset (s)",
        duration,
        "FPS",
        "Subject",
        "Behavior",
        kind,
        "Time",
        video,
    ]
    return [header, *(["o", source, offset, lengths, "25;25|25", "m1", name, what, time, file]
                      for time, name, what, file in events)]  # fmt: skip


def aggregated(start: str = "Start (s)", stop: str = "Stop (s)", video: str = "Media file name") -> list[list[object]]:
    header = ["Observation id", "Source", "Time offset (s)", "Coding duration", "Media duration (s)", "FPS (frame/s)",
              "Subject", "Behavior", "Behavior type", start, stop, video]  # fmt: skip
    return [header, *(["o", SOURCE, 0, 200, LENGTHS, "25;25|25", "m1", name, "STATE", begin, end, file]
                      for begin, end, name, file in STATES)]  # fmt: skip


@pytest.mark.parametrize("video", ["Media file name", "Media file path", "Media file"])
@pytest.mark.parametrize(("duration", "kind"), [("Media duration (s)", "Behavior type"), ("Total length", "Status")])
def test_moments_of_several_files_are_put_into_their_own(tmp_path: Path, video: str, duration: str, kind: str) -> None:
    table = read_source(written(tmp_path / "t.csv", tabular(video=video, duration=duration, kind=kind)), None)
    assert spans(table) == EXPECTED | INSTANT
    assert table.troubles == ()
    assert {name: facts.subject for name, facts in table.facts.items()} == {A: "m1", B: "m1"}


@pytest.mark.parametrize("video", ["Media file name", "Media file path", "Media file"])
@pytest.mark.parametrize(("start", "stop"), [("Start (s)", "Stop (s)"), ("Start", "Stop")])
def test_bouts_of_several_files_are_put_into_their_own(tmp_path: Path, video: str, start: str, stop: str) -> None:
    table = read_source(written(tmp_path / "a.csv", aggregated(start, stop, video)), None)
    assert spans(table) == EXPECTED
    assert table.troubles == ()


def test_where_a_row_names_no_file_of_its_own_its_time_tells(tmp_path: Path) -> None:
    for number, rows in enumerate((tabular(), aggregated())):
        table = read_source(written(tmp_path / f"{number}.csv", [row[:-1] for row in rows]), None)
        assert spans(table) - INSTANT == EXPECTED
    old = [row[1:-1] for row in tabular(duration="Total length")]  # "Media file" as the list of all
    old[0][0] = "Media file"
    assert spans(read_source(written(tmp_path / "old.csv", old), None)) == EXPECTED | INSTANT


def test_other_containers_and_a_mapping_of_ones_own_make_no_difference(tmp_path: Path) -> None:
    assert spans(read_source(write_csv(tmp_path / "t.tsv", tabular(), "\t"), None)) == EXPECTED | INSTANT
    assert spans(read_source(write_xlsx(tmp_path / "t.xlsx", {"e": tabular()}), None)) == EXPECTED | INSTANT
    columns = {"video": "Media file name", "behavior": "Behavior", "time": "Time", "event": "Behavior type"}
    mapping = mapping_of({"layout": "start_stop", "columns": columns, "behaviors": {"names": {"Groom": ["groom"]}}})
    table = read_label_table(written(tmp_path / "m.csv", tabular()), mapping)
    assert spans(table) == {(A, "Groom", 10, 15), (B, "Groom", 50, 52.5)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lengths": "200.000"}, "does not tell the length of each"),
        ({"lengths": "NA;100"}, "a file's length in seconds expected, got 'NA'"),
        ({"lengths": ""}, "does not tell the length of each"),
        ({"source": ""}, "no column Source lists them"),
        ({"source": "player #1:v/b.mp4;v/a.mp4"}, "another file than"),
        ({"source": "player #1:v/c.mp4;v/d.mp4"}, "is none of those that were played"),
    ],
)
def test_a_row_whose_file_has_no_known_beginning_is_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    table = read_source(written(tmp_path / "t.csv", tabular(EVENTS[4:6], **changes)), None)
    assert table.rows == ()
    assert [(one.kind, one.origin, one.is_loss) for one in table.troubles] == [
        ("time that is not the file's own", f"t.csv!I{row}", True) for row in (2, 3)
    ]
    assert said in table.troubles[0].message


def test_a_refused_row_does_not_say_that_its_video_was_looked_at(tmp_path: Path) -> None:
    table = read_source(written(tmp_path / "t.csv", tabular(lengths="200")), None)
    assert table.facts == {}


def test_times_that_somebody_has_put_right_already_are_not_moved_again(tmp_path: Path) -> None:
    rows = [(50, "groom", "START", B), (52.5, "groom", "STOP", B)]
    table = read_source(written(tmp_path / "t.csv", tabular(rows)), None)
    assert table.rows == ()
    assert "at 50 s another file than v/b.mp4 is played" in table.troubles[0].message


def legacy(files: Sequence[str], length: str, offset: str = "0") -> list[list[object]]:
    above = [["Observation id", "o"], *(["Player #1", name] for name in files), ["Time offset (s)", offset]]
    header = ["Time", "Media file path", "Total length", "FPS", "Subject", "Behavior", "Comment", "Status"]
    return [*above, *([[""]] * 12), header,
            *([time, file, length, "25", "m1", name, "", kind] for time, name, kind, file in EVENTS)]  # fmt: skip


def test_an_old_table_lists_its_files_above_the_header(tmp_path: Path) -> None:
    table = read_source(written(tmp_path / "l.csv", legacy([A, B], "100;100")), None)
    assert spans(table) == EXPECTED | INSTANT
    assert table.troubles == ()
    early = read_source(written(tmp_path / "e.csv", legacy([A], "100", offset="2.5")), None)
    assert (A, "groom", 7.5, 12.5) in spans(early)
    summed = read_source(written(tmp_path / "s.csv", legacy([A, B], "200")), None)
    assert summed.rows == ()
    assert {one.kind for one in summed.troubles if one.is_loss} == {"time that is not the file's own"}
    unlisted = read_source(written(tmp_path / "u.csv", legacy([], "200")), None)
    assert unlisted.rows == ()


def test_observations_of_one_file_each_are_left_as_they_are(tmp_path: Path) -> None:
    rows = tabular(EVENTS[:2], source=f"player #1:{A}", lengths="100.000")
    rows += tabular([(150, "groom", "START", B), (152.5, "groom", "STOP", B)], f"player #1:{B}", "200.000")[1:]
    for row in rows[3:]:
        row[0] = "p"
    table = read_source(written(tmp_path / "t.csv", rows), None)
    assert spans(table) == {(A, "groom", 10, 15), (B, "groom", 150, 152.5)}
    without_source = [[row[0], *row[2:]] for row in rows]
    assert spans(read_source(written(tmp_path / "u.csv", without_source), None)) == spans(table)


def test_old_tables_put_together_are_several_observations_where_their_times_overlap(tmp_path: Path) -> None:
    both = [(10, "groom", "START", A), (150, "groom", "STOP", A), (12, "groom", "START", B), (20, "groom", "STOP", B)]
    rows = [[row[3], *row[6:]] for row in tabular(both, lengths="200")]  # neither Observation id nor Source
    assert spans(read_source(written(tmp_path / "t.csv", rows), None)) == {(A, "groom", 10, 150), (B, "groom", 12, 20)}
    in_turn = [[row[3], *row[6:]] for row in tabular(EVENTS[:2] + EVENTS[4:], lengths="200")]
    assert read_source(written(tmp_path / "u.csv", in_turn), None).rows == ()


def later(offset_s: float) -> list[tuple[float, str, str, str]]:
    """The same moments as BORIS writes them with an offset: added to all times."""
    return [(time_s + offset_s, name, kind, file) for time_s, name, kind, file in EVENTS]


@pytest.mark.parametrize("offset_s", [5.0, 30.25, 3600.0, -4.5])
def test_a_time_offset_is_taken_off_and_told_once(tmp_path: Path, offset_s: float) -> None:
    rows = tabular([(*row[:3], "Not found") for row in later(offset_s)], offset=f"{offset_s:.3f}")
    table = read_source(written(tmp_path / "t.csv", rows), None)
    assert spans(table) == EXPECTED | INSTANT
    (told,) = table.troubles
    assert (told.kind, told.is_loss) == ("about the file", False)
    assert (
        told.message == f"o: {offset_s:g} s are taken off its times, its time offset, which BORIS adds to all of them"
    )


def test_a_file_named_as_borises_do_that_forget_the_offset_is_the_one_played(tmp_path: Path) -> None:
    forgetful = [(95.0, "groom", "START", A), (98.0, "groom", "STOP", A), (110.0, "twitch", "POINT", B)]
    for file in (A, B):  # 110 s is in the second file by the time as written, in the first without the offset
        rows = tabular([*forgetful[:2], (*forgetful[2][:3], file)], offset="20")
        table = read_source(written(tmp_path / "t.csv", rows), None)
        assert spans(table) == {(A, "groom", 75, 78), (A, "twitch", 90, None)}
    refused = read_source(written(tmp_path / "t.csv", tabular([(150.0, "twitch", "POINT", A)], offset="20")), None)
    assert refused.rows == ()
    assert "another file than v/a.mp4" in refused.troubles[-1].message


def test_the_offset_of_one_file_needs_no_list_of_files(tmp_path: Path) -> None:
    rows = [(65.0, "groom", "START", A), (70.0, "groom", "STOP", A)]
    named = [[row[0], *row[2:]] for row in tabular(rows, lengths="200", offset="60,0")]  # no Source
    assert spans(read_source(written(tmp_path / "t.csv", named), None)) == {(A, "groom", 5, 10)}


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        ("60", "at 10 s nothing is played yet: BORIS adds the observation's time offset, 60, to every time. Set the"),
        ("a minute", "a time offset in seconds expected, got 'a minute'"),
    ],
)
def test_a_time_before_the_first_file_begins_is_refused(tmp_path: Path, offset: str, said: str) -> None:
    table = read_source(written(tmp_path / "t.csv", tabular(EVENTS[:2], offset=offset)), None)
    assert table.rows == ()
    losses = [one for one in table.troubles if one.is_loss]
    assert [one.kind for one in losses] == ["time that is not the file's own"] * 2
    assert losses[0].message.startswith(said)
