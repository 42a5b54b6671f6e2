"""How an import keeps videos: copied, hard-linked or where they are; and what it does when they are gone."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mousetal import dataset as datasets
from mousetal.errors import OutputError
from mousetal.types import FrameBox
from tests.fixtures import videos
from training import import_videos
from training.importing import store
from training.importing.videos import content_hash


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two videos."""
    folder = tmp_path / "films"
    folder.mkdir()
    videos.write_video(folder / "m3.mp4", num_frames=10)
    videos.write_video(folder / "m4.avi", codec="mpeg4", num_frames=12)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> int:
    return import_videos.main([str(one) for one in arguments])


@pytest.mark.parametrize(("storage", "kept"), [("copy", "copied"), ("link", "linked"), ("reference", "referenced")])
def test_videos_are_copied_linked_or_referenced(films: Path, here: Path, storage: str, kept: str) -> None:
    assert run("--videos", films / "m3.mp4", "--storage", storage, "--write") == 0
    (entry,) = datasets.read(here / "dataset").videos
    path = here / "dataset" / entry.path
    assert entry.storage == kept
    assert entry.source == str((films / "m3.mp4").resolve())
    assert path.is_symlink() == (storage == "reference")
    assert path.samefile(films / "m3.mp4") == (storage != "copy")


@pytest.mark.parametrize("storage", ["copy", "link", "reference"])
def test_a_video_whose_file_is_gone_is_taken_from_where_it_lies_now(films: Path, here: Path, storage: str) -> None:
    assert run("--videos", films, "--storage", storage, "--write") == 0
    first, second = datasets.read(here / "dataset").videos
    (here / "dataset" / first.path).unlink()
    moved = films.rename(here / "moved")
    assert run("--videos", moved, "--write") == 0
    dataset = datasets.read(here / "dataset")
    assert [content_hash(dataset.video_path(one)) for one in dataset.videos] == [first.sha256, second.sha256]
    assert Path(dataset.videos[0].source).parent == moved.resolve()
    assert dataset.video_path(first).is_symlink() == (storage == "reference")


def test_a_video_that_was_exchanged_keeps_its_side_and_loses_the_boxes_of_the_old_one(films: Path, here: Path) -> None:
    assert run("--videos", films / "m3.mp4", "--storage", "reference", "--write") == 0
    dataset = datasets.read(here / "dataset")
    entry = replace(dataset.videos[0], split="test", boxes_by="a detector")
    datasets.write(dataset.with_entry(entry))
    datasets.write_stored_boxes(dataset, entry, [FrameBox(0, (1.0, 2.0, 3.0, 4.0), 1.0, "detected")], [0.0])
    videos.write_video(films / "m3.mp4", num_frames=14)
    assert run("--videos", films / "m3.mp4", "--storage", "reference", "--write") == 0
    (now,) = datasets.read(here / "dataset").videos
    assert (now.path, now.num_frames, now.split, now.boxes_by) == (entry.path, 14, "test", "")
    assert datasets.read_stored_boxes(dataset, now) == ()


def test_no_hard_link_across_disks_is_said_with_the_way_out(
    films: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def across(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "hardlink_to", across)
    with pytest.raises(OutputError, match="--storage copy or reference"):
        store.place_file(films / "m3.mp4", here / "d" / "m3.mp4", "link")
    assert list((here / "d").iterdir()) == []


def test_too_little_space_is_found_before_anything_is_copied(
    films: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))  # type: ignore[attr-defined]
    assert run("--videos", films, "--write") == 1
    assert "of videos to copy" in capsys.readouterr().err
    assert not (here / "dataset").exists()
