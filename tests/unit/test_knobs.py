"""Where a training program's settings file is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mousetal.errors import SettingsError
from training.finetune_knobs import Knobs as MvdKnobs
from training.knobs import knob, read

SHIPPED = Path("training/configs/train-demo/toy-mvd.toml")


@dataclass(frozen=True)
class Knobs:
    batch: int = knob(12, "windows")


def test_a_shipped_file_is_found_from_any_directory(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read(MvdKnobs, SHIPPED) == read(MvdKnobs, root / SHIPPED)


def test_a_file_of_that_name_in_the_current_directory_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    SHIPPED.parent.mkdir(parents=True)
    SHIPPED.write_text("batch = 3")
    assert read(Knobs, SHIPPED).batch == 3


@pytest.mark.parametrize("name", ["training/configs/absent.toml", "finetune-small.toml"])
def test_another_name_is_not_looked_for_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=rf"^{name}: expected a TOML file of settings"):
        read(Knobs, Path(name))
