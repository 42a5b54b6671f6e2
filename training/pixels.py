"""Pixels as the network takes them, made where the network is: a batch travels to the GPU as bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from mousetal.modelconfig import IMAGENET_MEAN, IMAGENET_STD


def normalised(clips: Tensor) -> Tensor:
    """Float32 (n, 3, T, S, S), as `mousetal.mvd.Classifier` gives them to its network, of uint8 (n, T, S, S, 3)."""
    mean, std = (torch.tensor(values, device=clips.device) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return clips.float().div_(255).sub_(mean).div_(std).permute(0, 4, 1, 2, 3)
