"""The hybrid encoder's feature pyramid with less to do: maps are convolved before they are enlarged and joined.

    pyramid = Pyramid(model.encoder)                          # the library's, its batch norms folded
    maps = pyramid([fine, middle, coarse])                    # (n, C, h, w) each -> as many, as large

The library enlarges the coarser map, joins it to the finer one and lets two 1x1 convolutions look at both. These do the
same to every pixel, so that the coarser map's share of the sum is worked out at a quarter of the places and enlarged
afterwards, and nothing is joined. Results change by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2CSPRepLayer


class Pyramid(nn.Module):
    """The library's encoder (RTDetrV2HybridEncoder); its parts are used, not copied, where nothing changes."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        # Not the encoder itself: what a module holds in two places pnnx does not take for constant.
        self.attended, self.attention = list(encoder.encode_proj_layers), encoder.aifi
        self.laterals, self.reductions = encoder.lateral_convs, encoder.downsample_convs
        self.upwards = nn.ModuleList(Fusion(block) for block in encoder.fpn_blocks)
        self.downwards = nn.ModuleList(Fusion(block) for block in encoder.pan_blocks)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """From maps (n, C, h, w), the finest first, to as many of the same sizes."""
        given = list(maps)
        for place, layers in zip(self.attended, self.attention, strict=True):
            given[place] = layers(given[place])
        coarse = given.pop()
        waiting: list[Tensor] = []  # the coarsest first
        for lateral, fusion in zip(self.laterals, self.upwards, strict=True):
            waiting.append(lateral(coarse))
            coarse = fusion(waiting[-1], given.pop(), enlarge=2)
        done = [coarse]
        for reduced, fusion in zip(self.reductions, self.downwards, strict=True):
            done.append(fusion(reduced(done[-1]), waiting.pop()))
        return tuple(done)


class Fusion(nn.Module):
    """A CSP block of two maps, given apart; ``enlarge`` says how many times larger the second one's sides are."""

    def __init__(self, block: RTDetrV2CSPRepLayer) -> None:
        super().__init__()
        both = (block.conv1.conv, block.conv2.conv)
        self.first, self.second = (_share(both, half) for half in (0, 1))
        self.activation = block.conv1.activation
        self.bottlenecks, self.last = block.bottlenecks, block.conv3

    def forward(self, first: Tensor, second: Tensor, enlarge: int = 1) -> Tensor:
        share = self.first(first)
        if enlarge > 1:
            share = F.interpolate(share, scale_factor=float(enlarge), mode="nearest")
        deep, direct = self.activation(share + self.second(second)).chunk(2, 1)
        joined: Tensor = self.last(self.bottlenecks(deep) + direct)
        return joined


def _share(convolutions: Sequence[nn.Conv2d], half: int) -> nn.Conv2d:
    """What 1x1 convolutions, side by side, make of one half of their input's channels; the second has the biases."""
    weight = torch.cat([one.weight.chunk(2, 1)[half] for one in convolutions])
    share = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=half == 1, dtype=weight.dtype)
    with torch.no_grad():
        share.weight.copy_(weight)
        if share.bias is not None:
            share.bias.copy_(torch.cat([_bias(one) for one in convolutions]))
    return share


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
