"""Pixels as the network takes them, made where the network is: a batch travels to the GPU as bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from mousetal.modelconfig import IMAGENET_MEAN, IMAGENET_STD


def normalised(clips: Tensor) -> Tensor:
    """Float32 (n, 3, T, S, S), as `mousetal.mvd.Classifier` gives them to its network, of uint8 (n, T, S, S, 3)."""
    n, frames, height, width, channels = clips.shape
    planes = torch.empty((n, channels, frames, height, width), device=clips.device)
    # Plane by plane: with the three channels innermost every operation would be a loop of three.
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        planes[:, channel].copy_(clips[..., channel]).div_(255).sub_(mean).div_(std)
    return planes
