"""The whole import: a dry run writes nothing, --write makes a data set, and again only what changed changes."""

from __future__ import annotations

import csv
import errno
import os
import shutil
from pathlib import Path

import pytest

from mousetal import dataset as datasets
from mousetal.formats import supervisely
from mousetal.types import FrameRange, Label
from tests.fixtures.imports import HEADER, MAPPING, ROWS, import_rows, labels_of, run, write_films
from tests.fixtures.tables import write_csv, write_xlsx
from training import datasetlock


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapping.toml").write_text(MAPPING)
    return tmp_path


def test_a_dry_run_tells_every_rows_fate_and_writes_nothing(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        *ROWS,
        ["m1_pre", "groom", 1.9, 5.0, "ann"],
        ["m1_pre", "groom", 7.0, 8.0, "ann"],
        ["m9", "groom", 1, 2, "ann"],
        ["m2_pots", "groom", 0.1, 0.2, "ann"],
        ["m1_pre", "groom", 0.8, 1.5, "ann"],
        ["m1_pre", "groom", 0.5, 1.0, "ann"],
        ["m1_pre", "rear", 0.5, 1.0, "ann"],
        ["m1_pre", "groom", 1.0, 0.5, "ann"],
        ["m1_pre", "idle", 0.5, 0.6, "ann"],
        ["m1_pre", "groom", "?", 0.6, "ann"],
        ["m3", "", "", "", "ann"],
    ]
    assert import_rows(films, rows, "--report", here / "report.csv", "--check-frames") == 1
    told = capsys.readouterr().out
    assert not (here / "dataset").exists()
    for said in (
        "day 1/m1_pre.mp4: 2.00 s, 60 frames (60 decodable), 30 fps, 96x80",
        "m3.mp4: the same content as m3 copy.mp4, taken once",
        "LEFT OUT: unreadable video (1)",
        "scores.xlsx!Day 1!C7:D7: no video 'm9'; 1 bout left out",
        "no video 'm2_pots'; 1 bout left out; do you mean m2_post.avi?",
        "note: cut at the video's end (1)",
        "scores.xlsx!Day 1!C6:D6: Self-Grooming of day 1/m1_pre.mp4 from 7 s to 8 s lies beyond the video's end",
        "note: overlap (1)",
        "LEFT OUT: unmatched behaviour (1)",
        "LEFT OUT: end before start (1)",
        "LEFT OUT: unreadable time (1)",
        "note: duplicate (1)",
        "Self-Grooming by ann: 3 bouts",
        "Nothing was written",
    ):
        assert said in told
    with (here / "report.csv").open(newline="") as file:
        fates = {row["origin"]: (row["fate"], row["start_frame"], row["end_frame"]) for row in csv.DictReader(file)}
    assert fates["scores.xlsx!Day 1!C2:D2"] == ("taken", "15", "30")
    assert fates["scores.xlsx!Day 1!C5:D5"] == ("changed", "57", "60")
    left_out = {origin.partition("!C")[2] for origin, fate in fates.items() if fate[0] == "left out"}
    assert left_out >= {"6:D6", "7:D7", "8:D8", "10:D10", "12:D12", "13:D13", "14:D14"}


def test_writing_makes_a_data_set_that_all_stages_can_read(films: Path, here: Path) -> None:
    pattern = r"(?P<subject>m\d+)(_(?P<phase>pre|post))?"
    # The garbage is a loss: the exit code says so, and the rest is done.
    assert import_rows(films, ROWS, "--name", "c3", "--write", "--subject-pattern", pattern) == 1
    dataset = datasets.read(here / "dataset")
    assert dataset.behaviors == ("Self-Grooming", "Head/Body TWITCH")
    assert {entry.path: (entry.subject, entry.phase, entry.storage) for entry in dataset.videos} == {
        "c3/datasets/day 1/video/m1_pre.mp4": ("m1", "pre", "copied"),
        "c3/video/m2_post.avi": ("m2", "post", "copied"),
        "c3/video/m3 copy.mp4": ("m3", "", "copied"),
    }
    assert labels_of(dataset, "m1_pre.mp4") == (
        Label("Self-Grooming", FrameRange(15, 30), 1, "ann", "scores.xlsx!Day 1!C2:D2"),
        Label("Self-Grooming", FrameRange(15, 33), 1, "bob", "scores.xlsx!Day 1!C3:D3"),
    )
    scored = {entry.path.rpartition("/")[2]: entry.scored for entry in dataset.videos}
    assert scored == {"m1_pre.mp4": None, "m2_post.avi": None, "m3 copy.mp4": ()}, "nobody looked at m3"
    assert supervisely.is_project(here / "dataset")
    assert list(supervisely.datasets(here / "dataset")) == ["c3", "c3/datasets/day 1"]
    first = next(entry for entry in dataset.videos if entry.path.endswith("m1_pre.mp4"))
    assert (here / "dataset" / first.path).read_bytes() == (films / "day 1" / "m1_pre.mp4").read_bytes()
    assert (first.num_frames, first.width, first.height) == (60, 96, 80)


