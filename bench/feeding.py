"""Whether reading clips keeps up with the GPU, by number of workers: `python -m bench.feeding --clips clips`.

Some steps of `training.finetune_mvd` by its own loader and engine, with the published recipe unless --config says
otherwise: clips (augmented views) per second, and the share of the time in which the step did not wait for data. Aim at
90 % and take the fewest workers that reach it. The first row has no loader: the same batch again and again.

Clips are those that `training.preprocess` wrote. Without a GPU the rows show that it runs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from training.engine import make_engine, place_of, start_processes
from training.finetune_data import Data, load_data
from training.finetune_knobs import Knobs, disturbance
from training.finetune_mvd import build, groups_of
from training.knobs import add_flags, read
from training.learner import prepare
from training.loader import Batch, Batches, Recipe, batches

WARM_UP, STEPS = 5, 30


def measure(knobs: Knobs, data: Data, is_fed: bool, steps: int) -> tuple[float, float]:
    """Views per second and the share of the time that was not spent waiting for them."""
    place = place_of(knobs)
    start_processes(place)
    recipe = Recipe(data.train, data.sampler, disturbance(knobs), knobs.batch, knobs.num_sample, knobs.erase)
    learner = build(knobs, data, recipe, print)
    engine = make_engine(learner, groups_of(learner, knobs), knobs, place)
    is_gpu = place.device.type == "cuda"
    stream: Iterator[Batch] = itertools.repeat(Batches(recipe)[0])
    if is_fed:
        stream = batches(recipe, 0, WARM_UP + steps, knobs.workers, pinned=is_gpu)
    begun = waited = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            begun, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        batch = next(stream)
        waited += time.perf_counter() - asked
        lesson = prepare(batch, knobs, len(data.classes), (knobs.seed, step), place.device)
        with engine.computing():
            logits, moments = engine.module(lesson.clips.to(engine.dtype))
        engine.backward(lesson.loss(logits, moments, knobs, None))
        engine.step()
        if is_gpu:
            torch.cuda.synchronize()
    took = time.perf_counter() - begun
    return steps * knobs.batch * knobs.num_sample / took, 1 - waited / took


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder that training.preprocess wrote")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--numbers", type=int, nargs="+", default=[2, 4, 8, 12, 16], help="of workers to try")
    parser.add_argument("--measured", type=int, default=STEPS, help="steps per row")
    add_flags(parser, Knobs)
    arguments = parser.parse_args(argv)
    knobs = read(Knobs, arguments.config, arguments)
    data = load_data(knobs, arguments.clips)
    if not torch.cuda.is_available():
        print("NO GPU: a CPU that reads and computes says nothing of how one is kept busy", file=sys.stderr)
    print("| workers | clips/s | not waiting |\n| --- | --- | --- |")
    for workers in (None, *arguments.numbers):
        rate, busy = measure(replace(knobs, workers=workers or 0), data, workers is not None, arguments.measured)
        print(f"| {'no loader' if workers is None else workers} | {rate:.1f} | {busy:.0%} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
