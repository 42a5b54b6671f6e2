"""The same recording on two sides of the split: found, said, no success, and gone once the sides are dealt anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from tests.fixtures.datasets import small_dataset
from training import preprocess
from training.clipping import Shape
from training.cutting import CutRules
from training.preprocessknobs import Knobs
from training.recordings import Same

KNOBS = Knobs(cut=CutRules(clip_s=1.2, least_idle=2, window_s=0.4, guard_s=0.1), shape=Shape(input_size=32))


@pytest.fixture
def split(tmp_path: Path) -> Dataset:
    """A data set of three films, one on each side."""
    small_dataset(tmp_path / "dataset")
    preprocess.split_only(tmp_path / "dataset", KNOBS)
    return datasets.read(tmp_path / "dataset")


@pytest.fixture
def pair(split: Dataset, monkeypatch: pytest.MonkeyPatch) -> Same:
    """Two of its videos, which from now on are found to hold the same recording."""
    (train,), (validation,) = split.in_split("train"), split.in_split("validation")
    found = Same(train.path, validation.path, ((2.0, 0.0),))
    monkeypatch.setattr(preprocess.recordings, "find", lambda *_: [found])
    monkeypatch.setattr(preprocess.preprocessknobs, "read", lambda *_: KNOBS)
    return found


def test_parts_of_one_recording_are_found_before_the_split_and_after_it_they_are_a_leak(
    split: Dataset, pair: Same, tmp_path: Path
) -> None:
    report = preprocess.preprocess(split.root, tmp_path / "clips", None, KNOBS)[1]
    assert [leak for leak in report.leaks if "hold the same recording" in leak], "the sides were given before"
    report = preprocess.preprocess(split.root, tmp_path / "clips", None, KNOBS, is_anew=True)[1]
    after = {entry.path: entry.split for entry in datasets.read(split.root).videos}
    assert after[pair.a] == after[pair.b]
    assert not report.leaks
    assert f"the same recording is in {pair.a} at 2.0 s and {pair.b} at 0.0 s" in report.notes


@pytest.mark.parametrize("more", [["--split-only"], []])
def test_a_leak_is_no_success_and_the_last_line_says_what_to_do(
    split: Dataset, pair: Same, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    words = ["--dataset", str(split.root), "--clips", str(tmp_path / "clips"), *more]
    assert preprocess.main(words) == 1
    said = capsys.readouterr()
    assert f"LEAK: {pair.a}" in said.out
    assert "--resplit" in said.err.splitlines()[-1]
    assert "the detector, too" in said.err.splitlines()[-1]
    assert preprocess.main([*words, "--resplit"]) == 0
    said = capsys.readouterr()
    assert "no leak" in said.out
    assert "--resplit" not in said.err
