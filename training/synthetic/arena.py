"""What surrounds the synthetic mouse: cage, floor, light, camera. One `Arena` is drawn once per video.

The camera looks straight down. Positions on the floor are centimetres from its middle, x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mousetal.types import Float32Array, UInt8Array

CAGES = {  # inner width, height in cm, round?
    "home cage": (36.0, 20.0, False),
    "large cage": (42.0, 26.0, False),
    "box": (28.0, 28.0, False),
    "open field": (40.0, 40.0, False),
    "bowl": (32.0, 32.0, True),
}
FLOORS = ("plain", "sawdust", "chips", "grid")
BORDER_CM = 2.0  # wall seen around the floor


@dataclass(frozen=True, eq=False)
class Arena:
    """``background`` is uint8 (height, width, 3), ``scale`` pixels per cm, ``brightness`` the floor's, unlit."""

    cage: str
    background: UInt8Array
    scale: float
    rotation: float
    brightness: float

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        """A place on the floor as picture coordinates."""
        cos, sin = np.cos(self.rotation) * self.scale, np.sin(self.rotation) * self.scale
        height, width = self.background.shape[:2]
        return width / 2 + cos * x - sin * y, height / 2 + sin * x + cos * y


def texture(rng: np.random.Generator, width: int, height: int, grain_px: float) -> Float32Array:
    """Float32 noise (height, width) of unit spread whose spots are about ``grain_px`` wide."""
    small = (max(2, round(width / grain_px)), max(2, round(height / grain_px)))
    noise = cv2.resize(
        rng.standard_normal(small[::-1]).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(noise / (noise.std() + 1e-6), np.float32)


def draw_floor(
    rng: np.random.Generator, kind: str, base: np.ndarray, width: int, height: int, scale: float
) -> Float32Array:
    """The floor's colour as float32 (height, width, 3), before light and walls."""
    floor: Float32Array = np.ones((height, width, 3), np.float32) * base
    contrast = rng.uniform(0.5, 1.5)
    floor += 3 * contrast * texture(rng, width, height, 2 * scale)[..., None]
    if kind == "sawdust":
        floor += (9 * contrast * texture(rng, width, height, max(1.5, 0.25 * scale)))[..., None]
    elif kind == "chips":
        for _ in range(int(width * height / (1.2 * scale * scale))):
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            angle, length = rng.uniform(0, np.pi), rng.uniform(0.3, 1.1) * scale / 2
            start, end = (
                (round(x + s * length * np.cos(angle)), round(y + s * length * np.sin(angle))) for s in (-1, 1)
            )
            shade = (base + rng.normal(0, 13) * contrast + rng.normal(0, 3, 3)).tolist()
            cv2.line(floor, start, end, shade, max(1, round(rng.uniform(0.1, 0.3) * scale)), cv2.LINE_AA)
    elif kind == "grid":
        spacing, shade = rng.uniform(4, 10) * scale, (base + rng.choice([-1, 1]) * rng.uniform(12, 25)).tolist()
        for x in np.arange(rng.uniform(0, spacing), width, spacing):
            cv2.line(floor, (int(x), 0), (int(x), height), shade, 1, cv2.LINE_AA)
        for y in np.arange(rng.uniform(0, spacing), height, spacing):
            cv2.line(floor, (0, int(y)), (width, int(y)), shade, 1, cv2.LINE_AA)
    for _ in range(rng.integers(0, 12)):  # droppings, crumbs
        at = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        size = (max(1, round(0.3 * scale)), max(1, round(0.15 * scale)))
        shade = (base * rng.uniform(0.4, 0.8)).tolist()
        cv2.ellipse(floor, at, size, rng.uniform(0, 180), 0, 360, shade, -1, cv2.LINE_AA)
    return floor


def light(rng: np.random.Generator, width: int, height: int) -> Float32Array:
    """Uneven light as float32 (height, width): a lamp somewhere, darker corners."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    lamp = (rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height)
    reach = rng.uniform(0.7, 1.6) * width
    bright = np.exp(-((x - lamp[0]) ** 2 + (y - lamp[1]) ** 2) / (2 * reach * reach))
    depth = rng.uniform(0.0, 0.5)
    return np.asarray((1 - depth) + depth * bright, np.float32)


def build_arena(rng: np.random.Generator, width: int, height: int, cage: str, is_fur_dark: bool) -> Arena:
    """Draw an arena that fills a picture of width x height pixels, its floor in contrast to the fur."""
    cage_width, cage_height, is_round = CAGES[cage]
    if (cage_width > cage_height) != (width > height) and cage_width != cage_height:
        cage_width, cage_height = cage_height, cage_width
    border = 2 * BORDER_CM
    scale = min(width / (cage_width + border), height / (cage_height + border)) * rng.uniform(0.94, 1.0)
    rotation = float(rng.uniform(-0.05, 0.05))
    level = rng.uniform(120, 220) if is_fur_dark else rng.uniform(25, 85)
    tint = np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.72, 1.0)], np.float32)
    tint = tint if rng.random() < 0.6 else np.ones(3, np.float32)
    picture = draw_floor(rng, str(rng.choice(FLOORS)), level * tint, width, height, scale)
    wall = np.float32(level * rng.uniform(0.3, 1.25)) * tint + 6 * texture(rng, width, height, 6 * scale)[..., None]
    arena = Arena(cage, np.zeros((height, width, 3), np.uint8), float(scale), rotation, float(level))
    inside = np.zeros((height, width), np.uint8)
    if is_round:
        centre = tuple(round(v) for v in arena.to_pixels(0, 0))
        cv2.circle(inside, centre, round(cage_width / 2 * scale), 255, -1, cv2.LINE_AA)
    else:
        corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        points = [arena.to_pixels(u * cage_width / 2, v * cage_height / 2) for u, v in corners]
        cv2.fillConvexPoly(inside, np.round(points).astype(np.int32), 255, cv2.LINE_AA)
    mask = inside.astype(np.float32)[..., None] / 255
    shade = 1 - 0.25 * (cv2.GaussianBlur(255 - inside, (0, 0), 1.2 * scale).astype(np.float32) / 255)[..., None]
    lit = (picture * shade * mask + wall * (1 - mask)) * light(rng, width, height)[..., None]
    return Arena(cage, np.clip(lit, 0, 255).astype(np.uint8), float(scale), rotation, float(level))
