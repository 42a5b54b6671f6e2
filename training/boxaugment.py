"""Pictures as training sees them: re-lit, zoomed, cropped, mirrored, turned, and last squeezed into the input square.

The recipe is RT-DETRv2's (Lv et al. 2024). Added are quarter turns and upside-down mirrors, which are free for a camera
above, and whole pictures made grey or inverted, for other cameras and other coats. Every function takes its random
numbers from the generator that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from mousetal.geometry import resize_for_detector
from mousetal.types import Float32Array, UInt8Array
from training.pictures import Picture

SMALLEST_BOX = 1.0  # pixels; what a crop leaves of a box must be at least this wide and high
CROP_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # of a crop with some box; 1 leaves the picture whole
CROP_TRIALS = 40
CROP_SHARES = (0.3, 1.0)  # of the picture's width and height
CROP_ASPECTS = (0.5, 2.0)  # height to width of a crop, both in shares


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to a picture, and how often: probabilities.

    ``brightness`` is the largest change of light, a share; ``zoom_most`` the largest factor of zooming out.
    """

    photometric: float = 0.5
    brightness: float = 0.125
    zoom_out: float = 0.5
    zoom_most: float = 1.5
    iou_crop: float = 0.8
    mirror: float = 0.5
    flip: float = 0.5
    turn: float = 0.5
    grey: float = 0.0
    invert: float = 0.0

    def without_strong(self) -> Augmentation:
        """The same less what changes a picture most: light, zoom and crops, with which a run should not end."""
        return replace(self, photometric=0.0, zoom_out=0.0, iou_crop=0.0)


def augment(picture: Picture, how: Augmentation, rng: np.random.Generator) -> Picture:
    """The picture after what chance picks of ``how``."""
    chances = rng.random(8)
    if chances[0] < how.photometric:
        picture = replace(picture, rgb=relight(picture.rgb, how.brightness, rng))
    if chances[1] < how.grey:
        grey = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY)
        picture = replace(picture, rgb=np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8))
    if chances[2] < how.invert:
        picture = replace(picture, rgb=255 - picture.rgb)
    if chances[3] < how.zoom_out:
        picture = zoom_out(picture, how.zoom_most, rng)
    if chances[4] < how.iou_crop:
        picture = iou_crop(picture, rng)
    picture = sanitised(picture)
    if chances[5] < how.mirror:
        picture = mirrored(picture)
    if chances[6] < how.flip:
        picture = mirrored(turned(turned(picture)))
    if chances[7] < how.turn:
        picture = turned(picture)
    return picture


def relight(rgb: UInt8Array, most: float, rng: np.random.Generator) -> UInt8Array:
    """Other brightness (by up to the share ``most``), contrast, saturation and hue, each half of the time."""
    brightness, contrast, saturation = rng.uniform([1 - most, 0.5, 0.5], [1 + most, 1.5, 1.5])
    hue = int(rng.integers(-9, 10))  # OpenCV's hues are degrees halved
    used = rng.random(4) < 0.5
    pixels = rgb.astype(np.float32)
    if used[0]:
        pixels = pixels * brightness
    if used[1]:
        pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
    rgb = np.clip(pixels, 0, 255).astype(np.uint8)
    if not used[2] and not used[3]:
        return rgb
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    if used[2]:
        hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 255)
    if used[3]:
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + hue) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def zoom_out(picture: Picture, most: float, rng: np.random.Generator) -> Picture:
    """The picture somewhere on a black one up to ``most`` times as wide and high."""
    height, width = picture.rgb.shape[:2]
    factor, across, down = rng.uniform([1.0, 0.0, 0.0], [most, 1.0, 1.0])
    canvas = np.zeros((round(height * factor), round(width * factor), 3), np.uint8)
    top, left = int(down * (canvas.shape[0] - height)), int(across * (canvas.shape[1] - width))
    canvas[top : top + height, left : left + width] = picture.rgb
    return replace(picture, rgb=canvas, boxes_xyxy=picture.boxes_xyxy + np.array([left, top, left, top], np.float32))


