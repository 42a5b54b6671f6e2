"""What a run's folder says of its models, how it goes on from it, and that one run at a time works in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mousetal.mvd
from mousetal.errors import SettingsError
from tests.fixtures.trainingclips import CLASSES, write_clips
from tests.unit.test_finetune import TOY, arguments, halt, log_of, losses
from training import finetune_mvd
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


def test_a_state_that_is_gone_stops_the_run_with_what_to_do(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the name of the state is cut off. Deleting the file that names it begins the run anew."""
    finetune(TOY, clips, tmp_path)
    whole, states = losses(tmp_path), tmp_path / "checkpoints"
    log = (tmp_path / "log.jsonl").read_text()
    (states / "step-0000004").rename(tmp_path / "elsewhere")
    for name in ("step-0000004\n", ""):
        (states / "last").write_text(name)
        assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 1
        said = capsys.readouterr().err
        assert f"last names the state {name.strip()!r}, which is not there, nor is another." in said
        assert f"choose another --out; to begin anew here, delete {states / 'last'}." in said
        assert "Traceback" not in said
    assert (tmp_path / "log.jsonl").read_text() == log
    (states / "last").unlink()
    assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 0
    assert losses(tmp_path) == whole


def test_another_state_stands_in_for_one_that_is_gone_and_it_is_said(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A state that is not whole does not; and the settings must be those of before."""
    halt(TOY, clips, tmp_path, steps=2)
    states = tmp_path / "checkpoints"
    (states / "step-0000006.partial").mkdir()
    (states / "last").write_text("step-0000004\n")
    with pytest.raises(SettingsError, match=r"batch: 4 -> 8"):
        finetune(replace(TOY, batch=8), clips, tmp_path)
    capsys.readouterr()
    finetune(TOY, clips, tmp_path)
    said = capsys.readouterr().err
    assert "'step-0000004', which is not there; going on from step-0000002" in said
    assert "4 steps, going on after 2" in said
