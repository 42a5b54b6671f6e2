"""Two linear layers with nothing between them are one, worked out in double precision, so as to round once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Linear = nn.Conv2d | nn.Linear  # a convolution of 1x1: the same for every pixel


def joined(first: Linear, second: Linear) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) of what ``second`` makes of what ``first`` makes."""
    (before, low), (after, high) = _parts(first), _parts(second)
    kind = second.weight.dtype
    with torch.no_grad():
        return (after @ before).to(kind), (after @ low + high).to(kind)


def convolution(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A 1x1 convolution of these: (out, in) and (out,)."""
    made = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight[..., None, None])
        if made.bias is not None and bias is not None:
            made.bias.copy_(bias)
    return made


def _parts(layer: Linear) -> tuple[Tensor, Tensor]:
    weight = layer.weight.detach().flatten(1).double()
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
