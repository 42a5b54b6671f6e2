"""The walk through all stages: what it runs, what it passes over, and where it stops."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mousetal.errors import ServiceError, SettingsError
from training import coco, train_demo

SIZE = train_demo.Size("toy", 2, 1, 1.0)


class Stages:
    """Stands in for `subprocess.run`: notes each stage's module, and ends it with what is told."""

    def __init__(self, work: Path, codes: dict[str, int]) -> None:
        self.work, self.codes, self.ran = work, codes, list[str]()

    def __call__(self, command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        module = command[2]
        self.ran.append(module)
        if module == train_demo.AUTOLABEL and self.codes.get(module, 0) in (0, 1):
            (self.work / "boxes").mkdir(exist_ok=True)
            (self.work / "boxes" / coco.BOXES_NAME).write_text("{}")
        return subprocess.CompletedProcess(command, self.codes.get(module, 0))


def walk(work: Path, monkeypatch: pytest.MonkeyPatch, **codes: int) -> Stages:
    stages = Stages(work, {name.replace("__", "."): code for name, code in codes.items()})
    monkeypatch.setattr(subprocess, "run", stages)
    train_demo.run(SIZE, work, work / "models")
    return stages


def test_the_split_comes_before_what_learns_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = walk(tmp_path, monkeypatch).ran
    assert ran.index("training.preprocess") < ran.index(train_demo.AUTOLABEL) < ran.index("training.train_detector")
    assert ran[-2:] == ["inference_script", "training.evaluate"]


def test_a_video_without_boxes_does_not_end_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = walk(tmp_path, monkeypatch, training__autolabel=1)
    assert stages.ran[-1] == "training.evaluate"
    assert "Some videos were left out" in capsys.readouterr().out


def test_a_walk_that_stopped_goes_on_after_its_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match=r"'Train the detector' ended with exit code 1. Mend it and start again"):
        walk(tmp_path, monkeypatch, training__train_detector=1)
    assert train_demo.AUTOLABEL not in walk(tmp_path, monkeypatch).ran


def test_labels_that_are_refused_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="'Boxes without a labeller' ended with exit code 2"):
        walk(tmp_path, monkeypatch, training__autolabel=2)


def test_a_walk_of_another_size_does_not_take_its_films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk(tmp_path, monkeypatch)
    larger = train_demo.Size("toy", 2, 1, 2.0)
    with pytest.raises(SettingsError, match=r"2 animals, 1 films of 1 s of each was begun, this one has .* of 2 s"):
        train_demo.run(larger, tmp_path, tmp_path / "models")
    train_demo.run(larger, tmp_path / "other", tmp_path / "models")
