"""The detector's training as a user starts it: one run at a time in a folder, and fewer pictures than a batch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from training import coco, runlock, train_detector
from training.synthetic import Film, write_video

SETTINGS = """
input_size = 64
width = 8
hidden_dim = 16
decoder_layers = 1
num_queries = 10
num_denoising = 4
batch = 4
steps = 2
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command, whose arguments a test may add to; it sees one picture of each of two videos."""
    monkeypatch.setattr(sys, "argv", command := [
        "train_detector", "--config", str(tmp_path / "knobs.toml"), "--data", str(tmp_path), "--cache",
        str(tmp_path / "cache"), "--out", str(tmp_path / "run"), "--threads", "1",
    ])  # fmt: skip
    (tmp_path / "knobs.toml").write_text(SETTINGS)
    write_boxes(tmp_path, ("a", "b"))
    return command


def write_boxes(folder: Path, names: tuple[str, ...]) -> None:
    images, boxes = [], []
    for seed, name in enumerate(names):
        film = Film(seed, 0.2, size=(160, 120), fps=25)
        write_video(film, folder / f"{name}.mp4")
        images.append({"file_name": f"{name}.mp4", "frame_index": 2, "width": 160, "height": 120})
        boxes.append(film.frame(2)[1])
    coco.write(folder, images, boxes, ("mouse",), {})


def test_a_second_run_in_one_folder_is_refused(
    start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with runlock.hold(tmp_path / "run", rank=0, processes=1):
        assert train_detector.main() == 1
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(f"error: {tmp_path / 'run'} is in use by another run of training (process ")
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert train_detector.main() == 0
