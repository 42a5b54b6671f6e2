"""Boxes, the square that is cropped around an animal, and the two resizes.

A box is ``x1, y1, x2, y2`` in pixels of the displayed frame, x to the right, y downwards, ``x2`` and ``y2`` excluded.
Training, evaluation and inference cut their clips here and nowhere else, so that they cannot disagree.

    >>> crop = square(union(boxes_xyxy), padding=0.05)
    >>> clip = crop_clip([frame.rgb for frame in window], crop, size=224)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mousetal.types import BoxInt, Float64Array, UInt8Array


def union(boxes_xyxy: npt.ArrayLike) -> Float64Array:
    """The smallest box that holds all of ``boxes_xyxy``, (n, 4) with n >= 1; float64 (4,)."""
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[0] == 0 or boxes.shape[1] != 4:
        raise ValueError(f"the union needs boxes of shape (n, 4) with n >= 1, got {boxes.shape}")
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def iou(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike) -> float:
    """Intersection over union of two boxes, 0..1; 0 when both are empty."""
    return float(ious(np.asarray(a_xyxy, np.float64), np.asarray(b_xyxy, np.float64)))


def ious(a_xyxy: Float64Array, b_xyxy: Float64Array) -> Float64Array:
    """Intersection over union, as `iou`, of boxes (..., 4) that are broadcast against each other; float64 (...)."""
    overlap = _areas(np.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:]) - np.maximum(a_xyxy[..., :2], b_xyxy[..., :2]))
    whole = _areas(a_xyxy[..., 2:] - a_xyxy[..., :2]) + _areas(b_xyxy[..., 2:] - b_xyxy[..., :2]) - overlap
    return np.divide(overlap, whole, out=np.zeros_like(whole), where=whole > 0)


def _areas(sides: Float64Array) -> Float64Array:
    positive = np.maximum(sides, 0)
    return np.asarray(positive[..., 0] * positive[..., 1])


def interpolate(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike, t: float | Float64Array) -> Float64Array:
    """The box a share ``t`` of the way from a (t = 0) to b (t = 1); float64 (4,), or (n, 4) for shares (n, 1).

    Between equal boxes it is that.
    """
    a, b = np.asarray(a_xyxy, np.float64), np.asarray(b_xyxy, np.float64)
    between: Float64Array = a + (b - a) * t  # so that rounding, of which a crop could get a pixel larger, has no part
    return between


def square(box_xyxy: npt.ArrayLike, padding: float) -> BoxInt:
    """The square with the box's centre and longer side, ``padding`` of that side added on each edge; whole pixels.

    It may stick out of the frame: `crop_clip` fills what lies outside, so the animal keeps its shape at a wall. The
    centre moves by less than a pixel in rounding; the side is at least 1.
    """
    x1, y1, x2, y2 = np.asarray(box_xyxy, np.float64).tolist()
    if not (x2 >= x1 and y2 >= y1):
        raise ValueError(f"a box needs x1 <= x2 and y1 <= y2, got ({x1}, {y1}, {x2}, {y2})")
    side = max(1, math.ceil(max(x2 - x1, y2 - y1) * (1.0 + 2.0 * padding)))
    left = math.floor((x1 + x2 - side) / 2 + 0.5)
    top = math.floor((y1 + y2 - side) / 2 + 0.5)
    return left, top, left + side, top + side


def reference_crop(boxes_xyxy: npt.ArrayLike, width: int, height: int, padding: float) -> BoxInt:
    """The crop that the reference system takes for all the boxes of a window, to the pixel.

    The union is squared and padded, its left and top edges held at 0 on the way (which shifts the square), and then cut
    off at the frame's right and bottom edges (which leaves an oblong). Integer boxes stay integer throughout; others
    are cut down to whole pixels at the end. No boxes, or an empty crop (on which the reference fails): the whole frame.
    """
    boxes = np.asarray(boxes_xyxy)
    if boxes.size == 0:
        return 0, 0, width, height
    x1, y1 = boxes[:, :2].min(axis=0).tolist()
    x2, y2 = boxes[:, 2:].max(axis=0).tolist()
    box_width, box_height = x2 - x1, y2 - y1
    if box_width > box_height:
        y1 = max(0, y1 - (box_width - box_height) // 2)
        y2 = y1 + box_width
    else:
        x1 = max(0, x1 - (box_height - box_width) // 2)
        x2 = x1 + box_height
    margin = int(padding * (x2 - x1))
    x1, y1 = max(0, x1 - margin), max(0, y1 - margin)
    x2, y2 = min(width, x2 + margin), min(height, y2 + margin)
    crop = int(x1), int(y1), int(x2), int(y2)
    return crop if crop[0] < crop[2] and crop[1] < crop[3] else (0, 0, width, height)


def crop_clip(frames: Sequence[UInt8Array], crop_xyxy: BoxInt, size: int) -> UInt8Array:
    """One square cut out of every frame and resized: uint8 (frames, size, size, 3).

    ``frames`` are uint8 (height, width, 3) of one video. What lies outside a frame repeats its nearest edge pixel.
    The resize is OpenCV's bilinear one, without antialiasing: the networks were trained on exactly that.
    """
    x1, y1, x2, y2 = crop_xyxy
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"a crop needs x1 < x2 and y1 < y2, got {crop_xyxy}")
    clip = np.empty((len(frames), size, size, 3), np.uint8)
    for resized, frame in zip(clip, frames, strict=True):
        cv2.resize(_cut(frame, crop_xyxy), (size, size), dst=resized, interpolation=cv2.INTER_LINEAR)
    return clip


def _cut(frame_rgb: UInt8Array, crop_xyxy: BoxInt) -> UInt8Array:
    x1, y1, x2, y2 = crop_xyxy
    height, width = frame_rgb.shape[:2]
    if x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height:
        return frame_rgb[y1:y2, x1:x2]
    rows = np.clip(np.arange(y1, y2), 0, height - 1)
    columns = np.clip(np.arange(x1, x2), 0, width - 1)
    return frame_rgb.take(rows, axis=0).take(columns, axis=1)


def resize_for_detector(frame_rgb: UInt8Array, size: int) -> UInt8Array:
    """The whole frame at the detector's input size: uint8 (size, size, 3), its aspect ratio not kept.

    Pillow's antialiased bilinear filter, which is what RT-DETR is trained and evaluated with.
    """
    image = Image.fromarray(frame_rgb).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
