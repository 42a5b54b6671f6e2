"""Two clips made one: mixup and CutMix, for video.

Mixup (Zhang et al. 2018) blends two clips; CutMix (Yun et al. 2019) puts a rectangle of one into the other, here the
same rectangle through all frames, with the target's share by its area. Partners are the batch in reverse order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mix:
    """``share`` of the result is the clip's own, 0..1; ``box`` is the rectangle ``top, bottom, left, right`` that comes
    from the partner, None for a blend."""

    share: float
    box: tuple[int, int, int, int] | None = None


def draw_mix(
    rng: np.random.Generator,
    size: int,
    mixup_alpha: float,
    cutmix_alpha: float,
    probability: float,
    cutmix_share: float,
) -> Mix | None:
    """How to mix the next batch of clips of ``size`` pixels; None for not at all.

    The share comes from a beta distribution with the given alpha; an alpha of 0 switches that kind off.
    ``cutmix_share`` is how often CutMix is taken where both are on.
    """
    if rng.random() >= probability or (mixup_alpha <= 0 and cutmix_alpha <= 0):
        return None
    is_cut = cutmix_alpha > 0 and (mixup_alpha <= 0 or rng.random() < cutmix_share)
    if not is_cut:
        return Mix(float(rng.beta(mixup_alpha, mixup_alpha)))
    side = math.sqrt(1 - float(rng.beta(cutmix_alpha, cutmix_alpha))) * size
    row, column = rng.integers(size, size=2)
    top, bottom = (int(np.clip(row + sign * side // 2, 0, size)) for sign in (-1, 1))
    left, right = (int(np.clip(column + sign * side // 2, 0, size)) for sign in (-1, 1))
    return Mix(1 - (bottom - top) * (right - left) / size**2, (top, bottom, left, right))


def mix_clips(clips: Tensor, mix: Mix | None) -> Tensor:
    """Clips (B, C, T, H, W), each mixed with the one at the mirrored place of the batch."""
    if mix is None:
        return clips
    partners = clips.flip(0)
    if mix.box is None:
        return torch.lerp(partners, clips, mix.share)
    top, bottom, left, right = mix.box
    mixed = clips.clone()
    mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    return mixed


def mix_targets(targets: Tensor, mix: Mix | None) -> Tensor:
    """Soft targets (B, classes) of the mixed clips."""
    return targets if mix is None else torch.lerp(targets.flip(0), targets, mix.share)
