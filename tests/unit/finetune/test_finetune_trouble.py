"""What ends a run of fine-tuning early, or might: damaged clips and states, a full disk, a loss that is no number."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mousetal.mvd
from mousetal.errors import MousetalError, OutputError, SettingsError
from tests.fixtures.finetuning import TOY, arguments, assert_same_weights, halt
from tests.fixtures.trainingclips import write_clips
from training import engine, finetune_mvd, judge
from training.finetune_mvd import finetune


def test_clips_that_are_all_damaged_end_the_run_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for clip in write_clips(tmp_path / "clips").clips:
        clip.path.write_bytes(b"")
    assert finetune_mvd.main(arguments(tmp_path / "clips", tmp_path / "run", TOY)) == 1
    said = capsys.readouterr().err
    assert "cannot be read, the last: " in said
    assert "Traceback" not in said


def test_a_full_disk_while_a_checkpoint_is_written_keeps_the_last_good_one(
    clips: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = engine.Torch.save, []

    def until_the_disk_is_full(self: engine.Torch, folder: Path) -> None:
        saved.append(folder)
        save(self, folder)
        if len(saved) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(engine.Torch, "save", until_the_disk_is_full)
        with pytest.raises(OutputError, match=r"No space left on device.*goes on from step-0000002"):
            finetune(TOY, clips, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()] == ["step-0000002"]
    finetune(TOY, clips, tmp_path)
    assert_same_weights(tmp_path / "last", whole / "last")


def test_a_full_disk_while_the_last_model_is_written_is_made_good_by_the_next_start(
    clips: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the very end, too, where no step is left that would write it again."""
    export = judge.Judge.export

    def until_the_disk_is_full(self: judge.Judge, name: str, weights: object, step: int, metrics: object) -> None:
        if (name, step) == ("last", 4):
            raise OutputError("No space left on device")
        export(self, name, weights, step, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(judge.Judge, "export", until_the_disk_is_full)
        with pytest.raises(OutputError):
            finetune(TOY, clips, tmp_path)
    finetune(TOY, clips, tmp_path)
    assert_same_weights(tmp_path / "last", whole / "last")
    assert mousetal.mvd.load(tmp_path / "last").config.provenance["step"] == 4


@pytest.mark.parametrize("name", ["engine.pt", "memo.pt"])
def test_a_damaged_state_is_told_and_what_to_do(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    halt(TOY, clips, tmp_path, steps=2)
    path = tmp_path / "checkpoints" / "step-0000002" / name
    path.write_bytes(path.read_bytes()[:1000])
    assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 1
    path.unlink()
    assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 1
    said = capsys.readouterr().err
    assert said.count("step-0000002: the run cannot go on from this state, it is damaged") == 2
    assert f"--init {tmp_path / 'last'}" in said
    assert "Traceback" not in said


def test_a_state_of_deepspeed_is_not_gone_on_with_by_torch(clips: Path, tmp_path: Path) -> None:
    halt(TOY, clips, tmp_path, steps=2)
    state = tmp_path / "checkpoints" / "step-0000002"
    (state / "engine.pt").rename(state / engine.DEEPSPEED_TAG)
    with pytest.raises(SettingsError, match=r"a state of DeepSpeed\. Go on with its launcher"):
        finetune(TOY, clips, tmp_path)


def test_a_state_has_reached_the_disk_before_the_one_before_is_removed(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noting(number: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{number}").readlink().name)
        fsync(number)

    monkeypatch.setattr(os, "fsync", noting)
    finetune(replace(TOY, steps=2), clips, tmp_path)
    assert {"engine.pt", "memo.pt"} <= set(flushed)


def test_a_file_size_limit_while_torch_writes_is_told_as_such(clips: Path, tmp_path: Path) -> None:
    """A real limit of the system, met in the middle of torch's own writing."""
    code = (
        "import resource, sys, torch; torch.set_num_threads(1)\n"
        "from tests.fixtures.finetuning import TOY, arguments; from training import finetune_mvd, runfolder\n"
        "from pathlib import Path; from dataclasses import replace\n"
        "write = runfolder.RunFolder.writing\n"
        "def writing(self, step):\n"
        "    step == 4 and resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "    return write(self, step)\n"
        "runfolder.RunFolder.writing = writing\n"
        "knobs = replace(TOY, validate_every=100)\n"
        "sys.exit(finetune_mvd.main(arguments(Path(sys.argv[1]), Path(sys.argv[2]), knobs)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clips), str(tmp_path)], check=False, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "cannot be written (" in done.stderr
    assert "File too large" in done.stderr
    assert "goes on from step-0000002" in done.stderr
    assert (tmp_path / "checkpoints" / "last").read_text() == "step-0000002\n"
    assert torch.load(tmp_path / "checkpoints" / "step-0000002" / "engine.pt", weights_only=True)["module"]


def test_a_loss_that_is_no_number_stops_the_run_before_anything_is_saved(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    prepare = finetune_mvd.prepare

    def then_broken(*given: object) -> object:
        calls.append(None)
        lesson = prepare(*given)
        if len(calls) == 4:
            lesson.targets[:] = float("nan")
        return lesson

    monkeypatch.setattr(finetune_mvd, "prepare", then_broken)
    with pytest.raises(MousetalError, match=r"loss is nan.*at step 4.*step-0000002 is kept.*--init \S+/last starts"):
        finetune(TOY, clips, tmp_path)
    assert (tmp_path / "checkpoints" / "last").read_text() == "step-0000002\n"
    stored = torch.load(tmp_path / "checkpoints" / "step-0000002" / "engine.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in stored["module"].values())


def test_running_out_of_memory_says_what_to_lower(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_given: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(finetune_mvd, "prepare", full)
    assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 2
    said = capsys.readouterr().err
    for part in (
        "out of memory",
        "batch = 2 with accumulation = 2",
        "checkpointing = true",
        "zero = 2",
        "MiB per process",
    ):
        assert part in said
    assert "Traceback" not in said
