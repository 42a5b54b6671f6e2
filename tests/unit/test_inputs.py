"""Which files of a folder are worked on, and under which names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference_script import inputs
from mousetal.errors import SettingsError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film" if "film" in name else b"text")


def looks_like_film(path: Path) -> bool:
    return path.read_bytes() == b"film"


def names_in(source: Path, output: Path | None = None) -> list[str]:
    found = inputs.find(source, output or source / "output", looks_like_video=looks_like_film)
    return [video.name for video in found.videos]


def test_a_folder_is_searched_with_its_subfolders_in_order_of_name(tmp_path: Path) -> None:
    make(tmp_path, "b.mp4", "a/film.bin", "a/z/notes.txt", "A.mp4", "c/ä ö.avi")
    assert names_in(tmp_path) == ["A.mp4", "a/film.bin", "b.mp4", "c/ä ö.avi"]


def test_content_counts_not_the_extension_and_impostors_stay_to_be_reported(tmp_path: Path) -> None:
    make(tmp_path, "film.dat", "film", "notes.txt", "program.ts", "text.mp4")
    found = inputs.find(tmp_path, tmp_path / "output", looks_like_video=looks_like_film)
    assert [video.name for video in found.videos] == ["film", "film.dat", "text.mp4"]
    assert found.ignored == 2


def test_two_files_of_one_stem_stay_apart(tmp_path: Path) -> None:
    make(tmp_path, "one/a.mp4", "two/a.mp4", "two/a.avi")
    assert names_in(tmp_path) == ["one/a.mp4", "two/a.avi", "two/a.mp4"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, ".film.mp4", "._a.mp4", ".trash/a.mp4", "a.mp4")
    assert names_in(tmp_path) == ["a.mp4"]


def test_our_own_output_inside_the_input_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "results/clips/film.mp4", "results2/film.mp4")
    assert names_in(tmp_path, tmp_path / "results") == ["a.mp4", "results2/film.mp4"]
    with pytest.raises(SettingsError, match="another folder than INPUT"):
        names_in(tmp_path, tmp_path)


def test_symbolic_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path, "videos/a/a.mp4", "elsewhere/b.mp4")
    videos = tmp_path / "videos"
    (videos / "a" / "up").symlink_to(videos, target_is_directory=True)
    (videos / "away").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (videos / "c.mp4").symlink_to(tmp_path / "elsewhere" / "b.mp4")
    assert names_in(videos) == ["a/a.mp4", "away/b.mp4", "c.mp4"]


def test_links_to_nowhere_and_to_themselves_stay_to_be_reported(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "no such file")
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    assert names_in(tmp_path) == ["gone.mp4", "self.mp4"]


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert names_in(tmp_path) == ["a.mp4"]


def test_a_single_file_is_taken_whatever_it_is(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt")
    found = inputs.find(tmp_path / "notes.txt", tmp_path / "output")
    assert [(video.name, video.path) for video in found.videos] == [("notes.txt", tmp_path / "notes.txt")]
    (mounted,) = inputs.find(tmp_path / "notes.txt", tmp_path / "output", "Maus 1.mp4").videos
    assert mounted.name == "Maus 1.mp4"


def test_a_project_gives_the_videos_of_its_datasets(tmp_path: Path) -> None:
    make(tmp_path, "meta.json", "one/video/a.mp4", "one/ann/a.mp4.json", "one/datasets/in/video/a.mp4", "stray.mp4")
    found = inputs.find(tmp_path, tmp_path / "output")
    assert [(video.name, video.dataset) for video in found.videos] == [
        ("one/datasets/in/video/a.mp4", "one/datasets/in"),
        ("one/video/a.mp4", "one"),
    ]


def test_nothing_there_and_nothing_in_it_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="found nothing at"):
        names_in(tmp_path / "lost")
    make(tmp_path, "notes.txt")
    with pytest.raises(SettingsError, match=r"expected videos in .*, found none \(1 other files\)"):
        names_in(tmp_path)


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list everything, so the refusal is made up."""
    make(tmp_path, "a.mp4", "locked/b.mp4")
    scandir = os.scandir

    def refusing(path: os.PathLike[str] | str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = inputs.find(tmp_path, tmp_path / "output", looks_like_video=looks_like_film)
    assert [video.name for video in found.videos] == ["a.mp4"]
    assert found.unreadable == (("locked", "folder cannot be read (Permission denied)"),)


def test_a_name_that_is_not_unicode_is_written_out(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff.mp4")).write_bytes(b"film")
    assert names_in(tmp_path) == ["a\\xff.mp4"]
