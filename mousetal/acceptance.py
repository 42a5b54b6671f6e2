"""Whether a fast way to compute a network may stand in for the exact one (torch, float32), on inputs made for it.

Every fast mode is asked before it is used: the same inputs through both, the outputs compared. The inputs are made here
from a fixed seed, because models from elsewhere bring none: a dark patch that moves over an uneven ground, as an animal
would. How far outputs may lie apart is told by the model folder (``acceptance`` in config.json).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mousetal.types import Float32Array, UInt8Array

COUNT = 4  # a published network takes a second or two for each, twice
ENOUGH_S = 20.0  # a service must not keep its driver waiting: after that no further input is tried
LEAST_AGREEMENT = 0.995  # share of inputs on which both must name the same class
FP32_TOLERANCE = 1e-3  # a mode that claims float32 may differ by the order of additions only

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tolerances:
    """``logits``: absolute; ``boxes``: in shares of the image's side."""

    logits: float = 0.1
    boxes: float = 0.01

    def at(self, precision: str) -> Tolerances:
        """What holds for a mode of this precision."""
        if precision != "fp32":
            return self
        return Tolerances(min(self.logits, FP32_TOLERANCE), min(self.boxes, FP32_TOLERANCE))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Largest differences, and why the mode is refused ("" when it is not)."""

    logits: float
    boxes: float = 0.0
    problem: str = ""

    def __str__(self) -> str:
        boxes = f", boxes by {self.boxes:.1g} of the image" if self.boxes else ""
        return f"logits differ by up to {self.logits:.1g}{boxes}"


def batches(inputs: UInt8Array, sizes: Sequence[int] = ()) -> list[UInt8Array]:
    """The inputs (n, ...) one by one; for what computes batches of several ``sizes``, each by itself, one of each size.

    The larger ones hold the inputs again and again.
    """
    if len(sizes) <= 1:
        return list(inputs[:, None])
    return [np.resize(inputs, (size, *inputs.shape[1:])) for size in sizes]


def both(
    exact: Callable[[UInt8Array], T], fast: Callable[[UInt8Array], T], inputs: Iterable[UInt8Array]
) -> tuple[list[T], list[T]]:
    """What the two say of batches of inputs, one after the other: of all of them, or as many as there is time for."""
    started = time.monotonic()
    right: list[T] = []
    found: list[T] = []
    for batch in inputs:
        found.append(fast(batch))
        right.append(exact(batch))
        if time.monotonic() - started > ENOUGH_S:
            break
    return right, found


def make_clips(num_frames: int, size: int, count: int = COUNT) -> UInt8Array:
    """Clips to compare on, uint8 (count, num_frames, size, size, 3)."""
    rng = np.random.default_rng(20)
    return np.stack([_scene(rng, num_frames, size) for _ in range(count)])


def make_images(size: int, count: int = COUNT) -> UInt8Array:
    """Images to compare on, uint8 (count, size, size, 3)."""
    rng = np.random.default_rng(21)
    return np.stack([_scene(rng, 1, size)[0] for _ in range(count)])


def judge_logits(exact: Float32Array, fast: Float32Array, allowed: Tolerances) -> Verdict:
    """Compare logits (n, classes) of the same n inputs."""
    if not np.isfinite(fast).all():
        return Verdict(float("inf"), problem="it gives numbers that are not finite")
    apart = float(np.abs(exact - fast).max())
    if apart > allowed.logits:
        return Verdict(apart, problem=f"a logit differs by {apart:.3g}, {allowed.logits:g} is allowed")
    agreement = float((exact.argmax(axis=1) == fast.argmax(axis=1)).mean())
    if agreement < LEAST_AGREEMENT:
        return Verdict(apart, problem=f"the class is the same on {agreement:.1%} of the inputs only")
    return Verdict(apart)


def judge_boxes(
    exact: tuple[Float32Array, Float32Array], fast: tuple[Float32Array, Float32Array], least_logit: float,
    allowed: Tolerances,
) -> Verdict:  # fmt: skip
    """Compare what a detector says: logits (n, queries, classes) and boxes (n, queries, 4) in shares of the image.

    Every box that counts (a logit of ``least_logit``, or an image's best) must be among the other's. The order of
    queries means nothing.
    """
    if not all(np.isfinite(part).all() for part in fast):
        return Verdict(float("inf"), problem="it gives numbers that are not finite")
    worst = (0.0, 0.0)
    for logits, boxes, other_logits, other_boxes in zip(*exact, *fast, strict=True):
        best = logits.max(axis=1)
        for query in np.flatnonzero(best >= min(least_logit, best.max())):
            apart = np.abs(other_logits - logits[query]).max(axis=1)
            moved = np.abs(other_boxes - boxes[query]).max(axis=1)
            nearest = int(np.argmin(np.maximum(apart / allowed.logits, moved / allowed.boxes)))
            worst = max(worst[0], float(apart[nearest])), max(worst[1], float(moved[nearest]))
    if worst[0] > allowed.logits or worst[1] > allowed.boxes:
        found = f"a box moves by {worst[1]:.3g} of the image or its logit by {worst[0]:.3g}"
        return Verdict(*worst, f"{found}, {allowed.boxes:g} and {allowed.logits:g} are allowed")
    return Verdict(*worst)


def _scene(rng: np.random.Generator, num_frames: int, size: int) -> UInt8Array:
    """Frames uint8 (num_frames, size, size, 3): an ellipse that goes its way over a ground with a soft pattern."""
    y, x = np.mgrid[0:size, 0:size] / size
    waves = rng.uniform(1, 6, (4, 2)) * rng.choice([-1, 1], (4, 2))
    ground = sum(np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 6)) for fx, fy in waves)
    start, step = rng.uniform(0.3, 0.7, 2), rng.normal(0, 0.01, 2)
    radius, light, dark = rng.uniform(0.1, 0.3), rng.uniform(90, 200), rng.uniform(10, 60)
    frames = np.empty((num_frames, size, size, 3), np.float64)
    for number in range(num_frames):
        cx, cy = start + number * step + 0.02 * np.sin(number + rng.uniform(0, 1, 2))
        inside = ((x - cx) / radius) ** 2 + ((y - cy) / (0.6 * radius)) ** 2 < 1
        frame = light + 8 * ground + rng.normal(0, 4, (size, size))
        frames[number] = np.where(inside, dark, frame)[..., None] * np.array([1.0, 0.97, 0.9])
    return np.clip(frames, 0, 255).astype(np.uint8)
