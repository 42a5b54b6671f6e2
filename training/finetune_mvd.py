"""Trains the clip classifier on the clips that `training.preprocess` cut: data, network, engine, loop, in this order.

    python -m training.finetune_mvd --config training/configs/finetune-small.toml --clips clips --out runs/first
    deepspeed --num_gpus 2 --module training.finetune_mvd --config ... --clips clips --out runs/first
    python -m training.finetune_mvd --config ... --clips clips --out runs/first --dataset dataset --export models/first

Every setting has a flag and a key in the config file (``--help`` lists them; `training.finetune_knobs`). The run leaves
one folder (`training.runfolder`): log, curves, a state to go on from, and two model folders, ``best`` and ``last``, for
the service to load. Started again with the same settings it goes on, to the same result as if it had never
stopped.

With ``--dataset`` the best model is tuned on the data set's validation videos at the end, and evaluated on its test
videos into ``evaluation`` in the run's folder (`training.finetune_evaluation`). What fails there loses no model.

Several machines: list them in a file, one a line (``mouse1 slots=2``: name and GPUs). Code, clips and --out lie at the
same paths on all of them, --out on a disk that they share; pdsh is on the first, and ssh goes from it to all without a
password (or see section 4 of training/README.md). Then start

    deepspeed --hostfile hosts --module training.finetune_mvd --config ... --clips clips --out runs/first
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mousetal.errors import MousetalError, RecordError, SettingsError
from mousetal.mvd import VisionTransformer
from training import finetune_evaluation, memory, runfolder, runlock
from training.engine import Place, end_processes, make_engine, mean_over_processes, place_of, start_processes
from training.exitcodes import OK, end, guarded
from training.finetune_data import Data, length, load_data
from training.finetune_knobs import FREE, Knobs, disturbance, network_config
from training.judge import Judge
from training.keeper import Keeper, Memo
from training.knobs import add_flags, as_json, read
from training.learner import NETWORK, Learner, prepare
from training.loader import Batches, Recipe, batches
from training.losses import class_weights
from training.moments import start_weights
from training.optim import Group, cosine_schedule, parameter_groups, set_rates
from training.pixels import normalised
from training.runfolder import LAST, RunFolder
from training.start import load_start
from training.trainlog import TrainLog

MOTION_CLIPS = 400  # views that motion_start looks at

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps of the run, of an epoch, of the warm-up; ``first`` is the number of steps done already."""

    steps: int
    per_epoch: int
    warmup: int
    first: int


