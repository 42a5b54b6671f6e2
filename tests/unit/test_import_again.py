"""Importing again: what changed changes, what is there is kept, and a person is told what goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mousetal import dataset as datasets
from mousetal.types import FrameRange, Label
from tests.fixtures import videos
from tests.fixtures.imports import HEADER, MAPPING, ROWS, import_rows, labels_of, run, write_films
from tests.fixtures.tables import write_csv
from training.importing import store


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapping.toml").write_text(MAPPING)
    return tmp_path


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_import_again_changes_not_a_byte(films: Path, here: Path) -> None:
    import_rows(films, ROWS, "--write")
    before = bytes_below(here / "dataset")
    import_rows(films, ROWS, "--write")
    assert bytes_below(here / "dataset") == before


def test_a_changed_table_replaces_what_was_read_from_it_and_nothing_else(films: Path, here: Path) -> None:
    import_rows(films, ROWS, "--write")
    other = write_csv(here / "other.csv", [HEADER, ["m1_pre", "twitch", 1.5, 1.6, "cat"]])
    run("--labels", other, "--mapping", "mapping.toml", "--write")
    dataset = datasets.read(here / "dataset")
    entry = next(entry for entry in dataset.videos if entry.path.endswith("m1_pre.mp4"))
    by_hand = Label("Self-Grooming", FrameRange(50, 55), 1, "dan")
    kept = datasets.read_labels(dataset, entry)
    datasets.write(dataset.with_entry(datasets.write_labels(dataset, entry, [*kept, by_hand])))
    import_rows(films, [HEADER, ["m1_pre", "groom", 0.6, 1.0, "ann"]], "--write")
    dataset = datasets.read(here / "dataset")
    assert [(one.behavior, one.frames.start_frame, one.rater) for one in labels_of(dataset, "m1_pre.mp4")] == [
        ("Self-Grooming", 18, "ann"), ("Head/Body TWITCH", 45, "cat"), ("Self-Grooming", 50, "dan")
    ]  # fmt: skip
    assert len(labels_of(dataset, "m2_post.avi")) == 1, "the new table does not speak of it"


def test_a_renamed_file_is_known_by_its_content(films: Path, here: Path) -> None:
    import_rows(films, ROWS, "--write")
    renamed = here / "renamed"
    renamed.mkdir()
    shutil.copy(films / "day 1" / "m1_pre.mp4", renamed / "x.mp4")
    table = write_csv(here / "new.csv", [HEADER, ["x", "twitch", 1.5, 1.6, "cat"]])
    assert run("--videos", renamed, "--labels", table, "--mapping", "mapping.toml", "--write") == 0
    dataset = datasets.read(here / "dataset")
    assert len(dataset.videos) == 3
    assert len(labels_of(dataset, "m1_pre.mp4")) == 3


def test_another_video_of_the_same_name_is_refused_and_the_first_kept(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_rows(films, ROWS, "--write")
    others = here / "others"
    others.mkdir()
    videos.write_video(others / "m3 copy.mp4", num_frames=12)
    videos.write_video(others / "m4.mp4", num_frames=14)
    assert run("--videos", others, "--write") == 1
    assert "another video than" in capsys.readouterr().out
    dataset = datasets.read(here / "dataset")
    assert {entry.path.rpartition("/")[2]: entry.num_frames for entry in dataset.videos}["m3 copy.mp4"] == 10
    assert len(dataset.videos) == 4


def test_an_interrupted_import_keeps_what_is_done_and_goes_on(
    films: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, placed = store.place_file, []

    def interrupted(source: Path, target: Path, storage: str) -> None:
        if placed:
            raise KeyboardInterrupt
        placed.append(source)
        real(source, target, storage)

    monkeypatch.setattr(store, "place_file", interrupted)
    assert import_rows(films, ROWS, "--write") == 130
    assert len(datasets.read(here / "dataset").videos) == 1
    monkeypatch.setattr(store, "place_file", real)
    import_rows(films, ROWS, "--write")
    assert len(datasets.read(here / "dataset").videos) == 3


def test_files_left_by_an_import_that_was_killed_are_taken_over(films: Path, here: Path) -> None:
    import_rows(films, ROWS, "--write")
    whole = datasets.read(here / "dataset")
    (here / "dataset" / datasets.MANIFEST_NAME).unlink()  # written last: a kill leaves all but it
    import_rows(films, ROWS, "--write")
    again = datasets.read(here / "dataset")
    assert {entry.path for entry in again.videos} == {entry.path for entry in whole.videos}
    assert labels_of(again, "m1_pre.mp4") == labels_of(whole, "m1_pre.mp4")


def test_labels_for_absent_videos_leave_the_data_set_as_it_is(films: Path, here: Path) -> None:
    run("--videos", films / "m3.mp4", "--write")
    before = bytes_below(here / "dataset")
    table = write_csv(here / "s.csv", [HEADER, ["m7", "groom", 0.1, 0.2, "ann"]])
    assert run("--labels", table, "--mapping", "mapping.toml", "--write") == 1
    assert bytes_below(here / "dataset") == before


def test_labels_that_a_table_holds_no_more_are_told_before_they_go(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_rows(films, ROWS, "--write")
    capsys.readouterr()
    import_rows(films, [HEADER, ["m1_pre", "groom", 0.5, 1.0, "ann"], ["m3", "twitch", 0.1, 0.2, "ann"]])
    told = capsys.readouterr().out
    assert (
        "note: label that goes (1)\n  scores.xlsx!Day 1!C3:D3: Self-Grooming of day 1/m1_pre.mp4, frames 15 to 33"
        in told
    )
    assert "note: labels that stay (1)\n  m2_post.avi: 1 bout read from scores.xlsx before" in told
    assert "video without labels" not in told, "m2 has those of before"
    assert len(labels_of(datasets.read(here / "dataset"), "m1_pre.mp4")) == 2, "a dry run"


def test_a_row_with_a_videos_name_alone_takes_its_labels_away(films: Path, here: Path) -> None:
    import_rows(films, ROWS, "--write")
    import_rows(films, [HEADER, ["m2_post", "", "", "", ""]], "--write")
    dataset = datasets.read(here / "dataset")
    assert labels_of(dataset, "m2_post.avi") == ()
    assert next(entry.scored for entry in dataset.videos if entry.path.endswith("m2_post.avi")) is None
    assert len(labels_of(dataset, "m1_pre.mp4")) == 2


def test_files_of_one_name_are_told(films: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = []
    for rater, start in (("ann", 0.5), ("bob", 0.6)):
        (here / rater).mkdir()
        tables.append(write_csv(here / rater / "s!1.csv", [HEADER, ["m1_pre", "groom", start, 1.0, rater]]))
    run("--videos", films, "--labels", *tables, "--mapping", "mapping.toml")
    assert "note: files of one name (1)\n  s!1.csv: several files are called so" in capsys.readouterr().out
    run("--videos", films, "--labels", tables[0], "--mapping", "mapping.toml", "--write")
    run("--videos", films, "--labels", tables[1], "--mapping", "mapping.toml", "--write")
    assert "label that goes (1)\n  s!1.csv!C2:D2: Self-Grooming of day 1/m1_pre.mp4" in capsys.readouterr().out
