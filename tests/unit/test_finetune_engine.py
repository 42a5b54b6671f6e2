"""DeepSpeed at the edge: its configuration, its launcher, and the same steps as torch alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mousetal.errors import SettingsError
from tests.fixtures.finetuning import TOY, arguments, assert_same_weights, losses, weights_of
from tests.fixtures.trainingclips import write_clips
from training import memory
from training.engine import Place, deepspeed_config, place_of
from training.finetune_data import length
from training.finetune_knobs import Knobs, network_config
from training.learner import Learner

HOSTS = "# two machines\nmouse1 slots=2\n\nmouse2 slots=4\n"


@pytest.mark.parametrize("world_size", [1, 2, 6])
def test_the_batch_sizes_that_deepspeed_is_told_agree_with_each_other(world_size: int) -> None:
    config = deepspeed_config(replace(Knobs(), batch=6, accumulation=3), world_size)
    micro, accumulated = config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]
    assert config["train_batch_size"] == micro * accumulated * world_size == 18 * world_size


def test_precision_zero_clipping_and_offload_reach_deepspeed() -> None:
    config = deepspeed_config(replace(Knobs(), precision="fp16", zero=2, offload=True, clip_norm=1.5), 2)
    assert config["fp16"]["enabled"]
    assert not config["bf16"]["enabled"]
    assert config["gradient_clipping"] == 1.5
    assert config["zero_optimization"] == {"stage": 2, "offload_optimizer": {"device": "cpu"}}
    assert deepspeed_config(Knobs(), 1)["bf16"]["enabled"]


def test_deepspeeds_own_check_accepts_the_configuration_of_several_machines(tmp_path: Path) -> None:
    """A dry run of a hostfile: its slots make the world size, and DeepSpeed's parser takes the numbers."""
    runner = pytest.importorskip("deepspeed.launcher.runner")
    (tmp_path / "hosts").write_text(HOSTS)
    pool = runner.fetch_hostfile(str(tmp_path / "hosts"))
    assert dict(pool) == {"mouse1": 2, "mouse2": 4}
    world_size = sum(pool.values())
    config = deepspeed_config(replace(Knobs(), batch=5, accumulation=2, zero=3), world_size)
    assert config["train_batch_size"] == 5 * 2 * 6
    words = ["--hostfile", str(tmp_path / "hosts"), "--module", "training.finetune_mvd", "--out", "run"]
    parsed = runner.parse_args(words)
    assert parsed.module
    assert (parsed.user_script, parsed.user_args) == ("training.finetune_mvd", ["--out", "run"])


def test_one_process_of_many_trains_with_deepspeed_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    place = place_of(replace(TOY, device="cpu"))
    assert (place.rank, place.world_size, place.is_deepspeed, place.is_first) == (1, 2, True, False)
    with pytest.raises(SettingsError, match="torch trains in one process, 2 were started"):
        place_of(replace(TOY, device="cpu", engine="torch"))


def test_more_processes_make_fewer_steps_and_a_higher_rate() -> None:
    knobs = replace(Knobs(), batch=4, epochs=3, warmup_epochs=1)
    assert length(knobs, 100, 1) == (75, 25, 25)
    assert length(knobs, 100, 5) == (15, 5, 5)
    assert knobs.rate_scale(5) == 5 * knobs.rate_scale(1) == 20 / 256
    assert length(replace(knobs, steps=7, warmup_steps=2), 100, 1) == (7, 25, 2)
    assert length(knobs, 2, 1) == (3, 1, 1)


def learner(knobs: Knobs) -> Learner:
    from mousetal.mvd import VisionTransformer

    with torch.device("meta"):
        return Learner(VisionTransformer(network_config(knobs, 3)), has_moments=False)


