"""Trains the clip classifier on the clips of `training.preprocess`: data, network, optimiser, loop, in this order.

    python -m training.finetune_mvd --config training/configs/finetune-small.toml --clips clips --out runs/first
    deepspeed --num_gpus 2 --module training.finetune_mvd --config ... --clips clips --out runs/first

Every setting has a flag and a key in the config file (``--help`` lists them; `training.finetune_knobs`). The run leaves
one folder (`training.runstates`): log, curves, states to go on from, and two model folders, ``best`` and ``last``, that
the service loads as they are. Started again with the same settings it goes on, to the same result as if it had never
stopped.

Several machines: list them in a file, one a line (``mouse1 slots=2``: name and GPUs), with the code, the clips and
--out at the same paths on all of them (--out on a disk that all share), ssh without a password between them; start

    deepspeed --hostfile hosts --module training.finetune_mvd --config ... --clips clips --out runs/first
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import mousetal.mvd
from mousetal.errors import MousetalError, SettingsError, VideoError
from mousetal.execution import AUTOCAST_TYPES
from mousetal.mvd import VisionTransformer
from mousetal.types import ClassifierSpec
from training import memory, runstates
from training.clips import ARRAYS_NAME, TABLE_NAME, Clip, ClipTable, read_table
from training.engine import Engine, Place, gathered, make_engine, mean_over_processes, place_of, start_processes
from training.finetune_card import card
from training.finetune_knobs import FREE, Knobs, disturbance, model_config, network_config, spec_of
from training.knobs import add_flags, as_json, read
from training.learner import NETWORK, Learner, prepare
from training.loader import Batch, Batches, Recipe, batches
from training.losses import class_weights
from training.moments import start_weights
from training.optim import cosine_schedule, parameter_groups, set_rates
from training.pixels import normalised
from training.runstates import RunFolder
from training.sampler import Sampler, class_shares
from training.start import load_start
from training.trainlog import TrainLog
from training.validation import Validation, Windows, joined, validate
from training.weightaverage import Average
from training.windowlabels import short_classes

MOTION_CLIPS = 400  # that motion_start looks at
MEMO_NAME = "memo.pt"


@dataclass(frozen=True, eq=False)
class Data:
    """What a run learns from; ``digest`` tells one set of clips from another."""

    classes: tuple[str, ...]
    spec: ClassifierSpec
    is_short: tuple[bool, ...]
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    sampler: Sampler
    digest: str


@dataclass
class Memo:
    """What a run remembers beside weights: the best merit so far, and clips that could not be read."""

    best: float = -1.0
    best_step: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def load_data(knobs: Knobs, folder: Path, say: Any = print) -> Data:
    """The clips in ``folder``, checked for whether anything can be learned from them. Raises SettingsError."""
    table = read_table(folder)
    train, validation = table.in_split("train"), table.in_split("validation")
    if not train:
        raise SettingsError(f"{folder}: no clips of the split 'train'. Run training.preprocess with a split.")
    counts = Counter(clip.behavior for clip in train)
    if len(counts) < 2:
        raise SettingsError(
            f"{folder}: all {len(train)} training clips are of one class, {next(iter(counts))!r}. A classifier needs "
            "clips of at least two; label more, or let preprocess cut idle clips."
        )
    for name in table.classes:
        if name not in counts:
            say(f"warning: no training clip shows {name!r}: the model will never find it")
    if not validation:
        say("warning: no clips of the split 'validation': best will be the last weights")
    usual = Counter(float(clip.fps) for clip in train).most_common(1)[0][0]
    spec = spec_of(knobs, table.classes, knobs.trained_fps or usual)
    is_short = short_classes(train, spec)
    shares = np.array(knobs.class_shares) if knobs.class_shares else class_shares(train, table.classes, knobs.sampling)
    if len(shares) != len(table.classes):
        raise SettingsError(f"class_shares: one per class ({', '.join(table.classes)}) expected, got {len(shares)}")
    sampler = Sampler(train, spec, is_short, shares, knobs.own_share, knobs.seed)
    return Data(table.classes, spec, is_short, train, validation, sampler, _digest(table))


def _digest(table: ClipTable) -> str:
    digest = hashlib.sha256()
    for name in (TABLE_NAME, ARRAYS_NAME):
        digest.update((table.folder / name).read_bytes())
    return digest.hexdigest()


def length(knobs: Knobs, num_clips: int, world_size: int) -> tuple[int, int, int]:
    """Steps of the run, of an epoch, and of the warm-up. An epoch has at least one step."""
    per_epoch = max(1, num_clips // knobs.total_batch(world_size))
    steps = knobs.steps or knobs.epochs * per_epoch
    warmup = knobs.warmup_steps or round(knobs.warmup_epochs * per_epoch)
    return steps, per_epoch, min(warmup, steps)


def build(knobs: Knobs, data: Data, recipe: Recipe, say: Any = print) -> Learner:
    """The network with its first weights."""
    torch.manual_seed(knobs.seed)
    network = VisionTransformer(network_config(knobs, len(data.classes)))
    network.is_checkpointed = knobs.checkpointing
    if knobs.init:
        came = load_start(network, Path(knobs.init), data.classes, knobs.init_classes, knobs.reset_head)
        say(f"start from {knobs.init}: {came}")
    elif knobs.motion_start:
        count = max(1, min(MOTION_CLIPS, 4 * len(data.train)) // (knobs.batch * knobs.num_sample))
        seen = [Batches(recipe)[number] for number in range(count)]
        readable = [one.pixels for one in seen if not one.error]
        if not readable:
            raise VideoError(seen[0].error)
        start_weights(network, normalised(torch.cat(readable)))
    return Learner(network, knobs.moments_share > 0)


def named_groups(learner: Learner, knobs: Knobs) -> list[dict[str, Any]]:
    """Parameter groups by the network's own names."""
    named = [(name.removeprefix(NETWORK), parameter) for name, parameter in learner.named_parameters()]
    return parameter_groups(named, learner.network.config.depth, knobs.layer_decay, knobs.weight_decay)


