"""What follows a training by itself: bout rules in its best model, a page of its test videos, and no lost model."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mousetal.mvd
from mousetal import dataset as datasets
from mousetal import modelfolder
from mousetal.dataset import Dataset
from mousetal.errors import RecordError
from tests.fixtures.datasets import small_dataset
from tests.fixtures.detectors import saved_detector
from tests.fixtures.finetuning import TOY, arguments
from tests.fixtures.trainingclips import write_clips
from training import evaluate, finetune_evaluation, finetune_mvd
from training.evaluation import bootstrap
from training.keeper import Memo

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three films, one on each side."""
    return with_sides(small_dataset(tmp_path_factory.mktemp("data") / "dataset"), "train", "validation", "test")


def with_sides(dataset: Dataset, *sides: str) -> Dataset:
    for entry, side in zip(dataset.videos, sides, strict=True):
        dataset = dataset.with_entry(replace(entry, split=side))
    datasets.write(dataset)
    return dataset


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)


@pytest.fixture(scope="module")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is finished, without an evaluation."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("runs") / "first"
    assert finetune_mvd.main(arguments(clips, run, TOY)) == 0
    return run


def command(clips: Path, run: Path, dataset: Dataset, *more: str) -> list[str]:
    return [*arguments(clips, run, TOY), "--dataset", str(dataset.root), *more]


def test_a_run_is_tuned_and_evaluated_by_itself_and_its_export_has_the_rules(
    clips: Path, dataset: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    run, export = tmp_path / "first", tmp_path / "my-model"
    assert finetune_mvd.main(command(clips, run, dataset, "--export", str(export))) == 0
    found = json.loads((run / "evaluation" / evaluate.JSON_NAME).read_text())
    assert [one["video"] for one in found["videos"]] == [entry.path for entry in dataset.in_split("test")]
    assert (run / "evaluation" / evaluate.PAGE_NAME).exists()
    best, exported = mousetal.mvd.load(run / "best"), mousetal.mvd.load(export)
    notes = best.config.provenance["tuning"]
    assert (notes["split"], notes["videos"]) == ("validation", 1)
    assert found["facts"]["model"].startswith("first, sha256 ")
    assert (best.spec.name, exported.spec.name) == ("first", "my-model")
    assert exported.config == replace(best.config, name="my-model")
    assert (export / modelfolder.CARD_NAME).read_text().startswith("# my-model\n")
    assert "## Bout rules, chosen on validation videos" in (export / modelfolder.CARD_NAME).read_text()
    said = capsys.readouterr().out
    assert str(run / "evaluation" / evaluate.PAGE_NAME) in said
    assert "(MODEL_DIR)" in said


def test_a_detector_takes_the_place_of_stored_boxes(
    clips: Path, trained: Path, dataset: Dataset, tmp_path: Path
) -> None:
    detector = saved_detector(tmp_path / "my-detector")
    more = ["--detector-dir", str(detector)]
    assert finetune_mvd.main(command(clips, trained, dataset, *more)) == 0
    page = (trained / "evaluation" / evaluate.PAGE_NAME).read_text()
    assert "my-detector" in page


@pytest.mark.parametrize(
    ("error", "code"), [(RecordError("no boxes there"), 1), (ZeroDivisionError("a defect"), 3)], ids=["told", "defect"]
)
def test_an_evaluation_that_fails_loses_no_model_and_is_repeated_by_the_commands_it_names(
    clips: Path, trained: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: Capture, error: Exception,
    code: int,
) -> None:  # fmt: skip
    def fail(*_given: object, **_named: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate_model", fail)
        assert finetune_mvd.main(command(clips, trained, dataset)) == code
    said = capsys.readouterr().err
    assert str(error) in said
    assert f"models are kept in {trained / 'best'} and {trained / 'last'}" in said
    assert mousetal.mvd.load(trained / "best").spec.name == "first"
    named = [shlex.split(line) for line in said.splitlines() if line.strip().startswith("python -m training.evaluate")]
    assert [words[:3] for words in named] == [["python", "-m", "training.evaluate"]] * 2
    for words in named:
        assert evaluate.main(words[3:]) == 0


def test_sides_without_a_video_are_said_and_no_failure(
    clips: Path, trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    bare = with_sides(small_dataset(tmp_path / "dataset", films=1), "train")
    before = (trained / "best" / "config.json").read_bytes()
    assert finetune_mvd.main(command(clips, trained, bare)) == 0
    said = capsys.readouterr().out
    assert "no validation videos, so bout rules and temperature stay as they are" in said
    assert "no test videos" in said
    assert (trained / "best" / "config.json").read_bytes() == before


def test_what_cannot_be_evaluated_on_is_refused_before_the_training(
    clips: Path, dataset: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run"
    for flags, code, said in (
        (["--detector-dir", "x"], 2, "needs --dataset"),
        (["--dataset", str(tmp_path)], 1, "dataset.json"),
        (["--dataset", str(dataset.root), "--detector-dir", str(tmp_path / "x")], 1, "a model folder"),
    ):
        assert finetune_mvd.main([*arguments(clips, run, TOY), *flags]) == code
        assert said in capsys.readouterr().err
        assert not run.exists()


@pytest.mark.parametrize(("rank", "evaluated"), [("0", 1), ("1", 0)])
def test_of_several_processes_the_first_evaluates(
    rank: str, evaluated: int, clips: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def count(wanted: finetune_evaluation.Evaluation) -> int:
        calls[str(wanted.dataset)] += 1
        return 0

    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(finetune_mvd, "finetune", lambda *_: Memo())
    monkeypatch.setattr(finetune_evaluation, "evaluate_run", count)
    assert finetune_mvd.main(command(clips, tmp_path / "run", dataset)) == 0
    assert calls.total() == evaluated
