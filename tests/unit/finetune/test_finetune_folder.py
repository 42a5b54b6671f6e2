"""What a run's folder says of its models, how it goes on from it, and that one run at a time works in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mousetal.mvd
from mousetal.errors import OutputError, SettingsError
from tests.fixtures.finetuning import TOY, arguments, halt, log_of, losses
from tests.fixtures.trainingclips import CLASSES, write_clips
from training import finetune_evaluation, finetune_mvd, runlock
from training.clips import ClipTable, write_table
from training.finetune_mvd import finetune


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


HELD = """
import sys
from pathlib import Path
from training import runlock
with runlock.hold(Path(sys.argv[1]), rank=0, processes=1):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_in_one_folder_is_refused_until_the_first_ends_or_is_killed(
    clips: Path, tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HELD, str(run)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert finetune_mvd.main(arguments(clips, run, TOY)) == 1
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(f"error: {run} is in use by another run of training (process {first.pid} on ")
        assert said.endswith("Wait for it to end, or choose another --out.")
        assert [path.name for path in run.iterdir()] == [".lock"]
        first.kill()
    assert finetune_mvd.main(arguments(clips, run, TOY)) == 0
    with runlock.hold(run, rank=0, processes=1):
        pass


def test_a_run_holds_its_folder_until_its_evaluation_is_done_too(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate_run(_wanted: object) -> int:
        with pytest.raises(OutputError, match="in use by another run"), runlock.hold(tmp_path, rank=0, processes=1):
            pass
        return 7

    monkeypatch.setattr(finetune_evaluation, "check", lambda *_: None)
    monkeypatch.setattr(finetune_evaluation, "evaluate_run", evaluate_run)
    assert finetune_mvd.main([*arguments(clips, tmp_path, replace(TOY, steps=1)), "--dataset", "x"]) == 7


def test_a_run_that_is_refused_at_once_leaves_no_folder(clips: Path, tmp_path: Path) -> None:
    assert finetune_mvd.main(arguments(tmp_path / "nowhere", tmp_path / "run", TOY)) == 1
    assert not (tmp_path / "run").exists()


TEAM = """
import os, sys
from pathlib import Path
import torch
from mousetal.errors import OutputError
from training import runlock
rank = int(os.environ["RANK"])
torch.distributed.init_process_group("gloo")
try:
    with runlock.hold(Path(sys.argv[1]), rank, 2):
        torch.distributed.barrier()
        said = "held"
except OutputError as error:
    said = str(error)
os.write(1, f"{said}\\n".encode())  # in one piece, since both write into one pipe
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("is_taken", [False, True])
def test_of_several_processes_one_takes_the_folder_and_all_hear_that_it_is_taken(
    tmp_path: Path, root: Path, is_taken: bool
) -> None:
    with runlock.hold(tmp_path, rank=0, processes=1) if is_taken else contextlib.nullcontext():
        team = ["--standalone", "--nproc_per_node", "2", "--no-python", sys.executable, "-c", TEAM, str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", *team], cwd=root, check=True, capture_output=True,
            text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        )  # fmt: skip
    said = done.stdout.splitlines()
    assert len(said) == 2
    assert all(("is in use by another run" in line) if is_taken else line == "held" for line in said)
