"""RandAugment for clips: a few random operations on colour and shape, the same for all frames of a clip.

After Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space", with the
fifteen operations and ranges of the usual "increasing" policy. Per view ``num_ops`` operations are drawn with
replacement; each is carried out with probability one half, at a magnitude drawn around ``magnitude``.

    policy = parse("rand-m7-n4-mstd0.5-inc1")
    clip = apply(clip, draw(policy, rng))              # uint8 (T, H, W, 3), RGB
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mousetal.errors import SettingsError
from mousetal.types import UInt8Array

MAX_MAGNITUDE = 10.0
PROBABILITY = 0.5  # of each drawn operation
GREY = (128, 128, 128)  # what comes in at the edges
LEVELS = np.arange(256)
SMOOTHING = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
TEXT = re.compile(r"rand-m(\d+(?:\.\d+)?)-n(\d+)(?:-mstd(\d+(?:\.\d+)?))?(?:-inc1)?")


@dataclass(frozen=True, slots=True)
class Policy:
    """``magnitude`` 0..10, ``spread`` its standard deviation, ``num_ops`` operations a view."""

    magnitude: float
    num_ops: int
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Operation:
    """One of OPERATIONS at ``strength``, 0..1; negative where it goes both ways and goes the other."""

    name: str
    strength: float


def parse(text: str) -> Policy | None:
    """The policy that a setting like ``rand-m7-n4-mstd0.5-inc1`` names; None for an empty one. Raises SettingsError."""
    if not text:
        return None
    if not (found := TEXT.fullmatch(text)) or float(found[1]) > MAX_MAGNITUDE:
        raise SettingsError(f"auto_augment: something like rand-m7-n4-mstd0.5-inc1 (m up to 10) expected, got {text!r}")
    return Policy(float(found[1]), int(found[2]), float(found[3] or 0))


def draw(policy: Policy, rng: np.random.Generator) -> list[Operation]:
    """The operations for one view."""
    drawn = []
    for name in rng.choice(list(OPERATIONS), policy.num_ops).tolist():
        is_done, sign = rng.random() < PROBABILITY, rng.choice([-1.0, 1.0])
        magnitude = float(np.clip(rng.normal(policy.magnitude, policy.spread), 0, MAX_MAGNITUDE))
        if is_done:
            drawn.append(Operation(name, magnitude / MAX_MAGNITUDE * (sign if name in TWO_SIDED else 1.0)))
    return drawn


def apply(clip: UInt8Array, operations: Sequence[Operation]) -> UInt8Array:
    """The clip after all operations, uint8 (T, H, W, 3)."""
    for one in operations:
        clip = OPERATIONS[one.name](clip, one.strength)
    return clip


def auto_contrast(clip: UInt8Array, _strength: float) -> UInt8Array:
    """Every channel of every frame stretched to 0..255."""
    return _per_channel(clip, _stretching)


def equalize(clip: UInt8Array, _strength: float) -> UInt8Array:
    """Every channel of every frame with a level histogram."""
    return _per_channel(clip, _equalizing)


def invert(clip: UInt8Array, _strength: float) -> UInt8Array:
    return 255 - clip


def posterize(clip: UInt8Array, strength: float) -> UInt8Array:
    """4 to 0 bits of each level kept."""
    bits = 4 - int(4 * strength)
    return clip & np.uint8(256 - (1 << (8 - bits)))


def solarize(clip: UInt8Array, strength: float) -> UInt8Array:
    """Levels from a threshold on inverted."""
    threshold = 256 - int(256 * strength)
    return np.concatenate([LEVELS[:threshold], 255 - LEVELS[threshold:]]).astype(np.uint8)[clip]


def solarize_add(clip: UInt8Array, strength: float) -> UInt8Array:
    """Up to 110 added to the darker half of the levels."""
    return np.concatenate([LEVELS[:128] + int(110 * strength), LEVELS[128:]]).clip(0, 255).astype(np.uint8)[clip]


def color(clip: UInt8Array, strength: float) -> UInt8Array:
    """Less or more colour."""
    return _blend(_luma(clip)[..., None], clip, 1 + 0.9 * strength)


def contrast(clip: UInt8Array, strength: float) -> UInt8Array:
    """Nearer to or farther from the frame's mean grey."""
    means = np.floor(_luma(clip).mean(axis=(1, 2)) + 0.5)
    return _blend(means[:, None, None, None], clip, 1 + 0.9 * strength)


def brightness(clip: UInt8Array, strength: float) -> UInt8Array:
    return _blend(np.zeros(1), clip, 1 + 0.9 * strength)