class Run:
    """One process's part of a run: everything the loop needs between steps."""

    def __init__(self, knobs: Knobs, data: Data, out: Path, place: Place) -> None:
        self.knobs, self.data, self.place = knobs, data, place
        self.folder = RunFolder(out)
        self.steps, self.per_epoch, self.warmup = length(knobs, data.sampler.num_usable, place.world_size)
        self.identity = {
            "knobs": as_json(knobs),
            "data": {"classes": list(data.classes), "clips": data.digest, "processes": place.world_size},
        }
        state = self.folder.last_state()
        if state is not None:
            self.folder.require_same(self.identity, FREE)
        first = int(state.name.removeprefix("step-")) if state else 0
        self.log = TrainLog(out, first, self.steps, knobs.print_every, is_silent=not place.is_first)
        if place.is_first:
            self.folder.begin(self.identity, runstates.environment(place.device, place.world_size))
        self.recipe = Recipe(
            data.train, data.sampler, disturbance(knobs), knobs.batch, knobs.num_sample, knobs.erase, place.rank,
            place.world_size,
        )  # fmt: skip
        learner = build(knobs, data, self.recipe, self.log.say)
        config = learner.network.config
        parameters = sum(p.numel() for p in learner.parameters())
        self.needed = memory.estimate(config, parameters, knobs, place.world_size, place.is_deepspeed)
        self.engine: Engine = make_engine(learner, named_groups(learner, knobs), knobs, place)
        # Validation's own network in float32, whichever way the engine keeps its weights.
        self.judge = VisionTransformer(replace(config, drop_path=0.0)).to(place.device)
        self.average = Average(self._network_weights(), knobs.ema) if knobs.ema else None
        self.memo, self.first = Memo(), first
        if state is not None:
            self._load(state)
        self._introduce(parameters)

    def _introduce(self, parameters: int) -> None:
        data, say = self.data, self.log.say
        short = [name for name, short in zip(data.classes, data.is_short, strict=True) if short]
        say(
            f"{len(data.train)} training clips, {data.sampler.num_usable} usable; {len(data.validation)} to validate on"
        )
        say(f"classes: {', '.join(data.classes)}; short: {', '.join(short) or 'none'}; {data.spec.trained_fps:g} fps")
        if data.sampler.num_usable < self.knobs.total_batch(self.place.world_size):
            say("fewer clips than a step takes windows: an epoch is one step, clips come up more than once in it")
        say(f"{parameters / 1e6:.1f} M parameters on {self.place.device}; a step needs {self.needed}")
        say(f"{self.steps} steps" + (f", going on after {self.first}" if self.first else ""))

    def _network_weights(self) -> Any:
        """Name and value of the network's own parameters; with ZeRO 3 all processes must ask together."""
        for name, value in self.engine.weights():
            if name.startswith(NETWORK):
                yield name.removeprefix(NETWORK), value

    def train(self) -> Memo:
        """The loop."""
        knobs, engine, place = self.knobs, self.engine, self.place
        scale = knobs.rate_scale(place.world_size)
        rates = cosine_schedule(knobs.lr * scale, knobs.min_lr * scale, self.steps, self.warmup)
        decays = cosine_schedule(knobs.weight_decay, knobs.decay_end, self.steps)
        weights = None
        if knobs.class_weights != "none":
            shares = class_weights(self.data.sampler.expected_counts(), knobs.class_weights)
            weights = torch.tensor(shares, dtype=torch.float32, device=place.device)
        stream = batches(self.recipe, self.first * knobs.accumulation, self.steps * knobs.accumulation, knobs.workers,
                         pinned=place.device.type == "cuda")  # fmt: skip
        for step in range(self.first, self.steps):
            engine.module.train()
            set_rates(engine.groups, float(rates[step]), float(decays[step]))
            loss_sum, norm, waited = torch.zeros((), device=place.device), None, 0.0
            for micro in range(knobs.accumulation):
                asked = time.monotonic()
                batch = self._readable(next(stream), step)
                waited += time.monotonic() - asked
                seed = (knobs.seed, step, micro, place.rank)
                lesson = prepare(batch, knobs, len(self.data.classes), (*seed, 3), place.device)
                torch.manual_seed(int(np.random.default_rng((*seed, 4)).integers(2**62)))  # drop path
                with engine.computing():
                    outputs = engine.module(lesson.clips.to(engine.dtype))
                loss = lesson.loss(*outputs, knobs, weights)
                engine.backward(loss)
                norm = engine.step()
                loss_sum += loss.detach() / knobs.accumulation
            mean = mean_over_processes(float(loss_sum), place)
            self._require_finite(mean, norm, step + 1)
            if self.average is not None:
                self.average.update(self._network_weights())
            values = {"loss": mean, "learning_rate": float(rates[step]), "weight_decay": float(decays[step]),
                      "gradient_norm": norm}  # fmt: skip
            self.log.step(step + 1, values, waited)
            self._after(step + 1)
        stream.close()
        self.log.close()
        return self.memo

    def _readable(self, batch: Batch, step: int) -> Batch:
        """The batch, its skipped clips noted. Raises VideoError when no clip could be read."""
        for clip, reason in batch.skipped:
            self.memo.skipped[clip] += 1
            if self.memo.skipped[clip] == 1:
                self.log.say(f"warning: skipped {reason}")
                self.log.event(step, "skipped", {"clip": clip, "reason": reason})
        if batch.error:
            raise VideoError(batch.error)
        return batch

    def _require_finite(self, loss: float, norm: float | None, step: int) -> None:
        """Stop before anything broken is saved. In fp16 an infinite gradient is usual: that step was skipped."""
        is_broken = not np.isfinite(loss) or (
            norm is not None and not np.isfinite(norm) and self.knobs.precision != "fp16"
        )
        if is_broken:
            kept = self.folder.last_state()
            raise MousetalError(
                f"{self.folder.root}: the loss is {loss} and the gradient's length {norm} at step {step}. The state of "
                f"{kept.name if kept else 'the beginning'} is kept. Lower lr, set clip_norm = 1, or use bf16 or fp32."
            )

    def _after(self, step: int) -> None:
        """Validate and save when it is time; a validation is always saved with the weights it was about."""
        is_end = step == self.steps
        validates = is_end or step % (self.knobs.validate_every or self.per_epoch) == 0
        if validates:
            self._validate(step)
        if is_end or step % (self.knobs.save_every or self.per_epoch) == 0:
            self._save(step)

    def _validate(self, step: int) -> None:
        """Score the weights and their average, and keep the better one as a model folder if it is the best so far."""
        candidates = {"weights": {n: v.detach().float().clone() for n, v in self._network_weights()}}
        if self.average is not None:
            candidates["average"] = self.average.values
        if not self.data.validation:
            chosen = candidates.get("average", candidates["weights"])
            self._export("best", chosen, step, {"note": "no validation clips: the last weights"})
            return
        for name, values in candidates.items():
            found = self._score(values)
            self.log.event(step, "validation", {"of": name, **summary(found, self.data.classes)})
            self.log.say(
                f"  validation of the {name}: frame F1 {shown(found.frame_f1)}, event F1 {shown(found.event_f1)}, "
                f"merit {found.merit:.3f}{' (best so far)' if found.merit > self.memo.best else ''}"
            )
            for clip, reason in found.skipped:
                self.memo.skipped[clip] += 1
                self.log.say(f"warning: skipped {reason}")
            if found.merit > self.memo.best:
                self.memo.best, self.memo.best_step = found.merit, step
                self._export("best", values, step, {"of": name, **summary(found, self.data.classes)})

    def _score(self, values: dict[str, Tensor]) -> Validation:
        self.judge.load_state_dict(values)
        data, place = self.data, self.place
        dataset = Windows(data.validation, data.spec, data.is_short)
        numbers = range(place.rank, len(data.validation), place.world_size)
        precision = AUTOCAST_TYPES[self.knobs.precision]
        batch = max(1, int(1.5 * self.knobs.batch))
        part = validate(
            self.judge, dataset, numbers, batch, self.knobs.workers, self.knobs.event_tolerance_s, precision
        )
        return joined(gathered(part, place))

    def _export(self, name: str, values: dict[str, Tensor], step: int, metrics: dict[str, Any]) -> None:
        if not self.place.is_first:
            return
        self.judge.load_state_dict(values)
        provenance = {
            "made_by": "python -m training.finetune_mvd", "step": step, "steps": self.steps, "validation": metrics,
            "short_classes": [n for n, short in zip(self.data.classes, self.data.is_short, strict=True) if short],
            "knobs": self.identity["knobs"], "clips_sha256": self.data.digest, "commit": runstates.commit_of_code(),
        }  # fmt: skip
        config = model_config(self.data.spec, provenance)
        text = card(self.folder.root.name, self.data.spec, len(self.data.train), step, metrics)
        mousetal.mvd.save(self.folder.root / name, self.judge, config, text)

    def _save(self, step: int) -> None:
        """The state to go on from, and the newest weights as a model folder."""
        if self.folder.has_state(step):
            return
        counts = sum(gathered(self.memo.skipped, self.place), Counter())
        with self.folder.writing(step) as partial:
            self.engine.save(partial)
            if self.place.is_first:
                average = self.average.state_dict() if self.average is not None else None
                memo = {"best": self.memo.best, "best_step": self.memo.best_step, "skipped": dict(counts)}
                with (partial / MEMO_NAME).open("wb") as file:
                    torch.save({"memo": memo, "average": average}, file)
        gathered(None, self.place)  # nobody renames while another still writes
        if self.place.is_first:
            self.folder.commit(step)
        values = {n: v.detach().float().clone() for n, v in self._network_weights()}
        self._export("last", self.average.values if self.average is not None else values, step, {})

    def _load(self, state: Path) -> None:
        self.engine.load(state)
        stored = torch.load(state / MEMO_NAME, map_location="cpu", weights_only=True)
        skipped = stored["memo"]["skipped"] if self.place.is_first else {}
        self.memo = Memo(stored["memo"]["best"], stored["memo"]["best_step"], Counter(skipped))
        if self.average is not None:
            self.average.load_state_dict(stored["average"])


