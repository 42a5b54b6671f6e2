"""DeepSpeed in one and two processes on the CPU, by gloo: what it learns, how it goes on, what it does to gradients."""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mousetal.mvd
from mousetal.errors import SettingsError
from tests.fixtures.deepspeedteam import HUGE, Job, Moved, moved, together
from tests.fixtures.finetuning import TOY, assert_same_weights, log_of, losses, weights_of
from tests.fixtures.trainingclips import CLASSES, write_clips
from training.engine import Place, forget_steps, place_of
from training.finetune_knobs import Knobs

pytest.importorskip("deepspeed")

# Erasing, mixing and drop path are drawn per process; without them two processes compute what one does.
SAME = replace(TOY, engine="deepspeed", device="cpu", batch=2, clip_norm=0.5, drop_path=0.0, mix_probability=0.0,
               erase=0.0)  # fmt: skip
# With so large an eps a step is nearly as long as its gradient, so that clipping shows.
MOVE = replace(SAME, eps=1.0)
WAYS = [(precision, zero) for precision in ("fp32", "bf16") for zero in (0, 1, 2, 3)]


def wide(knobs: Knobs) -> Knobs:
    """Below 100,000 numbers a matrix is not taken apart by ZeRO 3; here those of the blocks are."""
    return replace(knobs, dim=192, heads=3) if knobs.zero == 3 else knobs


def clipped(precision: str, zero: int) -> Knobs:
    return replace(MOVE, precision=precision, zero=zero, clip_norm=0.01)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=[1, 2])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two leave of the same data: each of two takes half a batch."""
    processes = request.param
    top = tmp_path_factory.mktemp(f"{processes}-processes")
    write_clips(top / "clips")
    share = 4 // processes
    jobs = [Job("finetune", top / name, replace(SAME, precision=name, batch=share), top / "clips")
            for name in ("fp32", "bf16")]  # fmt: skip
    jobs += [Job("move", top / f"{precision}-{zero}.pt", replace(clipped(precision, zero), batch=share))
             for precision, zero in WAYS]  # fmt: skip
    together(processes, jobs, top)
    return top


def by_torch(knobs: Knobs) -> Moved:
    return _by_torch(replace(knobs, engine="torch", batch=4, zero=0, offload=False))


@functools.cache
def _by_torch(knobs: Knobs) -> Moved:
    return moved(knobs, Place(torch.device("cpu")))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of torch alone, with the batch of all processes together."""
    from training.finetune_mvd import finetune

    top = tmp_path_factory.mktemp("alone")
    write_clips(top / "clips")
    finetune(replace(SAME, engine="torch", batch=4), top / "clips", top / "run")
    return top / "run"


def norms(run: Path) -> list[object]:
    return [line["gradient_norm"] for line in log_of(run) if "event" not in line]


def test_processes_learn_what_one_learns_of_all_their_batches(folder: Path, alone: Path) -> None:
    np.testing.assert_allclose(losses(folder / "fp32"), losses(alone), rtol=1e-5)
    np.testing.assert_allclose(norms(folder / "fp32"), norms(alone), rtol=1e-4)
    for name, array in weights_of(alone / "last").items():
        np.testing.assert_allclose(weights_of(folder / "fp32" / "last")[name], array, atol=2e-5, err_msg=name)


def test_the_default_precision_trains_and_leaves_a_model_that_loads(folder: Path) -> None:
    assert Knobs().precision == "bf16"
    np.testing.assert_allclose(losses(folder / "bf16"), losses(folder / "fp32"), rtol=0.01)
    assert np.isfinite(norms(folder / "bf16")).all()
    classifier = mousetal.mvd.load(folder / "bf16" / "best")
    assert classifier.spec.classes == CLASSES
    assert classifier.predict(np.zeros((1, 8, 32, 32, 3), np.uint8)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("precision", "zero"), WAYS)
def test_gradients_are_clipped_as_torch_clips_them(folder: Path, precision: str, zero: int) -> None:
    """The lengths are told as they were before; the second one depends on how far the first step went, too."""
    knobs = clipped(precision, zero)
    expected, lengths = by_torch(knobs)
    unclipped, _ = by_torch(replace(knobs, clip_norm=0.0))
    found, found_lengths = torch.load(folder / f"{precision}-{zero}.pt")
    assert lengths[1] is not None
    assert lengths[1] > HUGE
    np.testing.assert_allclose(found_lengths, lengths, rtol=1e-5 if precision == "fp32" else 2e-3)
    # In bf16 the weights are given as the network has them, rounded to 8 bits.
    rounding = 0.0 if precision == "fp32" else 2.0**-8
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=rounding, atol=2e-6 if precision == "fp32" else 1e-5)
    assert max(float((unclipped[name] - expected[name]).abs().max()) for name in expected) > 1e-3