def sharpness(clip: UInt8Array, strength: float) -> UInt8Array:
    """Blurred or sharpened; the outermost pixels stay as they are."""
    smooth = clip.copy()
    for target, frame in zip(smooth, clip, strict=True):
        blurred = cv2.filter2D(frame.astype(np.float32), -1, SMOOTHING)
        target[1:-1, 1:-1] = np.floor(blurred + 0.5)[1:-1, 1:-1]
    return _blend(smooth, clip, 1 + 0.9 * strength)


def rotate(clip: UInt8Array, strength: float) -> UInt8Array:
    """Up to 30 degrees about the middle, counter-clockwise where positive."""
    angle = math.radians(30 * strength)
    cos, sin = math.cos(angle), math.sin(angle)
    height, width = clip.shape[1:3]
    x, y = (width - 1) / 2, (height - 1) / 2
    return _warp(clip, [[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])


def shear_x(clip: UInt8Array, strength: float) -> UInt8Array:
    """Rows moved by up to 0.3 of how far down they are."""
    return _warp(clip, [[1, 0.3 * strength, 0.15 * strength], [0, 1, 0]])


def shear_y(clip: UInt8Array, strength: float) -> UInt8Array:
    return _warp(clip, [[1, 0, 0], [0.3 * strength, 1, 0.15 * strength]])


def translate_x(clip: UInt8Array, strength: float) -> UInt8Array:
    """Moved by up to 45 % of the width."""
    return _warp(clip, [[1, 0, 0.45 * strength * clip.shape[2]], [0, 1, 0]])


def translate_y(clip: UInt8Array, strength: float) -> UInt8Array:
    return _warp(clip, [[1, 0, 0], [0, 1, 0.45 * strength * clip.shape[1]]])


OPERATIONS: dict[str, Callable[[UInt8Array, float], UInt8Array]] = {
    "AutoContrast": auto_contrast, "Equalize": equalize, "Invert": invert, "Rotate": rotate, "Posterize": posterize,
    "Solarize": solarize, "SolarizeAdd": solarize_add, "Color": color, "Contrast": contrast, "Brightness": brightness,
    "Sharpness": sharpness, "ShearX": shear_x, "ShearY": shear_y, "TranslateX": translate_x, "TranslateY": translate_y,
}  # fmt: skip
TWO_SIDED = {
    "Rotate", "Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY",
}  # fmt: skip


def _luma(clip: UInt8Array) -> np.ndarray:
    """ITU-R 601 grey, whole numbers, (T, H, W)."""
    r, g, b = (clip[..., i].astype(np.int64) for i in range(3))
    return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16


def _blend(from_levels: np.ndarray, clip: UInt8Array, factor: float) -> UInt8Array:
    """0 gives ``from_levels``, 1 the clip, more than 1 goes beyond it."""
    start = from_levels.astype(np.float32)
    return (start + factor * (clip.astype(np.float32) - start)).clip(0, 255).astype(np.uint8)


def _warp(clip: UInt8Array, to_source: list[list[float]]) -> UInt8Array:
    """The clip drawn anew: each pixel from where ``to_source``, 2 x 3, says that it was."""
    height, width = clip.shape[1:3]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    matrix = np.array(to_source, np.float64)
    return np.stack(
        [cv2.warpAffine(f, matrix, (width, height), flags=flags, borderValue=GREY) for f in np.ascontiguousarray(clip)]
    )


def _per_channel(clip: UInt8Array, table: Callable[[UInt8Array], np.ndarray]) -> UInt8Array:
    changed = np.empty_like(clip)
    for target, frame in zip(changed, clip, strict=True):
        for channel in range(3):
            target[..., channel] = table(frame[..., channel])[frame[..., channel]]
    return changed


def _stretching(channel: UInt8Array) -> np.ndarray:
    low, high = int(channel.min()), int(channel.max())
    if high <= low:
        return LEVELS.astype(np.uint8)
    scale = 255.0 / (high - low)
    stretched: UInt8Array = np.trunc(LEVELS * scale - low * scale).clip(0, 255).astype(np.uint8)
    return stretched


def _equalizing(channel: UInt8Array) -> np.ndarray:
    counts = np.bincount(channel.reshape(-1), minlength=256)
    step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
    if np.count_nonzero(counts) <= 1 or step == 0:
        return LEVELS.astype(np.uint8)
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    level: UInt8Array = ((step // 2 + before) // step).clip(0, 255).astype(np.uint8)
    return level
