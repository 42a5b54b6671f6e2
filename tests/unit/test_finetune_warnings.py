"""What a run says before it starts of settings that do not do what they seem to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.finetuning import TOY
from tests.fixtures.trainingclips import write_clips
from training.engine import Place, place_of
from training.finetune_data import Data, load_data
from training.finetune_knobs import Knobs
from training.finetune_mvd import Schedule, introduce


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


def said_of(knobs: Knobs, clips: Path) -> list[str]:
    lines: list[str] = []
    data: Data = load_data(knobs, clips, lines.append)
    place: Place = place_of(knobs)
    introduce(knobs, data, Schedule(4, 2, 1, 0), place, "", lines.append)
    return [line for line in lines if line.startswith("warning: ")]


@pytest.mark.parametrize("kind", ["sqrt", "effective"])
def test_class_weights_are_warned_of_where_all_classes_are_drawn_as_often(kind: str, clips: Path) -> None:
    (warning,) = said_of(replace(TOY, class_weights=kind), clips)
    assert f"class_weights = {kind}" in warning
    assert "sampling = equal: they do next to nothing. Set" in warning
    (warning,) = said_of(replace(TOY, class_weights=kind, sampling="natural", class_shares=(1.0, 2.0, 3.0)), clips)
    assert "class_shares are given: they work against the shares. Set" in warning


def test_class_weights_that_do_something_are_not(clips: Path) -> None:
    assert said_of(TOY, clips) == []
    assert said_of(replace(TOY, class_weights="sqrt", sampling="natural"), clips) == []
    assert said_of(replace(TOY, class_shares=(1.0, 2.0, 3.0)), clips) == []
