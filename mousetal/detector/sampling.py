"""Deformable attention over the pyramid's maps, in either of two orders: the same function, with less to do.

    sampling = SampledFirst(attention, projections)           # or ProjectedFirst; the library's, batch norms folded
    found = sampling(asking, places, levels)                  # what queries (n, queries, C) find around their boxes

The library projects every map twice, to memory and to values, and samples of every head's values what each query asks
for. Here the two projections are one. `ProjectedFirst` keeps the order, with values channels first, as maps are. On a
CPU that is 3.3 GFLOP in r18vd's three layers, most of it for places that nobody asks for. `SampledFirst` sums up what
a query and head ask for of the maps themselves, and projects the sum: a tenth of the arithmetic, but eight times as
much to read, as every head needs all channels. A CPU has the maps in its caches, and gains; on a GPU, where products
cost nearly nothing, it would not.

Zhu et al., "Deformable DETR", 2021, section 4.1; Lv et al., "RT-DETRv2", 2024.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2MultiscaleDeformableAttention

from mousetal.detector.joined import joined


class Level(NamedTuple):
    """One of the pyramid's maps, (n, C, h, w), and the same as rows, (n, h * w, C)."""

    map: Tensor
    rows: Tensor


class Sampling(nn.Module, ABC):
    """What both orders have in common: where to look, how much each place counts, and what makes values of maps."""

    def __init__(self, attention: RTDetrV2MultiscaleDeformableAttention, projections: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        parts = [joined(one, attention.value_proj) for one in projections]
        self.value_weights = nn.ParameterList(weight for weight, _ in parts)
        self.value_biases = nn.ParameterList(bias for _, bias in parts)
        self.offsets, self.weights = attention.sampling_offsets, attention.attention_weights
        self.output = attention.output_proj
        self.heads, self.points = attention.n_heads, attention.n_points
        self.reach = attention.offset_scale / attention.n_points  # of an offset of 1, in sides of the box
        self.is_discrete = {"default": False, "discrete": True}[attention.method]

    def forward(self, asking: Tensor, places: Tensor, levels: Sequence[Level]) -> Tensor:
        """What ``asking`` (n, queries, C) finds around its ``places`` (n, queries, 4; 0 to 1) on ``levels``."""
        number, queries, _ = asking.shape
        shape = (number, queries, self.heads, len(levels), self.points)
        weights = F.softmax(self.weights(asking).view(*shape[:3], -1), -1).view(shape)
        offsets = self.offsets(asking).view(*shape, 2) * self.reach
        centres, sides = (one.view(number, queries, 1, 1, 1, 2) for one in (places[..., :2], places[..., 2:]))
        where = (centres + offsets * sides).permute(3, 0, 2, 1, 4, 5)
        weights = weights.permute(3, 0, 2, 1, 4)
        parts = [self.found(place, level, where[place], weights[place]) for place, level in enumerate(levels)]
        values = sum(parts[1:], parts[0]).transpose(1, 2)
        answer: Tensor = self.output(values.reshape(number, queries, -1))
        return answer

    @abstractmethod
    def found(self, place: int, level: Level, where: Tensor, weights: Tensor) -> Tensor:
        """Sums of values of the level at ``place``, (n, heads, queries, C / heads).

        ``where`` is (n, heads, queries, points, 2), x and y from 0 to 1; ``weights`` the same without the last.
        """


class ProjectedFirst(Sampling):
    """The library's order: values of all places, then the sum."""

    def found(self, place: int, level: Level, where: Tensor, weights: Tensor) -> Tensor:
        number, _, height, width = level.map.shape
        values = self.value_weights[place] @ level.map.flatten(2) + self.value_biases[place][:, None]
        values = values.reshape(number * self.heads, -1, height, width)
        sample = _nearest if self.is_discrete else _between
        sums = (sample(values, where.flatten(0, 1)) * weights.flatten(0, 1)[:, None]).sum(-1)
        found: Tensor = sums.view(number, self.heads, *sums.shape[1:]).transpose(2, 3)
        return found


class SampledFirst(Sampling):
    """The sum of what is asked for, of all channels; then a head's values of it."""

    def found(self, place: int, level: Level, where: Tensor, weights: Tensor) -> Tensor:
        number, channels, height, width = level.map.shape
        cells, shares = (_nearest_cell if self.is_discrete else _corners)(where, height, width)
        shares = (shares * weights[..., None]).flatten(3)
        cells = cells.flatten(3) + height * width * torch.arange(number, device=cells.device)[:, None, None, None]
        rows = level.rows.reshape(-1, channels)
        sums = F.embedding_bag(cells.flatten(0, 2), rows, per_sample_weights=shares.flatten(0, 2), mode="sum")
        sums = sums.view(*shares.shape[:3], channels)
        weight = self.value_weights[place].view(self.heads, -1, channels).transpose(1, 2)  # (heads, C, C / heads)
        bias = self.value_biases[place].view(self.heads, 1, -1)
        # What lies outside of the map counts as a value of 0, without the bias.
        found: Tensor = sums @ weight + shares.sum(-1, keepdim=True) * bias
        return found


def _corners(where: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four cells around places (..., 2), x and y from 0 to 1: their numbers and their shares, (..., 4).

    As `grid_sample` has it, with a cell's middle half a cell from its edge. Cells outside have no share.
    """
    (columns, across), (lines, down) = (_pair(where[..., at], side) for at, side in ((0, width), (1, height)))
    cells = lines[..., :, None] * width + columns[..., None, :]
    return cells.flatten(-2), (down[..., :, None] * across[..., None, :]).flatten(-2)


def _pair(where: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The two cells of a row of ``side`` cells that lie around places (...,), and their shares: (..., 2) each."""
    place = (where * side - 0.5)[..., None]
    cells = place.floor() + torch.arange(2, dtype=place.dtype, device=place.device)
    shares = 1 - (place - cells).abs()
    # Whole numbers last: what is no number must not become a cell that is not there, but stays none in its share.
    inside = cells.to(torch.int64).clamp(0, side - 1)
    return inside, shares * (cells == inside)


def _nearest_cell(where: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The cell that places (..., 2) lie in, as the library's "discrete" sampling has it: its number and 1, (..., 1)."""
    x, y = ((where[..., at] * side + 0.5).to(torch.int64).clamp(0, side - 1) for at, side in ((0, width), (1, height)))
    return (y * width + x)[..., None], torch.ones_like(where[..., :1])


def _between(values: Tensor, where: Tensor) -> Tensor:
    """Values (m, c, h, w) at ``where`` (m, queries, points, 2), x and y from 0 to 1: (m, c, queries, points)."""
    return F.grid_sample(values, 2 * where - 1, mode="bilinear", padding_mode="zeros", align_corners=False)


def _nearest(values: Tensor, where: Tensor) -> Tensor:
    """The same, from the nearest cell."""
    cells, _ = _nearest_cell(where, *values.shape[2:])
    index = cells.flatten(1)[:, None].expand(-1, values.shape[1], -1)
    return values.flatten(2).gather(2, index).reshape(*values.shape[:2], *where.shape[1:3])
