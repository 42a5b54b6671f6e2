"""Draws the synthetic mouse: one pose onto one picture, and the true box of body and head without the tail."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mousetal.types import UInt8Array
from training.synthetic.arena import texture

FURS = {  # colour of the back, RGB
    "black": (38, 36, 36),
    "brown": (98, 70, 50),
    "agouti": (112, 92, 68),
    "white": (226, 222, 216),
    "cream": (206, 188, 156),
}
DARK_FURS = ("black", "brown", "agouti")
SKIN = np.array([196, 148, 138], np.float32)  # ears, paws, tail
REACH_CM = 8.0  # half the side of the patch that is drawn: body and head; the tail reaches further
SHIFT = 4  # cv2 draws with 1/16 pixel
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 17)), np.sin(np.linspace(0, 2 * np.pi, 17))], 1)[:-1]


@dataclass(frozen=True, eq=False)
class Fur:
    """One animal's looks. ``grain`` is a float32 texture of its coat, moved along with the body."""

    name: str
    colour: np.ndarray
    size: float
    skin: np.ndarray
    grain: np.ndarray


def grow_fur(rng: np.random.Generator, name: str, scale: float) -> Fur:
    """A mouse of one fur colour, with the variation between animals; ``scale`` is pixels per cm."""
    colour = np.array(FURS[name], np.float32) * rng.uniform(0.85, 1.12) + rng.normal(0, 4)
    side = round(2 * REACH_CM * scale)
    grain = 0.06 * texture(rng, side, side, max(1.5, 0.2 * scale)) + 0.06 * texture(rng, side, side, 1.5 * scale)
    if name in ("agouti", "brown"):
        grain *= 1.5
    skin = SKIN * (rng.uniform(0.55, 0.75) if name == "black" else rng.uniform(0.8, 1.05))
    return Fur(name, colour, float(rng.uniform(0.88, 1.12)), skin, grain.astype(np.float32))


class Pen:
    """Draws shapes given in cm relative to a point and a direction, into patches of the picture."""

    def __init__(self, scale: float, centre: tuple[float, float], heading: float) -> None:
        self.scale, self.centre, self.heading = scale, np.array(centre), heading

    def place(self, points: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) of points (n, 2) given as cm forward and cm to the left."""
        cos, sin = self.scale * math.cos(self.heading), self.scale * math.sin(self.heading)
        placed: np.ndarray = points @ np.array([[cos, sin], [sin, -cos]]) + self.centre
        return placed

    def ahead(self, forward: float, turn: float) -> Pen:
        """A pen further along, turned: the head on the body."""
        x, y = self.place(np.array([[forward, 0.0]]))[0]
        return Pen(self.scale, (x, y), self.heading + turn)

    def polygon(self, canvas: np.ndarray, outline: np.ndarray, colour: float | tuple[float, ...]) -> None:
        points = self.place(outline) * (1 << SHIFT) + 0.5
        cv2.fillPoly(canvas, [points.astype(np.int32)], colour, cv2.LINE_AA, SHIFT)

    def ellipse(self, canvas: np.ndarray, forward: float, left: float, along: float, across: float,
                colour: float | tuple[float, ...]) -> None:  # fmt: skip
        self.polygon(canvas, CIRCLE * (along, across) + (forward, left), colour)


BODY_ALONG = np.array([-1.0, -0.92, -0.7, -0.35, 0.05, 0.45, 0.75, 1.0])  # rump .. neck, of half a body length
BODY_ACROSS = np.array([0.25, 0.7, 1.15, 1.35, 1.3, 1.1, 0.9, 0.75])  # half widths, cm
HEAD_ALONG = np.array([-0.7, 0.0, 0.7, 1.4, 1.9, 2.1])
HEAD_ACROSS = np.array([0.75, 0.95, 0.82, 0.45, 0.22, 0.08])


def both_sides(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    return np.concatenate([np.stack([along, across], 1), np.stack([along, -across], 1)[::-1]])


def body_outline(pose: dict[str, float], size: float) -> tuple[np.ndarray, float]:
    """Outline (points, 2) in cm as (forward, left), and how far ahead of the body's centre the head begins."""
    half = size * 2.9 * (1 - 0.3 * pose["hunch"]) * (1 - 0.45 * pose["rear"])
    wide = size * (1 + 0.18 * pose["hunch"]) * (1 - 0.1 * pose["rear"])
    along, across = BODY_ALONG * half, BODY_ACROSS * wide
    outline = both_sides(along, across)
    outline[:, 1] += 0.22 * np.sin(pose["neck"]) * np.clip(outline[:, 0], 0, None)  # the chest follows the head
    return outline, half * 0.88


