"""What a step of `training.finetune_mvd` needs: `python -m bench.training` prints memory and clips per second.

One row per network (ViT-S, ViT-B), clip (16 frames, every 2nd; 32 frames), checkpointing and ZeRO stage, each in a
process of its own: the median of some steps on random pixels, the highest memory that torch held on the GPU, what
`training.memory` had estimated, and whether a GPU of 24 GB would do, of which 2 are left to the driver and the context.
A row that does not fit says so. One process shares nothing out, so ZeRO only shows what it costs; offload saves memory
alone, too. Without a GPU rows of toy size show that it runs. `bench.feeding` is about reading clips.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import torch

from mousetal.mvd import VisionTransformer
from training import memory
from training.engine import make_engine, place_of, start_processes
from training.finetune_knobs import Knobs, network_config
from training.learner import Learner
from training.optim import parameter_groups

WARM_UP, STEPS = 3, 10
MODELS = ("vit_small_patch16_224", "vit_base_patch16_224")
CLIPS = ((16, 2), (32, 1))
ZERO = ((None, False), (0, False), (1, False), (2, False), (3, False), (2, True))  # DeepSpeed's stage, offload
SMALL_GPU = 22 * memory.GIB
NUM_CLASSES = 3


def rows(batch: int, is_toy: bool) -> list[dict[str, object]]:
    """The settings of every row."""
    made: list[dict[str, object]] = []
    for model, (frames, rate), checkpointing, (zero, offload) in itertools.product(MODELS, CLIPS, (False, True), ZERO):
        row: dict[str, object] = {
            "model": model, "num_frames": frames, "sampling_rate": rate, "checkpointing": checkpointing,
            "zero": zero or 0, "offload": offload, "engine": "torch" if zero is None else "deepspeed", "batch": batch,
            "num_sample": 1, "precision": "bf16",
        }  # fmt: skip
        if is_toy:
            row |= {"input_size": 32, "dim": 48, "depth": 2, "heads": 3, "batch": 2, "precision": "fp32"}
        made.append(row)
    return made


def measure(knobs: Knobs) -> dict[str, float | str]:
    """Seconds per step, highest memory in bytes (0 on a CPU), and the estimate, of steps on random pixels."""
    place = place_of(knobs)
    start_processes(place)
    learner = Learner(VisionTransformer(network_config(knobs, NUM_CLASSES)), has_moments=False)
    learner.network.is_checkpointed = knobs.checkpointing
    estimate = memory.estimate(learner, knobs, place.world_size, place.is_deepspeed)
    named = [(name.removeprefix("network."), one) for name, one in learner.named_parameters()]
    depth = learner.network.config.depth
    groups = parameter_groups(named, depth, knobs.layer_decay, knobs.weight_decay)
    engine = make_engine(learner, groups, knobs, place)
    size = knobs.input_size
    clips = torch.randn(knobs.batch, 3, knobs.num_frames, size, size, device=place.device).to(engine.dtype)
    labels = torch.arange(knobs.batch, device=place.device) % NUM_CLASSES
    times = []
    for _ in range(WARM_UP + STEPS):
        begun = time.perf_counter()
        with engine.computing():
            logits = engine.module(clips)[0]
        engine.backward(torch.nn.functional.cross_entropy(logits.float(), labels))
        engine.step()
        if place.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    peak = torch.cuda.max_memory_reserved() if place.device.type == "cuda" else 0
    name = torch.cuda.get_device_name() if place.device.type == "cuda" else "CPU"
    return {"step_s": statistics.median(times[WARM_UP:]), "peak": peak, "estimate": estimate.total, "device": name}


def fits(peak: float) -> str:
    """Whether a GPU of 24 GB holds so much; nothing is known of a CPU."""
    return "–" if not peak else "yes" if peak <= SMALL_GPU else "no"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=12, help="windows per step")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # settings of one row as JSON: what a child is asked for
    parser.add_argument("--only", type=int, help="so many rows")
    arguments = parser.parse_args(argv)
    if arguments.row:
        print(json.dumps(measure(replace(Knobs(), **json.loads(arguments.row)))))
        return 0
    is_toy = not torch.cuda.is_available()
    if is_toy:
        print("NO GPU: rows of toy size on the CPU; their numbers mean nothing", file=sys.stderr)
    print("| network | frames | checkpointing | ZeRO | batch | peak GiB | estimate GiB | fits 24 GB | clips/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for number, row in enumerate(rows(arguments.batch, is_toy)[: arguments.only]):
        environment = {**os.environ, "MASTER_PORT": str(29600 + number)}
        command = [sys.executable, "-m", "bench.training", "--row", json.dumps(row)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        zero = "–" if row["engine"] == "torch" else f"{row['zero']}{' offload' if row['offload'] else ''}"
        begin = f"| {row['model']} | {row['num_frames']}x{row['sampling_rate']} | {row['checkpointing']} | {zero} "
        if done.returncode != 0:
            reason = "out of memory" if "out of memory" in done.stderr else f"exit code {done.returncode}"
            print(f"{begin}| {row['batch']} | {reason} | | | |", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        gib = [f"{found[name] / memory.GIB:.1f}" for name in ("peak", "estimate")]
        rate = int(str(row["batch"])) / found["step_s"]
        print(f"{begin}| {row['batch']} | {gib[0]} | {gib[1]} | {fits(found['peak'])} | {rate:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
