"""What the tests of making training clips start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from tests.fixtures.datasets import small_dataset
from tests.fixtures.preprocessing import KNOBS
from training import preprocess


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """A data set of three films and its clips; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("preprocess")
    small_dataset(folder / "dataset")
    preprocess.preprocess(folder / "dataset", folder / "clips", None, KNOBS)
    return datasets.read(folder / "dataset"), folder / "clips"


@pytest.fixture
def copied(made: tuple[Dataset, Path], tmp_path: Path) -> tuple[Dataset, Path]:
    shutil.copytree(made[0].root, tmp_path / "dataset")
    shutil.copytree(made[1], tmp_path / "clips")
    return datasets.read(tmp_path / "dataset"), tmp_path / "clips"