def summary(found: Validation, classes: tuple[str, ...]) -> dict[str, Any]:
    """A validation as a log holds it: the means, and frame and event F1 of each class; null where undefined."""
    per_class = {
        name: {"frame_f1": rounded(one.frame_f1), "event_f1": rounded(one.event_f1)}
        for i, (name, one) in enumerate(zip(classes, found.counts, strict=True))
        if i != found.background
    }
    return {
        "merit": rounded(found.merit), "frame_f1": rounded(found.frame_f1), "event_f1": rounded(found.event_f1),
        "loss": rounded(found.loss), "classes": per_class,
    }  # fmt: skip


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def shown(value: float | None) -> str:
    return "NA" if value is None else f"{value:.3f}"


def finetune(knobs: Knobs, clips: Path, out: Path) -> Memo:
    """Train as the settings say and leave the run in ``out``. Raises MousetalError for what can be expected to fail."""
    place = place_of(knobs)
    start_processes(place)
    run: Run | None = None
    try:
        run = Run(knobs, load_data(knobs, clips), out, place)
        return run.train()
    except RuntimeError as error:
        if run is not None and memory.is_out_of_memory(error):
            raise SettingsError(memory.advice(knobs, run.needed, place.is_deepspeed)) from error
        raise


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--clips", type=Path, required=True, help="folder that training.preprocess wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads for torch; 0: as many as it likes")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # from DeepSpeed's launcher
    add_flags(parser, Knobs)
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        memo = finetune(read(Knobs, arguments.config, arguments), arguments.clips, arguments.out)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except MousetalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; start again to go on", file=sys.stderr)
        return 130
    except Exception:  # noqa: BLE001  the last resort: say that it is our fault
        traceback.print_exc()
        return 3
    if memo.skipped:
        print(f"{len(memo.skipped)} clips could not be read and were skipped {memo.skipped.total()} times:",
              *sorted(memo.skipped), sep="\n  ", file=sys.stderr)  # fmt: skip
    print(f"done: best merit {memo.best:.3f} at step {memo.best_step}; models in {arguments.out}/best and /last")
    return 0


if __name__ == "__main__":
    sys.exit(main())