def draw_mouse(picture: UInt8Array, pose: dict[str, float], fur: Fur, scale: float, centre: tuple[float, float],
               heading: float, lamp: float) -> tuple[float, float, float, float]:  # fmt: skip
    """Paint the mouse onto ``picture`` (uint8 RGB, in place); returns its box without tail, clipped to the picture.

    ``centre`` is in pixels, ``heading`` in the picture, ``lamp`` the direction that light comes from.
    """
    pen = Pen(scale, centre, heading)
    outline, neck_at = body_outline(pose, fur.size)
    draw_tail(picture, pen, pose, fur, outline)
    height, width = picture.shape[:2]
    reach = REACH_CM * scale
    left, top = max(0, round(centre[0] - reach)), max(0, round(centre[1] - reach))
    right, bottom = min(width, round(centre[0] + reach)), min(height, round(centre[1] + reach))
    patch = picture[top:bottom, left:right]
    body = Pen(scale, (centre[0] - left, centre[1] - top), heading)
    head = body.ahead(neck_at + 0.45 * fur.size + pose["reach"], pose["neck"])
    mask = silhouette(patch.shape[:2], body, head, outline, pose, fur.size)
    draw_shadow(patch, mask, scale)
    draw_limbs(patch, body, pose, fur)
    paint_fur(patch, mask, body, fur, scale, lamp)
    draw_face(patch, head, pose, fur)
    x, y, wide, high = cv2.boundingRect(cv2.inRange(mask, 128, 255))
    return float(left + x), float(top + y), float(left + x + wide), float(top + y + high)


def silhouette(shape: tuple[int, int], body: Pen, head: Pen, outline: np.ndarray, pose: dict[str, float],
               size: float) -> UInt8Array:  # fmt: skip
    """Body, head and ears as a soft mask, uint8 (height, width)."""
    mask = np.zeros(shape, np.uint8)
    body.polygon(mask, outline, 255)
    large = size * (1 + 0.15 * pose["rear"])
    head.polygon(mask, both_sides(HEAD_ALONG, HEAD_ACROSS) * large, 255)
    for side in (-1, 1):
        head.ellipse(mask, -0.15 * large, side * 0.9 * large, 0.5 * large, 0.5 * large, 255)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.07 * body.scale)), np.uint8)


