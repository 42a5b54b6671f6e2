"""The detector's decoder with less to do: from the pyramid's maps to logits and boxes, the same function.

    decoding = Decoding(model, layer=2, sides=(80, 40, 20))   # the library's, its batch norms folded
    logits, boxes = decoding(fine, middle, coarse)            # (n, C, h, w) each -> (n, queries, classes) and (.., 4)

The library projects every map, moves channels last, joins all tokens (8,400 at 640 pixels), and every layer projects
them once more and moves channels first again, to sample from. Here the two projections, with nothing between them, are
one; values to sample from are made channels first, as maps are; every map is sampled and summed by itself; and boxes
are worked out for the tokens that are kept (300) instead of all. Results change by rounding.

Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", 2024; Lv et al., "RT-DETRv2", 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import RTDetrV2Model
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import (
    RTDetrV2DecoderLayer,
    RTDetrV2MultiscaleDeformableAttention,
    inverse_sigmoid,
)


class Decoding(nn.Module):
    """What the library's ``model`` makes of its encoder's maps, which are square, up to decoder layer ``layer``."""

    anchors: Tensor
    is_inside: Tensor

    def __init__(self, model: RTDetrV2Model, layer: int, sides: Sequence[int]) -> None:
        super().__init__()
        whole: Any = model  # the library does not say of what types its parts are
        projections = [first for first, _ in whole.decoder_input_proj]
        linear, self.norm = whole.enc_output
        self.tokens = nn.ModuleList(_Projection(one, linear) for one in projections)
        self.nothing = nn.Parameter(linear.bias.detach().clone())  # what becomes of a token that does not count
        self.score_head, self.box_head = whole.enc_score_head, whole.enc_bbox_head
        self.num_queries = whole.config.num_queries
        anchors, is_inside = whole.generate_anchors(tuple((side, side) for side in sides), dtype=linear.weight.dtype)
        self.register_buffer("anchors", anchors.clone())
        self.register_buffer("is_inside", is_inside.clone())
        decoder = whole.decoder
        self.position_head = decoder.query_pos_head
        self.layers = nn.ModuleList(_Layer(one, projections) for one in decoder.layers[: layer + 1])
        self.box_heads = nn.ModuleList(decoder.bbox_embed[: layer + 1])
        self.class_head = decoder.class_embed[layer]

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (n, C, h, w), the finest first, to logits (n, queries, classes) and boxes (n, queries, 4), 0 to 1."""
        hidden, places = self._best(maps)
        for layer, box_head in zip(self.layers, self.box_heads, strict=True):
            hidden = layer(hidden, self.position_head(places), places, maps)
            places = F.sigmoid(box_head(hidden) + inverse_sigmoid(places))  # type: ignore[no-untyped-call]
        return self.class_head(hidden), places

    def _best(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The best tokens (n, queries, C) and their boxes."""
        flat = [one.flatten(2).transpose(1, 2) for one in maps]
        tokens = torch.cat([token(one) for token, one in zip(self.tokens, flat, strict=True)], 1)
        # A token at the very edge of a large picture does not count.
        tokens = self.norm(torch.where(self.is_inside, tokens, self.nothing))
        best = self.score_head(tokens).max(-1).values.topk(self.num_queries, 1).indices[..., None]
        kept = tokens.gather(1, best.expand(-1, -1, tokens.shape[2]))
        anchors = self.anchors.expand(len(best), -1, -1).gather(1, best.expand(-1, -1, 4))
        return kept, F.sigmoid(self.box_head(kept) + anchors)


class _Projection(nn.Module):
    """A 1x1 convolution and the linear layer after it, in one.

    From tokens (n, count, C) to as many, or, channels first, from (n, C, count) to that.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Linear, channels_first: bool = False) -> None:
        super().__init__()
        assert first.bias is not None
        with torch.no_grad():
            # In double precision, so that what is kept is rounded once.
            after = second.weight.double()
            weight, bias = after @ first.weight.flatten(1).double(), after @ first.bias.double() + second.bias.double()
        weight, bias = weight.to(second.weight.dtype), bias.to(second.weight.dtype)
        self.channels_first = channels_first
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias[:, None] if channels_first else bias)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weight @ tokens + self.bias if self.channels_first else F.linear(tokens, self.weight, self.bias)