def iou_crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """A part of the picture that overlaps some box by a share that chance picks (Liu et al. 2016, "SSD").

    Kept are boxes whose centre lies in the part. A picture without boxes comes back as it is, as does one for which no
    such part was found in a few dozen trials.
    """
    least = float(rng.choice(CROP_IOUS))
    if least >= 1.0 or not len(picture.boxes_xyxy):
        return picture
    height, width = picture.rgb.shape[:2]
    boxes = picture.boxes_xyxy
    for _ in range(CROP_TRIALS):
        shares = rng.uniform(*CROP_SHARES, 2)
        place = rng.random(2)
        if not CROP_ASPECTS[0] <= shares[1] / shares[0] <= CROP_ASPECTS[1]:
            continue
        size = (shares * [width, height]).astype(int)
        if size.min() < 1:
            continue
        left, top = (place * ([width, height] - size)).astype(int).tolist()
        crop = np.array([left, top, left + size[0], top + size[1]], np.float32)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centres > crop[:2]) & (centres < crop[2:])).all(axis=1)
        if inside.any() and _ious(boxes[inside], crop).max() >= least:
            cut = np.clip(boxes[inside], np.tile(crop[:2], 2), np.tile(crop[2:], 2)) - np.tile(crop[:2], 2)
            rgb = picture.rgb[top : top + size[1], left : left + size[0]]
            return Picture(rgb, cut.astype(np.float32), picture.labels[inside])
    return picture


def mirrored(picture: Picture) -> Picture:
    """Left and right exchanged."""
    width = picture.rgb.shape[1]
    x1, y1, x2, y2 = picture.boxes_xyxy.T
    return replace(picture, rgb=picture.rgb[:, ::-1], boxes_xyxy=np.stack([width - x2, y1, width - x1, y2], axis=1))


def turned(picture: Picture) -> Picture:
    """A quarter turn, counterclockwise."""
    width = picture.rgb.shape[1]
    x1, y1, x2, y2 = picture.boxes_xyxy.T
    return replace(picture, rgb=np.rot90(picture.rgb), boxes_xyxy=np.stack([y1, width - x2, y2, width - x1], axis=1))


def sanitised(picture: Picture) -> Picture:
    """The boxes cut to the picture, those of which too little is left dropped."""
    height, width = picture.rgb.shape[:2]
    boxes = np.clip(picture.boxes_xyxy, 0, np.array([width, height, width, height], np.float32))
    kept = (boxes[:, 2:] - boxes[:, :2] >= SMALLEST_BOX).all(axis=1)
    return replace(picture, boxes_xyxy=boxes[kept], labels=picture.labels[kept])


def to_input(picture: Picture, size: int) -> tuple[Tensor, dict[str, Tensor]]:
    """What the network takes: pixels float32 (3, size, size) in 0..1, and its labels as the loss wants them."""
    height, width = picture.rgb.shape[:2]
    rgb = resize_for_detector(np.ascontiguousarray(picture.rgb), size)
    pixels = torch.from_numpy(rgb.transpose(2, 0, 1).astype(np.float32) / 255)
    boxes = torch.from_numpy(to_shares(picture.boxes_xyxy, width, height))
    return pixels, {"class_labels": torch.from_numpy(picture.labels.astype(np.int64)), "boxes": boxes}


def to_shares(boxes_xyxy: np.ndarray, width: int, height: int) -> Float32Array:
    """Boxes in pixels (..., 4) as centre x, centre y, width, height in shares of the picture: float32 (..., 4)."""
    corners = np.asarray(boxes_xyxy, np.float64) / np.array([width, height, width, height])
    low, high = corners[..., :2], corners[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1).astype(np.float32)


def _ious(boxes: np.ndarray, crop: np.ndarray) -> np.ndarray:
    overlap = np.clip(np.minimum(boxes[:, 2:], crop[2:]) - np.maximum(boxes[:, :2], crop[:2]), 0, None).prod(axis=1)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (crop[2:] - crop[:2]).prod() - overlap
    return np.asarray(overlap / np.maximum(whole, 1e-9))