def draw_shadow(patch: UInt8Array, mask: UInt8Array, scale: float) -> None:
    shade = cv2.GaussianBlur(cv2.resize(mask, None, fx=0.25, fy=0.25), (0, 0), 0.12 * scale)
    shade = cv2.resize(shade, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    dark = 255 - (shade * np.float32(0.4)).astype(np.uint8)
    cv2.multiply(patch, cv2.merge([dark, dark, dark]), dst=patch, scale=1 / 255)


def draw_tail(patch: UInt8Array, body: Pen, pose: dict[str, float], fur: Fur, outline: np.ndarray) -> None:
    """A tapering tail that lags behind the body's turns and sways with the gait."""
    t = np.linspace(0, 1, 10)
    sway = 0.5 * np.sin(pose["gait"] / 2 - 3 * t) * t - 1.5 * np.sin(pose["neck"] / 2) * t**2
    points = body.place(np.stack([outline[0, 0] + 0.2 - 7 * fur.size * t, 1.6 * sway], 1))
    points = np.round(points * (1 << SHIFT)).astype(np.int32)
    colour = tuple(float(c) for c in 0.5 * (fur.skin + fur.colour))
    for first, thick in ((0, 0.38), (3, 0.26), (6, 0.14)):
        thickness = max(1, round(thick * body.scale * fur.size))
        cv2.polylines(patch, [points[first : first + 4]], False, colour, thickness, cv2.LINE_AA, SHIFT)


def draw_limbs(patch: UInt8Array, body: Pen, pose: dict[str, float], fur: Fur) -> None:
    """Feet that show beside the body in turn while it walks."""
    colour = tuple(float(c) for c in fur.skin * 0.85)
    for side, phase in ((-1, 0.0), (1, np.pi)):
        step = 0.7 * np.sin(pose["gait"] + phase)
        body.ellipse(patch, -1.3 + step, side * 1.3 * fur.size, 0.65, 0.25, colour)
        body.ellipse(patch, 1.7 - step, side * 0.95 * fur.size, 0.4, 0.22, colour)


def paint_fur(patch: UInt8Array, mask: UInt8Array, body: Pen, fur: Fur, scale: float, lamp: float) -> None:
    """Fill the silhouette: rounded by a blurred mask as if it were height, lit from one side, with grain."""
    left, top, width, height = cv2.boundingRect(mask)
    mask, patch = mask[top : top + height, left : left + width], patch[top : top + height, left : left + width]
    small = cv2.resize(mask, (width // 2 + 1, height // 2 + 1), interpolation=cv2.INTER_AREA)
    small = cv2.copyMakeBorder(small, 8, 8, 8, 8, cv2.BORDER_CONSTANT)
    dome = cv2.GaussianBlur(small, (0, 0), 0.45 * scale / 2)[8:-8, 8:-8].astype(np.float32) / 255
    slope = np.cos(lamp) * cv2.Sobel(dome, cv2.CV_32F, 1, 0) + np.sin(lamp) * cv2.Sobel(dome, cv2.CV_32F, 0, 1)
    shade = cv2.resize(0.62 + 0.5 * dome * dome + 0.12 * scale / 16 * slope, (width, height))
    middle = (fur.grain.shape[1] / 2, fur.grain.shape[0] / 2)
    turn = np.asarray(cv2.getRotationMatrix2D(middle, -np.degrees(body.heading), 1), np.float64)
    turn[:, 2] += body.centre - (left, top) - np.array(fur.grain.shape[::-1]) / 2
    shade += cv2.warpAffine(fur.grain, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    coat = cv2.merge([cv2.convertScaleAbs(shade, alpha=float(c)) for c in fur.colour])
    alpha = cv2.merge([mask, mask, mask])
    under = cv2.multiply(patch, cv2.bitwise_not(alpha), scale=1 / 255)
    cv2.add(under, cv2.multiply(coat, alpha, scale=1 / 255), dst=patch)


def draw_face(patch: UInt8Array, head: Pen, pose: dict[str, float], fur: Fur) -> None:
    """Ears, eyes, nose, and the forepaws while they are at the face."""
    size = fur.size * (1 + 0.15 * pose["rear"])
    inner = tuple(float(c) for c in 0.55 * fur.skin + 0.45 * fur.colour)
    rim = tuple(float(c) for c in 0.7 * fur.colour)
    for side in (-1, 1):
        head.ellipse(patch, -0.15 * size, side * 0.9 * size, 0.5 * size, 0.5 * size, rim)
        head.ellipse(patch, -0.1 * size, side * 0.92 * size, 0.36 * size, 0.34 * size, inner)
        head.ellipse(patch, 0.95 * size, side * 0.58 * size, 0.16 * size, 0.12 * size, (20.0, 16.0, 18.0))
    head.ellipse(patch, 2.0 * size, 0, 0.12 * size, 0.14 * size, tuple(float(c) for c in fur.skin * 0.8))
    if pose["paws"] > 0.4:
        colour = tuple(float(c) for c in fur.skin)
        for side in (-1, 1):
            along = 1.15 + 0.65 * pose["stroke"]
            head.ellipse(
                patch, along * size, side * (0.62 - 0.2 * pose["stroke"]) * size, 0.34 * size, 0.24 * size, colour
            )
