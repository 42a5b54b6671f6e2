"""Trains the animal detector: configuration, data, network, optimiser, loop, in this order.

    python -m training.train_detector --config training/configs/demo-detector.toml --out work/demo-detector

The loss is RT-DETRv2's own, as the transformers library computes it. A run leaves one folder: knobs.json, log.jsonl and
checkpoint.pt; started again, it goes on from its last checkpoint.
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
from torch import Tensor, nn

from mousetal.detector.config import NetworkConfig
from mousetal.detector.network import build
from mousetal.geometry import iou
from training import runs
from training.real_boxes import load_real
from training.samples import Images, load_images


@dataclass(frozen=True)
class Knobs:
    """Everything that can be turned, with its unit where it has one."""

    seed: int = 0
    input_size: int = 160  # pixels; the whole frame is squeezed into this square
    width: int = 16  # channels of the first stage; the next ones double
    hidden_dim: int = 64
    decoder_layers: int = 2
    num_queries: int = 30
    num_denoising: int = 10  # noisy copies of the true boxes per image; the library's 100 cost more than all the rest
    first_film: int = 11_000
    films: int = 500  # 12 pictures each
    real: tuple[str, ...] = ()  # folders of real boxed frames; those that are absent are left out
    batch: int = 16
    steps: int = 4_000
    warmup: int = 200
    learning_rate: float = 6e-4
    weight_decay: float = 1e-4
    clip_norm: float = 0.5
    ema: float = 0.998  # share kept per step by the averaged weights, which are the ones that are saved
    save_every: int = 250


def network_config(knobs: Knobs) -> NetworkConfig:
    """The sizes of the network that the knobs ask for."""
    return NetworkConfig(
        num_classes=1, depths=(1, 1, 1, 1), stem_width=knobs.width, widths=tuple(knobs.width << i for i in range(4)),
        encoder_dim=knobs.hidden_dim, encoder_ffn=2 * knobs.hidden_dim, hidden_dim=knobs.hidden_dim,
        decoder_ffn=2 * knobs.hidden_dim, decoder_layers=knobs.decoder_layers, eval_layer=knobs.decoder_layers - 1,
        num_heads=4, num_queries=knobs.num_queries,
    )  # fmt: skip


def load_data(knobs: Knobs, cache: Path) -> Images:
    """Synthetic pictures and, where their folders are present, real ones."""
    parts = [load_images(range(knobs.first_film, knobs.first_film + knobs.films), knobs.input_size, cache)]
    present = [folder for folder in map(Path, knobs.real) if folder.exists()]
    parts += [load_real(folder, knobs.input_size, is_held_out=False, seed=knobs.seed) for folder in present]
    return Images(np.concatenate([p.images for p in parts]), np.concatenate([p.boxes for p in parts]))


def draw_batch(data: Images, size: int, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """A random batch: pixels in 0..1, mirrored and re-lit; labels as the loss wants them."""
    chosen = rng.integers(len(data.images), size=size)
    pixels, labels = [], []
    for image, box in zip(data.images[chosen].astype(np.float32) / 255, data.boxes[chosen], strict=True):
        cx, cy, w, h = box
        if rng.random() < 0.5:
            image, cx = image[:, ::-1], 1 - cx
        if rng.random() < 0.5:
            image, cy = image[::-1], 1 - cy
        if rng.random() < 0.5:
            image, cx, cy, w, h = image.transpose(1, 0, 2), cy, cx, h, w
        if rng.random() < 0.15:
            image = 1 - image
        if rng.random() < 0.3:
            image = np.broadcast_to(image.mean(axis=2, keepdims=True), image.shape)
        image = np.clip((image * rng.uniform(0.6, 1.4, 3) - 0.5) * rng.uniform(0.7, 1.3) + 0.5, 0, 1)
        pixels.append(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)))
        labels.append({"class_labels": torch.zeros(1, dtype=torch.long), "boxes": torch.tensor([[cx, cy, w, h]])})
    return torch.stack(pixels), labels


@torch.inference_mode()
def average_precision(network: nn.Module, data: Images, min_iou: float = 0.5) -> float:
    """AP (all-point) on pictures with one true box each; the network's every query is a candidate."""
    network.eval()
    scores: list[float] = []
    hits: list[bool] = []
    for start in range(0, len(data.images), 16):
        images = torch.from_numpy(data.images[start : start + 16]).permute(0, 3, 1, 2).float() / 255
        found = network(pixel_values=images)
        for logits, boxes, truth in zip(found.logits, found.pred_boxes, data.boxes[start : start + 16], strict=True):
            is_taken = False
            for query in logits[:, 0].argsort(descending=True).tolist():
                is_hit = not is_taken and iou(_corners(boxes[query].numpy()), _corners(truth)) >= min_iou
                is_taken |= is_hit
                scores.append(float(logits[query, 0]))
                hits.append(is_hit)
    network.train()
    correct = np.cumsum(np.array(hits)[np.argsort(-np.array(scores), kind="stable")])
    precision = correct / np.arange(1, len(correct) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], correct / len(data.images)])
    return float((np.diff(recall) * best_from_here).sum())


def _corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])


def learning_rate(step: int, knobs: Knobs) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step < knobs.warmup:
        return knobs.learning_rate * (step + 1) / knobs.warmup
    done = (step - knobs.warmup) / max(1, knobs.steps - knobs.warmup)
    return knobs.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(knobs: Knobs, data: Images, out: Path) -> nn.Module:
    """The network with averaged weights after ``knobs.steps`` steps."""
    torch.manual_seed(knobs.seed)
    network = build(network_config(knobs))
    network.config.num_denoising = knobs.num_denoising
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(knobs.ema), use_buffers=True
    )
    optimiser = torch.optim.AdamW(network.parameters(), knobs.learning_rate, weight_decay=knobs.weight_decay)
    first = runs.resume(out, network=network, average=average, optimiser=optimiser)
    log = runs.Log(out, knobs, first)
    network.train()
    for step in range(first, knobs.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, knobs)
        rng = np.random.default_rng((knobs.seed, step))
        torch.manual_seed(int(rng.integers(2**31)))
        pixels, labels = draw_batch(data, knobs.batch, rng)
        loss: Tensor = network(pixel_values=pixels, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), knobs.clip_norm)
        optimiser.step()
        average.update_parameters(network)
        log.step(step, float(loss.detach()), learning_rate(step, knobs))
        if (step + 1) % knobs.save_every == 0 or step + 1 == knobs.steps:
            runs.save(out, step + 1, network=network, average=average, optimiser=optimiser)
    return average.module


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
