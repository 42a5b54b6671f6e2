"""Trains the demo classifier: configuration, data, network, optimiser, loop, in this order.

    python -m training.demo_loop --config training/configs/demo-mvd.toml --out work/demo-mvd

On clips that were cut straight from synthetic films: from fresh weights, or (``start``) from those of another run. It
leaves one folder: knobs.json, log.jsonl and checkpoint.pt; started again, it goes on from its last checkpoint. For your
own videos there is `training.finetune_mvd`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mousetal.mvd.vit import VisionTransformer, VitConfig
from mousetal.types import BoutRule, ClassifierSpec
from training import runs
from training.augment import augment, centre, decode_strip, draw_batch, to_tensor
from training.moments import Moments, start_weights
from training.samples import Clips, load_clips
from training.synthetic import BEHAVIORS

CLASSES = ("idle", *BEHAVIORS)


@dataclass(frozen=True)
class Knobs:
    """Everything that can be turned, with its unit where it has one."""

    seed: int = 0
    input_size: int = 80  # pixels
    num_frames: int = 16
    sampling_rate: int = 1
    stride: int = 4  # sampled frames
    trained_fps: float = 30.0
    crop_padding: float = 0.05  # of the square's side, on each edge
    dim: int = 96
    depth: int = 3
    heads: int = 4
    drop_path: float = 0.0
    moments_share: float = 1.0  # weight of the loss per moment, see Moments
    first_film: int = 10_000
    films: int = 260  # about 48 clips each
    first_turning_film: int = 13_000
    turning_films: int = 0  # about 56 clips each, of quick turns that are no twitches
    class_shares: tuple[float, ...] = (1, 1, 1)  # how often a clip of each class is drawn
    start: str = ""  # folder of a run to go on from, with its averaged weights; empty: fresh weights
    batch: int = 32
    cycles: tuple[int, ...] = (2_000, 2_500)  # steps; the learning rate falls over each and then starts anew
    warmup: int = 50  # steps at the start of each cycle
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.02
    clip_norm: float = 1.0
    ema: float = 0.995  # share kept per step by the averaged weights, which are the ones that are saved
    save_every: int = 100

    @property
    def steps(self) -> int:
        return sum(self.cycles)


def spec_of(knobs: Knobs) -> ClassifierSpec:
    """What training shares with inference: how windows and crops are taken."""
    return ClassifierSpec(
        name="in training", sha256="", classes=CLASSES, background=0, num_frames=knobs.num_frames,
        sampling_rate=knobs.sampling_rate, stride=knobs.stride, input_size=knobs.input_size,
        crop_padding=knobs.crop_padding, trained_fps=knobs.trained_fps, is_multi_label=False,
        rules=(BoutRule(),) * len(CLASSES),
    )  # fmt: skip


def network_config(knobs: Knobs) -> VitConfig:
    """The sizes of the network that the knobs ask for."""
    return VitConfig(
        num_classes=len(CLASSES), img_size=knobs.input_size, num_frames=knobs.num_frames,
        dim=knobs.dim, depth=knobs.depth, heads=knobs.heads, drop_path=knobs.drop_path,
    )  # fmt: skip


@torch.inference_mode()
def class_accuracy(network: nn.Module, data: Clips) -> list[float]:
    """Per class, the share of its clips that the network gets right."""
    network.eval()
    guesses = []
    for start in range(0, len(data.strips), 32):
        clips = [centre(decode_strip(strip)) for strip in data.strips[start : start + 32]]
        guesses.append(network(to_tensor(clips)).argmax(dim=1).numpy())
    is_right = np.concatenate(guesses) == data.labels
    return [float(is_right[data.labels == label].mean()) for label in range(len(CLASSES))]


def load_data(knobs: Knobs, cache: Path) -> Clips:
    """The clips that the knobs ask for, rendered if need be."""
    films = range(knobs.first_film, knobs.first_film + knobs.films)
    turns = range(knobs.first_turning_film, knobs.first_turning_film + knobs.turning_films)
    return load_clips(films, spec_of(knobs), cache, turns)


def some_pixels(data: Clips, rng: np.random.Generator, clips: int = 400) -> torch.Tensor:
    """Clips for `start_weights` to look at."""
    chosen = rng.choice(len(data.strips), min(clips, len(data.strips)), replace=False)
    return to_tensor([augment(decode_strip(data.strips[i]), rng) for i in chosen])


def learning_rate(step: int, knobs: Knobs) -> float:
    """In each cycle a linear warm-up, then half a cosine down to a hundredth (Loshchilov and Hutter 2017, "SGDR")."""
    cycle = 0
    while step >= knobs.cycles[cycle]:
        step, cycle = step - knobs.cycles[cycle], cycle + 1
    if step < knobs.warmup:
        return knobs.learning_rate * (step + 1) / knobs.warmup
    done = (step - knobs.warmup) / max(1, knobs.cycles[cycle] - knobs.warmup)
    return knobs.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(knobs: Knobs, data: Clips, out: Path) -> VisionTransformer:
    """The network with averaged weights after ``knobs.steps`` steps."""
    torch.manual_seed(knobs.seed)
    network = VisionTransformer(network_config(knobs))
    if knobs.start:
        network.load_state_dict(runs.averaged_weights(Path(knobs.start)))
    else:
        start_weights(network, some_pixels(data, np.random.default_rng(knobs.seed)))
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(knobs.ema)
    )
    moments = Moments(network)
    parameters = [*network.parameters(), *moments.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": knobs.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},  # biases and norms
    ]
    optimiser = torch.optim.AdamW(groups, knobs.learning_rate, betas=(0.9, 0.98))
    first = runs.resume(out, network=network, average=average, moments=moments, optimiser=optimiser)
    log = runs.Log(out, knobs, first)
    network.train()
    for step in range(first, knobs.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, knobs)
        rng = np.random.default_rng((knobs.seed, step))
        torch.manual_seed(int(rng.integers(2**31)))
        clips, labels, frame_labels = draw_batch(data, knobs.batch, knobs.class_shares, rng)
        loss = F.cross_entropy(network(clips), labels, label_smoothing=knobs.label_smoothing)
        loss = loss + knobs.moments_share * moments.loss(frame_labels)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, knobs.clip_norm)
        optimiser.step()
        average.update_parameters(network)
        log.step(step, float(loss.detach()), learning_rate(step, knobs))
        if (step + 1) % knobs.save_every == 0 or step + 1 == knobs.steps:
            runs.save(out, step + 1, network=network, average=average, moments=moments, optimiser=optimiser)
    averaged: VisionTransformer = average.module
    return averaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="TOML file of knobs")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--cache", type=Path, default=Path("work/cache"), help="folder for rendered samples")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    knobs = runs.read_knobs(Knobs, arguments.config)
    started = time.monotonic()
    train(knobs, load_data(knobs, arguments.cache), arguments.out)
    print(json.dumps({"minutes": round((time.monotonic() - started) / 60, 1)}))


if __name__ == "__main__":
    main()
