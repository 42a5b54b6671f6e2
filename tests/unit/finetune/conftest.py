"""What the tests of fine-tuning as a whole start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fixtures.finetuning import TOY
from tests.fixtures.trainingclips import write_clips
from training.finetune_mvd import finetune


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("runs") / "whole"
    finetune(TOY, clips, run)
    return run
