"""Stored clips to batches for the classifier: decoded, shifted, turned, mirrored, re-lit, normalised."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from mousetal.modelconfig import IMAGENET_MEAN, IMAGENET_STD
from mousetal.types import UInt8Array
from training.samples import MARGIN, Clips


def decode_strip(strip: bytes) -> UInt8Array:
    """The frames of a stored clip: uint8 (T, S, S, 3), RGB."""
    picture = cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR)
    size = picture.shape[0]
    frames = picture.reshape(size, -1, size, 3).transpose(1, 0, 2, 3)
    return np.ascontiguousarray(frames[..., ::-1])


def augment(clip: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """A shifted, mirrored and turned clip without its margin: (T, S - 2 MARGIN, S - 2 MARGIN, 3)."""
    down, right = rng.integers(2 * MARGIN + 1, size=2)
    size = clip.shape[1] - 2 * MARGIN
    clip = clip[:, down : down + size, right : right + size]
    if rng.random() < 0.5:
        clip = clip[:, :, ::-1]
    return np.ascontiguousarray(np.rot90(clip, rng.integers(4), axes=(1, 2)))


def centre(clip: UInt8Array) -> UInt8Array:
    """The clip without its margin, as at inference."""
    return clip[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def to_tensor(clips: list[UInt8Array], gain: np.ndarray | float = 1.0, offset: np.ndarray | float = 0.0) -> Tensor:
    """Normalised float32 (B, 3, T, S, S), as the network takes them, of pixels times ``gain`` plus ``offset``.

    The two change the light of a whole clip: anything that broadcasts to (B, 3).
    """
    pixels = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float()
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    factor = np.broadcast_to(gain / (255 * std), (len(clips), 3)).astype(np.float32)
    shift = np.broadcast_to((offset / 255 - mean) / std, (len(clips), 3)).astype(np.float32)
    factors, shifts = (torch.from_numpy(values)[:, :, None, None, None] for values in (factor, shift))
    return pixels.mul_(factors).add_(shifts)


def draw_batch(
    data: Clips, size: int, shares: tuple[float, ...], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A random batch: clips, labels (B,), labels of all frames (B, T).

    Classes come up in proportion to ``shares``, less those of which there is no clip.
    """
    wanted = np.where(np.isin(np.arange(len(shares)), data.labels), shares, 0.0)
    drawn_labels = rng.choice(len(shares), size, p=wanted / wanted.sum())
    chosen = [int(rng.choice(np.flatnonzero(data.labels == label))) for label in drawn_labels]
    clips, frame_labels = [], []
    for i in chosen:
        order = slice(None, None, rng.choice([-1, 1]))  # half of them played backwards
        clips.append(augment(decode_strip(data.strips[i])[order], rng))
        frame_labels.append(data.frame_labels[i][order])
    gain = rng.uniform(0.75, 1.3, (size, 1)) * rng.uniform(0.93, 1.07, (size, 3))
    pixels = to_tensor(clips, gain, rng.uniform(-20, 20, (size, 1)))
    return pixels, torch.from_numpy(data.labels[chosen]), torch.from_numpy(np.stack(frame_labels)).long()
