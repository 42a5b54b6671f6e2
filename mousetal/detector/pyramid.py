"""The hybrid encoder's feature pyramid with less to do: maps are convolved before they are enlarged and joined.

    pyramid = Pyramid(model.encoder, projections)             # the library's, batch norms folded
    maps = pyramid([fine, middle, coarse])                    # the backbone's, (n, c, h, w) -> (n, C, h, w) each

The library enlarges the coarser map, joins it to the finer one and lets two 1x1 convolutions look at both. These do the
same to every pixel, so that the coarser map's share of the sum is worked out at a quarter of the places and enlarged
afterwards, and nothing is joined. The projection that gives a finer map its C channels has nothing between it and them,
and becomes part of them. Results change by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2CSPRepLayer

from mousetal.detector.joined import convolution, joined


class Pyramid(nn.Module):
    """The library's encoder (RTDetrV2HybridEncoder); its parts are used, not copied, where nothing changes."""

    def __init__(self, encoder: Any, projections: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        # Not the encoder itself: what a module holds in two places pnnx does not take for constant.
        self.attended, self.attention = list(encoder.encode_proj_layers), encoder.aifi
        self.laterals, self.reductions = encoder.lateral_convs, encoder.downsample_convs
        # The coarsest map is where it begins, the others come in one by one, as they are unless they are attended to.
        early = {len(projections) - 1, *self.attended}
        self.projections = nn.ModuleList(one if at in early else nn.Identity() for at, one in enumerate(projections))
        places = range(len(projections) - 2, -1, -1)
        self.upwards = nn.ModuleList(
            Fusion(block, None if at in early else projections[at])
            for at, block in zip(places, encoder.fpn_blocks, strict=True)
        )
        self.downwards = nn.ModuleList(Fusion(block) for block in encoder.pan_blocks)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """From the backbone's maps (n, c, h, w), the finest first, to as many (n, C, h, w)."""
        given = [project(one) for project, one in zip(self.projections, maps, strict=True)]
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
    """A CSP block of two maps, given apart; ``enlarge`` says how many times larger the second one's sides are.

    ``projection`` is what the second map has to go through before, None where it did.
    """

    def __init__(self, block: RTDetrV2CSPRepLayer, projection: nn.Conv2d | None = None) -> None:
        super().__init__()
        both = (block.conv1.conv, block.conv2.conv)
        self.first, second = (_share(both, half) for half in (0, 1))
        self.second = second if projection is None else _chained(projection, second)
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
    weight = torch.cat([one.weight.chunk(2, 1)[half].flatten(1) for one in convolutions])
    return convolution(weight, torch.cat([_bias(one) for one in convolutions]) if half == 1 else None)


def _chained(first: nn.Conv2d, second: nn.Conv2d) -> nn.Module:
    """Two 1x1 convolutions one after the other, as one where that is less to multiply."""
    single = first.in_channels * second.out_channels
    if single < first.out_channels * (first.in_channels + second.out_channels):
        return convolution(*joined(first, second))
    return nn.Sequential(first, second)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