def build(knobs: Knobs, data: Data, recipe: Recipe, say: Say) -> Learner:
    """The network with its first weights."""
    torch.manual_seed(knobs.seed)
    network = VisionTransformer(network_config(knobs, len(data.classes)))
    network.is_checkpointed = knobs.checkpointing
    if knobs.init:
        came = load_start(network, Path(knobs.init), data.classes, knobs.init_classes, knobs.reset_head)
        say(f"start from {knobs.init}: {came}")
    elif knobs.motion_start:
        seen = [Batches(recipe)[i] for i in range(max(1, MOTION_CLIPS // (knobs.batch * knobs.num_sample)))]
        if any(one.error for one in seen):
            raise RecordError(next(one.error for one in seen if one.error))
        start_weights(network, normalised(torch.cat([one.pixels for one in seen])))
    return Learner(network, knobs.moments_share > 0)


def groups_of(learner: Learner, knobs: Knobs) -> list[Group]:
    """What the optimiser moves, by the network's own names."""
    named = [(name.removeprefix(NETWORK), parameter) for name, parameter in learner.named_parameters()]
    return parameter_groups(named, learner.network.config.depth, knobs.layer_decay, knobs.weight_decay)


def train(knobs: Knobs, data: Data, out: Path, place: Place) -> Memo:
    """One process's part of a run. Raises MousetalError."""
    folder = RunFolder(out)
    identity = {
        "knobs": as_json(knobs),
        "data": {"classes": list(data.classes), "clips": data.digest, "processes": place.world_size},
    }
    lost, state = folder.lost_state(), folder.last_state()
    folder.require_same(identity, FREE, as_json(Knobs()))
    plan = Schedule(*length(knobs, data.sampler.num_usable, place.world_size), runfolder.step_of(state))
    log = TrainLog(out, plan.first, plan.steps, knobs.print_every, is_silent=not place.is_first)
    if lost:
        log.say(f"warning: {lost}")
    if place.is_first:
        folder.begin(identity, runfolder.environment(place.device, place.world_size))

    recipe = Recipe(data.train, data.sampler, disturbance(knobs), knobs.batch, knobs.num_sample, knobs.erase,
                    place.rank, place.world_size)  # fmt: skip
    learner = build(knobs, data, recipe, log.say)
    needed = memory.estimate(learner, knobs, place.world_size, place.is_deepspeed)
    introduce(
        knobs, data, plan, place, f"{learner.num_parameters / 1e6:.1f} M parameters; a step needs {needed}", log.say
    )
    try:
        judge = Judge(learner.network.config, knobs, data, place, out)
        engine = make_engine(learner, groups_of(learner, knobs), knobs, place)
        keeper = Keeper(folder, engine, judge, log, place, knobs.ema)
        if state is not None:
            keeper.load(state)
        loop(knobs, data, recipe, plan, keeper)
    except RuntimeError as error:
        if memory.is_out_of_memory(error):
            raise SettingsError(memory.advice(knobs, needed, place)) from error
        raise
    finally:
        log.close()
    return keeper.memo


def loop(knobs: Knobs, data: Data, recipe: Recipe, plan: Schedule, keeper: Keeper) -> None:
    """The steps of the run that are still to do."""
    engine, place, log = keeper.engine, keeper.place, keeper.log
    scale = knobs.rate_scale(place.world_size)
    rates = cosine_schedule(
        knobs.lr * scale, knobs.min_lr * scale, plan.steps, plan.warmup, start=knobs.warmup_lr * scale
    )
    decays = cosine_schedule(knobs.weight_decay, knobs.decay_end, plan.steps)
    weights = class_weights(data.sampler.expected_counts(), knobs.class_weights)
    weights_C = torch.tensor(weights, dtype=torch.float32, device=place.device)  # noqa: N806  C classes
    stream = batches(recipe, plan.first * knobs.accumulation, plan.steps * knobs.accumulation, knobs.workers,
                     pinned=place.device.type == "cuda")  # fmt: skip
    for step in range(plan.first, plan.steps):
        engine.module.train()
        set_rates(engine.groups, float(rates[step]), float(decays[step]))
        total, norm, waited = torch.zeros((), device=place.device), None, 0.0
        for micro_step in range(knobs.accumulation):
            asked = time.monotonic()
            batch = keeper.readable(next(stream), step + 1)
            waited += time.monotonic() - asked
            seed = (knobs.seed, step, micro_step, place.rank)
            lesson = prepare(batch, knobs, len(data.classes), seed, place.device)
            with engine.computing():
                outputs = engine.module(lesson.clips.to(engine.dtype))
            loss = lesson.loss(outputs[0], outputs[1], knobs, weights_C)
            engine.backward(loss)
            norm = engine.step()
            total += loss.detach() / knobs.accumulation
        mean = mean_over_processes(float(total), place)
        require_finite(mean, norm if knobs.precision != "fp16" else None, step + 1, keeper.folder)
        keeper.after_step()
        values = {"loss": mean, "learning_rate": float(rates[step]), "weight_decay": float(decays[step])}
        log.step(step + 1, {**values, "gradient_norm": norm}, waited)
        is_end = step + 1 == plan.steps
        if is_end or (step + 1) % (knobs.validate_every or plan.per_epoch) == 0:
            keeper.validate(step + 1)
        if is_end or (step + 1) % (knobs.save_every or plan.per_epoch) == 0:
            keeper.save(step + 1)
    stream.close()


def require_finite(loss: float, norm: float | None, step: int, folder: RunFolder) -> None:
    """Stop before anything broken is saved. (In fp16 an infinite gradient is usual, and its step is not taken.)"""
    if np.isfinite(loss) and (norm is None or np.isfinite(norm)):
        return
    kept = folder.last_state()
    raise MousetalError(
        f"{folder.root}: the loss is {loss} and the gradient's length {norm} at step {step}. The state of "
        f"{kept.name if kept else 'the beginning'} is kept. Lower lr, set clip_norm = 1, or use bf16 or fp32, with "
        f"another --out{f'; --init {folder.root / LAST} starts from the weights of that state' if kept else ''}."
    )


def introduce(knobs: Knobs, data: Data, plan: Schedule, place: Place, needs: str, say: Say) -> None:
    """What the run is about, before it starts."""
    usable = data.sampler.num_usable
    say(f"{len(data.train)} training clips, {usable} of them usable; {len(data.validation)} to validate on")
    say(f"classes: {', '.join(data.classes)}; short ones: {', '.join(data.short_names) or 'none'}")
    say(f"windows: {knobs.num_frames} frames, every {knobs.sampling_rate}. at {data.spec.trained_fps:g} fps")
    if knobs.class_weights != "none" and (knobs.class_shares or knobs.sampling == "equal"):
        drawn = "class_shares are given" if knobs.class_shares else "sampling = equal"
        effect = "they work against the shares" if knobs.class_shares else "they do next to nothing"
        say(f"warning: class_weights = {knobs.class_weights} weigh classes by how often they are drawn, and {drawn}: "
            f"{effect}. Set class_weights = none, or sampling = natural without class_shares.")  # fmt: skip
    if usable < knobs.total_batch(place.world_size):
        say(f"only {usable} clips for steps of {knobs.total_batch(place.world_size)} windows: an epoch is one step, "
            "and clips come up more than once in it")  # fmt: skip
    say(f"{needs} on {place.device}, {place.world_size} of them")
    say(f"{plan.steps} steps" + (f", going on after {plan.first}" if plan.first else ""))


def finetune(knobs: Knobs, clips: Path, out: Path) -> Memo:
    """Train as the settings say and leave the run in ``out``. Raises MousetalError for what can be expected to fail.

    The caller sees to it that nothing else works in ``out`` (`training.runlock`).
    """
    place = place_of(knobs)
    start_processes(place)

    def say(text: str) -> None:
        if place.is_first:
            print(text, file=sys.stderr)

    return train(knobs, load_data(knobs, clips, say), out, place)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--clips", type=Path, required=True, help="folder that training.preprocess wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--dataset", type=Path, help="data set to tune and evaluate the best model on, at the end")
    parser.add_argument("--detector-dir", type=Path, help="detector for that (default: the data set's stored boxes)")
    parser.add_argument("--export", type=Path, help="model folder to write at the end, from the best weights")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads for torch; 0: as many as it likes")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # from DeepSpeed's launcher
    add_flags(parser, Knobs)
    arguments = parser.parse_args(argv)
    return guarded(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    finetune_evaluation.check(arguments.dataset, arguments.detector_dir)
    knobs = read(Knobs, arguments.config, arguments)
    place = place_of(knobs)
    start_processes(place)
    with runlock.hold(arguments.out, place.rank, place.world_size):
        return _run_alone(arguments, knobs, place)


def _run_alone(arguments: argparse.Namespace, knobs: Knobs, place: Place) -> int:
    """With the run's folder for itself: train, then do what is to follow."""
    memo = finetune(knobs, arguments.clips, arguments.out)
    end_processes(place)
    if not place.is_first:
        return OK  # the first process says the same, and does what is left
    if memo.skipped:
        print(f"{len(memo.skipped)} clips could not be read and were skipped {memo.skipped.total()} times:",
              *sorted(memo.skipped), sep="\n  ", file=sys.stderr)  # fmt: skip
    best = f"best merit {memo.best:.3f} at step {memo.best_step}" if memo.best >= 0 else "best is the last weights"
    print(f"done: {best}; models in {arguments.out}/best and /last")
    code = OK
    if arguments.dataset:
        code = finetune_evaluation.evaluate_run(
            finetune_evaluation.Evaluation(arguments.out, arguments.dataset, arguments.detector_dir, knobs.device)
        )
    if arguments.export:  # after the tuning, so that it has the rules
        runfolder.export_best(arguments.out, arguments.export)
        print(f"{arguments.export}: the best weights as a model folder (MODEL_DIR)")
    return code


if __name__ == "__main__":
    end(main())
