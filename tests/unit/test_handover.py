"""What an output folder of root's may hold to be given away, and that nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference_script import handover

# Another user cannot make a folder of root's to begin with.
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="skipped: only root can give a folder away")

OURS = (
    ".lock", ".hashes.json", "intervals.csv", "run.json", "predictions/cage 1/a.mp4.json", "windows/a.mp4.npz",
    "boxes/a.mp4.csv", "thumbnails/a.mp4/00000010-00000020.jpg", ".parts/a.mp4/key.txt", "windows/.mousetal-1-ab",
    "videos/predictions/a.mp4.json", "videos/SLY_project/meta.json", "logs/detector.log",
)  # fmt: skip


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    "names",
    [(), (".gitkeep",), OURS, (".gitkeep", *(f"demo/{name}" for name in OURS)), (*OURS, "old/.lock", "old/run.json")],
    ids=["empty", "as shipped", "results", "results one folder down", "results in results"],
)
def test_an_empty_folder_and_our_results_hold_nothing_strange(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert handover.stranger(fill(tmp_path, *names)) is None


@pytest.mark.parametrize(
    ("names", "strange"),
    [
        (("thesis.docx",), "thesis.docx"),
        ((*OURS, "thesis.docx"), "thesis.docx"),
        ((*OURS, "predictions/thesis.docx"), "predictions/thesis.docx"),
        ((*OURS, "logs/thesis.docx"), "logs/thesis.docx"),
        ((*OURS, "videos/raw.mp4"), "videos/raw.mp4"),
        (("predictions/a.json",), "predictions/a.json"),
        (("run.json",), "run.json"),
        (("demo/.lock", "boxes/mine.csv"), "boxes/mine.csv"),
    ],
)
def test_what_we_did_not_write_or_did_not_mark_is_found(tmp_path: Path, names: tuple[str, ...], strange: str) -> None:
    assert handover.stranger(fill(tmp_path, *names)) == tmp_path / strange


def test_links_and_empty_folders_of_others_are_strange(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert handover.stranger(tmp_path) == tmp_path / "lost+found"
    (tmp_path / "lost+found").rmdir()
    fill(tmp_path, ".lock", "windows/a.npz")
    (tmp_path / "windows" / "b.npz").symlink_to("/etc/passwd")
    assert handover.stranger(tmp_path) == tmp_path / "windows" / "b.npz"


@needs_root
def test_what_is_roots_changes_hands_and_what_is_anothers_stays(tmp_path: Path) -> None:
    fill(tmp_path, *OURS)
    os.chown(tmp_path / "run.json", 4321, 4321)
    assert handover.main([str(tmp_path), "12345", "23456"]) == 0
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in [tmp_path, *tmp_path.rglob("*")]}
    assert owners == {(12345, 23456), (4321, 4321)}


@needs_root
def test_a_refusal_changes_nothing_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, *OURS, "zebra.txt")
    assert handover.main([str(tmp_path), "12345", "12345"]) == 2
    assert {path.stat().st_uid for path in [tmp_path, *tmp_path.rglob("*")]} == {0}
    said = capsys.readouterr().err
    assert "holds zebra.txt" in said
    assert "sudo chown -R" in said


def test_a_folder_that_cannot_be_given_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert handover.main([str(tmp_path / "absent"), "12345", "12345"]) == 2
    assert "cannot be given to user 12345 (No such file or directory" in capsys.readouterr().err