def test_a_data_set_that_another_program_changes_is_left_alone(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_rows(films, ROWS, "--write") == 1
    before = datasets.read(here / "dataset")
    with datasetlock.hold(here / "dataset"):
        assert import_rows(films, ROWS[:2], "--write") == 1
        assert "is in use by another program of training (process " in capsys.readouterr().err
        assert import_rows(films, ROWS) == 1  # a dry run is no trouble
        assert "Nothing was written." in capsys.readouterr().out
    assert datasets.read(here / "dataset") == before


def test_a_disk_that_fills_up_while_copying_leaves_no_half_video_and_a_sound_manifest(
    films: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = shutil.copyfile

    def full(source: Path, target: Path) -> object:
        if Path(source).name == "m2_post.avi":
            Path(target).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    assert import_rows(films, ROWS, "--write") == 1
    assert "No space left" in capsys.readouterr().out
    names = {path.name for path in (here / "dataset").rglob("*") if path.is_file()}
    assert "m2_post.avi" not in names
    assert not any(name.startswith(".mousetal-") for name in names)
    assert len(datasets.read(here / "dataset").videos) == 2
    monkeypatch.setattr(shutil, "copyfile", real)
    import_rows(films, ROWS, "--write")
    assert len(labels_of(datasets.read(here / "dataset"), "m2_post.avi")) == 1


def test_bouts_beyond_the_end_may_be_dropped_instead_of_cut(films: Path, here: Path) -> None:
    (here / "mapping.toml").write_text(MAPPING.replace("[behaviors.names]", "[time]\nbeyond='drop'\n[behaviors.names]"))
    rows = [HEADER, ["m3", "groom", 0.1, 9, "ann"], ["m3", "twitch", 0.1, 0.2, "ann"]]
    table = write_csv(here / "s.csv", rows)
    assert run("--videos", films / "m3.mp4", "--labels", table, "--mapping", "mapping.toml", "--write") == 1
    dataset = datasets.read(here / "dataset")
    assert [label.behavior for label in labels_of(dataset, "m3.mp4")] == ["Head/Body TWITCH"]
    assert dataset.behaviors == ("Head/Body TWITCH",), "a class without a bout is not in the class list"


def test_only_what_was_scored_and_looked_for_counts(films: Path, here: Path) -> None:
    more = 'markers = ["trial"]\nlooked_for = ["Self-Grooming"]\n'
    (here / "mapping.toml").write_text(MAPPING.replace("[behaviors.names]", f"[behaviors]\n{more}[behaviors.names]"))
    rows = [HEADER, ["m1_pre", "trial", 0.5, 0.6, "ann"], ["m1_pre", "trial", 1.4, 1.5, "ann"],
            ["m1_pre", "groom", 1, 1.2, "ann"]]  # fmt: skip
    import_rows(films, rows, "--write")
    entry = next(one for one in datasets.read(here / "dataset").videos if one.path.endswith("m1_pre.mp4"))
    assert entry.scored == (FrameRange(15, 45),)
    assert entry.behaviors == ("Self-Grooming",)


def test_a_video_whose_path_the_pattern_does_not_fit_is_said(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_rows(films, ROWS, "--subject-pattern", "(m[0-9]+)_")
    assert "note: pattern that does not fit (1)\n  m3 copy.mp4: --subject-pattern" in capsys.readouterr().out


def test_a_video_that_no_table_names_may_be_one_in_which_nothing_was_seen(films: Path, here: Path) -> None:
    import_rows(films, ROWS, "--write", "--unnamed", "scored")
    assert {entry.scored for entry in datasets.read(here / "dataset").videos} == {None}


def test_the_data_set_inside_the_videos_folder_is_not_taken_again(films: Path, here: Path) -> None:
    shutil.copy(films / "m3.mp4", here / "m3.mp4")
    for _ in range(2):
        assert run("--videos", here, "--write") == 0
    assert [entry.path for entry in datasets.read(here / "dataset").videos] == ["videos/video/m3.mp4"]


def test_guess_writes_a_mapping_once_that_works_as_it_is(films: Path, here: Path) -> None:
    table = write_xlsx(here / "s.xlsx", {"A": ROWS})
    assert run("--videos", films, "--labels", table, "--guess", "guess.toml") == 0
    assert run("--videos", films, "--labels", table, "--guess", "guess.toml") == 2, "it may hold edits"
    run("--videos", films, "--labels", table, "--mapping", "guess.toml", "--write")
    assert datasets.read(here / "dataset").behaviors == ("groom", "twitch")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--videos", "nowhere"], "found nothing at nowhere"),
        (["--videos", ".", "--name", "a/b"], "plain name of a folder"),
        (["--videos", ".", "--subject-pattern", "("], "a regular expression"),
        (["--videos", ".", "--subject-pattern", "m1"], "groups named"),
        (["--videos", ".", "--subject-pattern", "(?P<sex>m)"], "groups named"),
        (["--videos", ".", "--mapping", "nothing.toml"], "expected a mapping"),
        (["--guess", "g.toml"], "expected --labels"),
        (["--guess", "g.toml", "--labels", "p.boris"], "needs no mapping"),
        (["--guess", "g.toml", "--labels", "."], "needs no mapping"),
    ],
)
def test_wrong_usage_ends_with_one_line_and_code_2(
    here: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err


def test_a_table_that_cannot_be_read_ends_with_code_1(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "s.xlsx").write_bytes(b"PK nothing")
    assert run("--videos", films, "--labels", "s.xlsx", "--mapping", "mapping.toml", "--write") == 1
    assert "s.xlsx: expected a workbook" in capsys.readouterr().err
    assert not (here / "dataset").exists()


def test_what_is_to_be_said_of_a_file_names_it_once(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "l1.csv").write_bytes("video,behavior,start,end,by\nm3,groom,0.1,0.2,Jürgen\n".encode("latin-1"))
    run("--videos", films, "--labels", here / "l1.csv", "--mapping", "mapping.toml")
    assert "  l1.csv: read as " in capsys.readouterr().out