def test_the_first_step_is_adams_first(folder: Path) -> None:
    """Without ZeRO in 16 bits DeepSpeed makes room by a step of its own, which must not count."""
    without, sharing = (torch.load(folder / f"bf16-{zero}.pt")[1][1] for zero in (0, 2))
    assert without == pytest.approx(sharing, rel=1e-5)
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.0)
    optimiser.param_groups[0]["params"][0].grad = torch.zeros(2)
    optimiser.step()
    forget_steps(optimiser)
    assert [float(state["step"]) for state in optimiser.state.values()] == [0.0]


def test_processes_that_mpi_started_do_not_each_train_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match=r"started by MPI.*--no_ssh"):
        place_of(replace(TOY, device="cpu"))


def test_clips_that_any_process_could_not_read_are_counted_and_told_once(tmp_path: Path) -> None:
    """One that each of two processes meets in its own batches, and one that they validate on."""
    from training.finetune_mvd import finetune

    table = write_clips(tmp_path / "clips")
    broken = [table.clips[0].path, next(clip.path for clip in table.clips if clip.split == "validation")]
    for path in broken:
        path.write_bytes(b"")
    knobs = replace(SAME, steps=8)
    together(2, [Job("finetune", tmp_path / "two", knobs, tmp_path / "clips")], tmp_path)
    alone = finetune(replace(knobs, engine="torch", batch=4), tmp_path / "clips", tmp_path / "one")
    memo = torch.load(tmp_path / "two" / "checkpoints" / "step-0000008" / "memo.pt")["memo"]
    assert memo["skipped"] == alone.skipped
    assert memo["skipped"][str(broken[1])] == 2 * 2  # validations of the weights and of their average
    told = [line["clip"] for line in log_of(tmp_path / "two") if line.get("event") == "skipped"]
    assert sorted(told) == sorted(map(str, broken))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("processes", [1, 2])
def test_four_steps_are_two_save_load_and_two_at_every_zero_stage(processes: int, tmp_path: Path) -> None:
    """What goes on is a team of new processes, as after a power cut."""
    clips = tmp_path / "clips"
    write_clips(clips)
    settings = {f"{precision}-{zero}": wide(replace(SAME, precision=precision, zero=zero)) for precision, zero in WAYS}
    assert_goes_on(processes, settings, clips, tmp_path)
    for zero in (1, 2):
        np.testing.assert_allclose(losses(tmp_path / f"fp32-{zero}"), losses(tmp_path / "fp32-0"), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
# DeepSpeed builds that optimiser at its first use.
@pytest.mark.skipif(not (shutil.which("g++") and shutil.which("ninja")), reason="DeepSpeedCPUAdam needs g++ and ninja")
def test_an_optimiser_on_the_cpu_clips_and_goes_on_like_any_other(tmp_path: Path) -> None:
    """The first use of DeepSpeedCPUAdam compiles it, which takes a minute or more."""
    clips = tmp_path / "clips"
    write_clips(clips)
    move = {zero: replace(clipped("fp32", zero), offload=True) for zero in (1, 2, 3)}
    together(2, [Job("move", tmp_path / f"{zero}.pt", knobs) for zero, knobs in move.items()], tmp_path, 600)
    for zero, knobs in move.items():
        expected, lengths = by_torch(knobs)
        found, found_lengths = torch.load(tmp_path / f"{zero}.pt")
        np.testing.assert_allclose(found_lengths, lengths, rtol=1e-5)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=0.0, atol=2e-6)
    ways = [("fp32", 1), ("fp32", 3), ("bf16", 2)]
    settings = {f"{precision}-{zero}": wide(replace(SAME, precision=precision, zero=zero, offload=True))
                for precision, zero in ways}  # fmt: skip
    # It multiplies up the powers of its betas, and after a stop begins with their power: the last digits differ.
    assert_goes_on(2, settings, clips, tmp_path, rtol=1e-4)


def assert_goes_on(processes: int, settings: dict[str, Knobs], clips: Path, top: Path, rtol: float = 0.0) -> None:
    """Runs with these settings, by name in ``top``, are the same with and without a stop after two steps."""
    jobs = [Job("finetune", top / name, knobs, clips) for name, knobs in settings.items()]
    halts = [Job("finetune", top / f"{name}-halted", knobs, clips, halt_after=2) for name, knobs in settings.items()]
    together(processes, [*jobs, *halts], top)
    together(processes, [replace(job, halt_after=0) for job in halts], top)
    for job, halted in zip(jobs, halts, strict=True):
        assert len(losses(job.out)) == 4
        for values in (losses, norms):
            np.testing.assert_allclose(values(halted.out), values(job.out), rtol=rtol, err_msg=job.out.name)
        if not rtol:
            assert_same_weights(halted.out / "last", job.out / "last")
