"""What a run's folder says of its models, how it goes on from it, and that one run at a time works in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mousetal.mvd
from tests.fixtures.trainingclips import CLASSES, write_clips
from tests.unit.test_finetune import TOY, halt, log_of
from training.clips import ClipTable, write_table
from training.finetune_mvd import finetune


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def told(folder: Path) -> dict[str, object]:
    """What a model folder says of its validation."""
    told: dict[str, object] = mousetal.mvd.load(folder).config.provenance["validation"]
    return told


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_both_models_of_a_run_tell_what_was_measured_of_them(clips: Path, tmp_path: Path, ema: float) -> None:
    """The same as the log, with and without averaged weights, after a stop between validation and the end, too."""
    knobs = replace(TOY, ema=ema, validate_every=2)
    halt(knobs, clips, tmp_path, steps=3)
    memo = finetune(knobs, clips, tmp_path)
    kind = "average" if ema else "weights"
    events = [line for line in log_of(tmp_path) if line.get("event") == "validation"]
    (last,) = [line for line in events if (line["step"], line["of"]) == (4, kind)]
    best = next(line for line in events if line["merit"] == max(one["merit"] for one in events))
    assert told(tmp_path / "best") == {name: value for name, value in best.items() if name != "event"}
    summary = {"step": memo.best_step, "merit": best["merit"]}
    assert told(tmp_path / "last") == {**{n: v for n, v in last.items() if n != "event"}, "best": summary}
    assert set(last["classes"]) == set(CLASSES[1:])  # type: ignore[call-overload]
    card = (tmp_path / "last" / "README.md").read_text()
    assert f"after step 4 of training, merit {last['merit']:.3f}" in card
    assert f"| {CLASSES[1]} | " in card


def test_the_last_model_keeps_what_was_measured_before_a_stop(clips: Path, tmp_path: Path) -> None:
    knobs = replace(TOY, steps=5, validate_every=2, save_every=2)
    halt(knobs, clips, tmp_path, steps=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.keeper.Keeper.validate", lambda *_: None)
        finetune(knobs, clips, tmp_path)
    assert told(tmp_path / "last")["step"] == 2


def test_a_model_of_which_nothing_was_measured_says_so(clips: Path, tmp_path: Path) -> None:
    halt(replace(TOY, validate_every=4, save_every=1), clips, tmp_path / "early", steps=2)
    assert told(tmp_path / "early" / "last") == {"note": "nothing was validated yet"}
    table = write_clips(tmp_path / "clips")
    write_table(ClipTable(tmp_path / "clips", CLASSES, table.in_split("train")))
    finetune(replace(TOY, steps=1), tmp_path / "clips", tmp_path / "run")
    assert told(tmp_path / "run" / "last") == {"note": "nothing to validate on"}
    assert (
        "Not measured on validation clips: nothing to validate on."
        in (tmp_path / "run" / "last" / "README.md").read_text()
    )
