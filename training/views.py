"""A training view of a window: cut where inference cuts, then disturbed.

Without any augmentation a view is what inference sees, to the bit: the square around the union of the animal's boxes,
by `mousetal.geometry`. Augmentation moves and scales that square first, so that all is cut and resized once, from the
full picture; then come RandAugment, mirroring, turns and light. All of it is the same for every frame of a view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mousetal.geometry import crop_clip, square, union
from mousetal.intervals import BoolArray
from mousetal.types import BoxInt, Float32Array, UInt8Array
from training import randaugment
from training.randaugment import Policy

TRIES = 10  # at a rectangle that fits, before giving up


@dataclass(frozen=True, slots=True)
class Disturbance:
    """How views may differ from what inference sees; the default is not at all.

    ``area`` and ``aspect`` bound the part of the square that is cut (1 is all of it; more shows surroundings);
    ``box_jitter`` is the standard deviation of every box edge, in shares of the box; ``mirror`` and ``backwards`` are
    probabilities; ``turns`` allows quarter turns, for cameras from above; ``light`` is how far brightness and colour
    go, in shares.
    """

    policy: Policy | None = None
    area: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (1.0, 1.0)
    box_jitter: float = 0.0
    mirror: float = 0.0
    turns: bool = False
    backwards: float = 0.0
    light: float = 0.0


def cut(frames: UInt8Array, boxes_xyxy: Float32Array, padding: float, size: int) -> UInt8Array:
    """The view without any disturbance, uint8 (T, size, size, 3), as inference cuts it.

    ``frames`` are uint8 (T, height, width, 3); ``boxes_xyxy`` (T, 4) the animal in their pixels, NaN where unknown, but
    not everywhere.
    """
    return crop_clip(list(frames), square(union(_known(boxes_xyxy)), padding), size)


def view(
    frames: UInt8Array, boxes_xyxy: Float32Array, padding: float, size: int, how: Disturbance, rng: np.random.Generator
) -> tuple[UInt8Array, bool]:
    """A disturbed view, uint8 (T, size, size, 3), and whether it runs backwards. Arguments as for `cut`."""
    boxes = _known(boxes_xyxy).astype(np.float64)
    if how.box_jitter:
        sides = boxes[:, 2:] - boxes[:, :2]
        boxes = boxes + rng.normal(0, how.box_jitter, boxes.shape) * np.tile(sides, 2)
        boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
    crop = resized_crop(square(union(boxes), padding), how.area, how.aspect, rng)
    clip = crop_clip(list(frames), crop, size)
    if how.policy is not None:
        clip = randaugment.apply(clip, randaugment.draw(how.policy, rng))
    if rng.random() < how.mirror:
        clip = clip[:, :, ::-1]
    if how.turns:
        clip = np.rot90(clip, int(rng.integers(4)), axes=(1, 2))
    if how.light:
        clip = relit(clip, how.light, rng)
    is_backwards = bool(rng.random() < how.backwards)
    return np.ascontiguousarray(clip[::-1] if is_backwards else clip), is_backwards


def resized_crop(
    whole_xyxy: BoxInt, area: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> BoxInt:
    """A part of a square, of random size, shape and place; the square itself when nothing fits."""
    left, top, right, _ = whole_xyxy
    side = right - left
    if area == (1.0, 1.0) and aspect == (1.0, 1.0):
        return whole_xyxy
    largest = side * math.sqrt(max(1.0, area[1]))
    for _ in range(TRIES):
        pixels = rng.uniform(*area) * side**2
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        width, height = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < width <= largest and 0 < height <= largest:
            x, y = (left + _place(side, width, rng), top + _place(side, height, rng))
            return x, y, x + width, y + height
    return whole_xyxy


def _place(side: int, length: int, rng: np.random.Generator) -> int:
    """Where a part of ``length`` begins in a side; where it is the longer of the two, the side lies inside it."""
    low, high = sorted((0, side - length))
    return int(rng.integers(low, high + 1))


def relit(clip: UInt8Array, light: float, rng: np.random.Generator) -> UInt8Array:
    """The clip brighter or darker, its colours shifted a little: at ``light`` 0.3 up to 30 % of contrast and level."""
    gain = (1 + light * rng.uniform(-1, 1)) * (1 + 0.25 * light * rng.uniform(-1, 1, 3))
    offset = 64 * light * rng.uniform(-1, 1)
    tables = (np.arange(256)[:, None] * gain + offset).clip(0, 255).astype(np.uint8)
    return np.stack([tables[:, i][clip[..., i]] for i in range(3)], axis=-1)


def draw_erasure(rng: np.random.Generator, size: int, probability: float) -> tuple[int, int, int, int]:
    """A rectangle ``top, bottom, left, right`` to erase, empty for none (Zhong et al. 2020, "Random Erasing").

    It covers between 2 % and a third, at an aspect between 0.3 and 1 / 0.3.
    """
    if rng.random() < probability:
        for _ in range(TRIES):
            pixels = rng.uniform(0.02, 1 / 3) * size**2
            ratio = math.exp(rng.uniform(math.log(0.3), -math.log(0.3)))
            height, width = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < height < size and 0 < width < size:
                top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
                return top, top + height, left, left + width
    return 0, 0, 0, 0


def erase(clips: Tensor, rectangles: Tensor, generator: torch.Generator) -> Tensor:
    """Normalised clips (B, C, T, H, W) with noise in their rectangles (B, 4), new in every frame; changes ``clips``.

    The noise is drawn on the CPU, so that a seed means the same on every device.
    """
    for clip, (top, bottom, left, right) in zip(clips, rectangles.tolist(), strict=True):
        hole = clip[..., top:bottom, left:right]
        if hole.numel():
            hole.copy_(torch.randn(hole.shape, generator=generator))
    return clips


def known_boxes(boxes_xyxy: Float32Array) -> BoolArray:
    """Which frames' boxes are known, bool (n,), of boxes (n, 4)."""
    return np.asarray(np.isfinite(boxes_xyxy).all(axis=1))


def _known(boxes_xyxy: Float32Array) -> Float32Array:
    return boxes_xyxy[known_boxes(boxes_xyxy)]