class _Layer(nn.Module):
    """One of the library's decoder layers; what it asks the maps for, it asks `_Sampling`."""

    def __init__(self, layer: RTDetrV2DecoderLayer, projections: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.own, self.own_norm = layer.self_attn, layer.self_attn_layer_norm
        self.sampling, self.sampling_norm = _Sampling(layer.encoder_attn, projections), layer.encoder_attn_layer_norm
        self.mlp, self.mlp_norm = layer.mlp, layer.final_layer_norm

    def forward(self, hidden: Tensor, positions: Tensor, places: Tensor, maps: Sequence[Tensor]) -> Tensor:
        hidden = self.own_norm(hidden + self.own(hidden, position_embeddings=positions)[0])
        hidden = self.sampling_norm(hidden + self.sampling(hidden + positions, places, maps))
        answer: Tensor = self.mlp_norm(hidden + self.mlp(hidden))
        return answer


class _Sampling(nn.Module):
    """Deformable attention over several maps, of values that are made channels first."""

    def __init__(self, attention: RTDetrV2MultiscaleDeformableAttention, projections: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.offsets, self.weights = attention.sampling_offsets, attention.attention_weights
        self.values = nn.ModuleList(_Projection(one, attention.value_proj, channels_first=True) for one in projections)
        self.output = attention.output_proj
        self.heads, self.points = attention.n_heads, attention.n_points
        self.reach = attention.offset_scale / attention.n_points  # of an offset of 1, in sides of the box
        self.sample = {"default": _between, "discrete": _nearest}[attention.method]

    def forward(self, asking: Tensor, places: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """What ``asking`` (n, queries, C) finds around its ``places`` (n, queries, 4) on ``maps`` (n, C, h, w)."""
        number, queries, _ = asking.shape
        shape = (number, queries, self.heads, len(maps), self.points)
        weights = F.softmax(self.weights(asking).view(*shape[:3], -1), -1).view(shape)
        offsets = self.offsets(asking).view(*shape, 2) * self.reach
        centres, sides = (one.view(number, queries, 1, 1, 1, 2) for one in (places[..., :2], places[..., 2:]))
        where = centres + offsets * sides
        # (n, queries, heads, levels, points, ...) to one (n * heads, queries, points, ...) per level
        where, weights = where.permute(3, 0, 2, 1, 4, 5).flatten(1, 2), weights.permute(3, 0, 2, 1, 4).flatten(1, 2)
        parts = []
        for level, (one, project) in enumerate(zip(maps, self.values, strict=True)):
            values = project(one.flatten(2)).reshape(number * self.heads, -1, *one.shape[2:])
            parts.append((self.sample(values, where[level]) * weights[level][:, None]).sum(-1))
        found = sum(parts[1:], parts[0])
        answer: Tensor = self.output(found.reshape(number, -1, queries).transpose(1, 2))
        return answer


def _between(values: Tensor, where: Tensor) -> Tensor:
    """Values (m, c, h, w) at ``where`` (m, queries, points, 2), x and y from 0 to 1: (m, c, queries, points)."""
    return F.grid_sample(values, 2 * where - 1, mode="bilinear", padding_mode="zeros", align_corners=False)


def _nearest(values: Tensor, where: Tensor) -> Tensor:
    """The same, from the nearest cell, as the library's "discrete" sampling has it."""
    height, width = values.shape[2:]
    x, y = ((where[..., at] * side + 0.5).to(torch.int64).clamp(0, side - 1) for at, side in ((0, width), (1, height)))
    index = (y * width + x).flatten(1)[:, None].expand(-1, values.shape[1], -1)
    return values.flatten(2).gather(2, index).reshape(*values.shape[:2], *where.shape[1:3])