def test_the_estimate_grows_with_the_batch_and_shrinks_with_every_remedy() -> None:
    small = replace(Knobs(), precision="bf16")
    base = memory.estimate(learner(small), small, 2, is_deepspeed=True)
    assert 5 < base.activations / memory.GIB < 9  # 24 views of ViT-S, 1568 tokens each: 12 blocks of about 20 MB
    assert base.optimiser == 12 * learner(small).num_parameters
    more = memory.estimate(learner(small), replace(small, batch=24), 2, is_deepspeed=True)
    assert more.activations == 2 * base.activations
    for remedy in ({"checkpointing": True}, {"zero": 1}, {"zero": 2}, {"zero": 3}, {"zero": 2, "offload": True},
                   {"num_sample": 1}, {"num_frames": 8}, {"ema": 0.0}):  # fmt: skip
        knobs = replace(small, **remedy)
        assert memory.estimate(learner(knobs), knobs, 2, is_deepspeed=True).total < base.total, remedy


def test_what_to_lower_keeps_the_batch_and_suits_the_number_of_processes() -> None:
    needed = memory.Estimate(1, 1, 1, 1, 1)
    alone, two = Place(torch.device("cpu")), Place(torch.device("cpu"), 0, 2, is_deepspeed=True)
    said = memory.advice(replace(Knobs(), batch=9, accumulation=2), needed, alone)
    assert "batch = 3 with accumulation = 6 (same result)" in said
    assert "batch = 1 with accumulation = 5" in memory.advice(replace(Knobs(), batch=5), needed, alone)
    assert "offload = true with zero = 2 and engine = deepspeed" in said
    assert "; zero = 1" not in said  # which shares out nothing among one
    said = memory.advice(Knobs(), needed, two)
    assert "; zero = 1; offload = true with zero = 2" in said
    assert "more GPUs" not in said


def test_only_running_out_of_memory_is_taken_for_it() -> None:
    assert memory.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert memory.is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not memory.is_out_of_memory(RuntimeError("shapes do not match"))
    assert not memory.is_out_of_memory(OSError("out of memory"))


def deepspeed_run(clips: Path, run: Path, knobs: Knobs) -> str:
    """A run in a process of its own, for DeepSpeed changes what it is imported into; what it said."""
    words = [sys.executable, "-m", "training.finetune_mvd", *arguments(clips, run, knobs), "--threads", "1"]
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deepspeed_takes_the_steps_that_torch_takes_and_goes_on_exactly(tmp_path: Path) -> None:
    """With clipping, betas and accumulation that all matter. The first use compiles for a minute or more."""
    pytest.importorskip("deepspeed")
    write_clips(tmp_path / "clips")
    same = replace(TOY, clip_norm=0.5, betas=(0.8, 0.95), accumulation=2, batch=2, drop_path=0.0, steps=4)
    for name, knobs in (("torch", same), ("zero 0", replace(same, engine="deepspeed")),
                        ("zero 2", replace(same, engine="deepspeed", zero=2))):  # fmt: skip
        deepspeed_run(tmp_path / "clips", tmp_path / name, knobs)
    for name in ("zero 0", "zero 2"):
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "torch"), rtol=1e-4)
        for key, array in weights_of(tmp_path / name / "last").items():
            np.testing.assert_allclose(array, weights_of(tmp_path / "torch" / "last")[key], atol=2e-5, err_msg=key)
    # Stopped after two steps: the state of four is taken away, so that it goes on from one of two.
    stopped = tmp_path / "stopped"
    half = replace(same, engine="deepspeed", zero=2)
    code = (
        "import sys; from pathlib import Path; from training import finetune_mvd, keeper\n"
        "save = keeper.Keeper.save\n"
        "keeper.Keeper.save = lambda self, step: (save(self, step), sys.exit(9) if step == 2 else None)\n"
        "sys.exit(finetune_mvd.main(sys.argv[1:]))\n"
    )
    words = [sys.executable, "-c", code, *arguments(tmp_path / "clips", stopped, half), "--threads", "1"]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 9
    assert (stopped / "checkpoints" / "last").read_text() == "step-0000002\n"
    deepspeed_run(tmp_path / "clips", stopped, half)
    assert losses(stopped) == losses(tmp_path / "zero 2")
    assert_same_weights(stopped / "last", tmp_path / "zero 2" / "last")
