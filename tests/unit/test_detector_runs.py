"""The detector's training as a user starts it: one run at a time in a folder, and fewer pictures than a batch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import mousetal.detector
from training import coco, runlock, train_detector
from training.detectorfeed import Deck
from training.detectorknobs import Knobs
from training.synthetic import Film, write_video
from training.trainlog import LOG_NAME

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


def test_fewer_pictures_than_a_batch_train_and_it_is_said(
    start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One picture to learn from, sixteen in a batch: each place of the batch changes it in its own way."""
    start += ["--batch", "16"]
    assert train_detector.main() == 0
    assert "only 1 pictures for batches of 16: they come up more than once in each" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG_NAME).read_text().splitlines()]
    assert np.isfinite([line["loss"] for line in lines if "loss" in line]).all()
    assert len([line for line in lines if "loss" in line]) == 2
    assert mousetal.detector.load(tmp_path / "run" / "best").spec.classes == ("mouse",)


def test_a_batch_of_few_pictures_has_all_of_them_in_turn() -> None:
    deck = Deck.of(Knobs(batch=5, seed=3), [0, 0])
    assert sorted(deck.numbers(0)) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    assert sorted([*deck.numbers(0), *deck.numbers(1)]) == [0] * 5 + [1] * 5


def test_enough_pictures_for_a_batch_need_no_word(start: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    start += ["--batch", "2", "--validation_share", "0"]
    assert train_detector.main() == 0
    said = capsys.readouterr().out
    assert "only" not in said
    assert "All pictures are to learn from, so there is nothing to validate on" in said


def test_pictures_that_are_all_held_out_end_with_a_sentence(
    start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / coco.BOXES_NAME
    document = json.loads(path.read_text())
    for image in document["images"]:
        image["split"] = "test"
    path.write_text(json.dumps(document))
    assert train_detector.main() == 1
    assert "error: no picture to learn from: the files say of every one" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
