"""The detector's decoder with less to do: from the pyramid's maps to logits and boxes, the same function.

    decoding = Decoding(model, layer=2, sides=(80, 40, 20), order=SampledFirst)   # the library's, batch norms folded
    logits, boxes = decoding(fine, middle, coarse)            # (n, C, h, w) each -> (n, queries, classes) and (.., 4)

The library projects every map, moves channels last, joins all tokens (8,400 at 640 pixels), and every layer projects
them once more and moves channels first again, to sample from. Here the two projections, with nothing between them, are
one; every map is sampled and summed by itself, in the order that suits the device (`sampling`); and boxes are worked
out for the tokens that are kept (300) instead of all. Results change by rounding.

Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", 2024; Lv et al., "RT-DETRv2", 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import RTDetrV2Model
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2DecoderLayer, inverse_sigmoid

from mousetal.detector.joined import joined
from mousetal.detector.sampling import Level, Sampling


class Decoding(nn.Module):
    """What the library's ``model`` makes of its encoder's maps, which are square, up to decoder layer ``layer``."""

    anchors: Tensor
    is_inside: Tensor

    def __init__(self, model: RTDetrV2Model, layer: int, sides: Sequence[int], order: type[Sampling]) -> None:
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
        self.layers = nn.ModuleList(
            _Layer(one, order(one.encoder_attn, projections)) for one in decoder.layers[: layer + 1]
        )
        self.box_heads = nn.ModuleList(decoder.bbox_embed[: layer + 1])
        self.class_head = decoder.class_embed[layer]

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (n, C, h, w), the finest first, to logits (n, queries, classes) and boxes (n, queries, 4), 0 to 1."""
        levels = [Level(one, one.flatten(2).transpose(1, 2)) for one in maps]
        hidden, places = self._best(levels)
        for layer, box_head in zip(self.layers, self.box_heads, strict=True):
            hidden = layer(hidden, self.position_head(places), places, levels)
            places = F.sigmoid(box_head(hidden) + inverse_sigmoid(places))  # type: ignore[no-untyped-call]
        return self.class_head(hidden), places

    def _best(self, levels: Sequence[Level]) -> tuple[Tensor, Tensor]:
        """The best tokens (n, queries, C) and their boxes."""
        tokens = torch.cat([token(level.rows) for token, level in zip(self.tokens, levels, strict=True)], 1)
        # A token at the very edge of a large picture does not count.
        tokens = self.norm(torch.where(self.is_inside, tokens, self.nothing))
        best = self.score_head(tokens).max(-1).values.topk(self.num_queries, 1).indices[..., None]
        kept = tokens.gather(1, best.expand(-1, -1, tokens.shape[2]))
        anchors = self.anchors.expand(len(best), -1, -1).gather(1, best.expand(-1, -1, 4))
        return kept, F.sigmoid(self.box_head(kept) + anchors)


class _Projection(nn.Module):
    """A 1x1 convolution and the linear layer after it, in one: from tokens (n, count, C) to as many."""

    def __init__(self, first: nn.Conv2d, second: nn.Linear) -> None:
        super().__init__()
        weight, bias = joined(first, second)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(tokens, self.weight, self.bias)


class _Layer(nn.Module):
    """One of the library's decoder layers; what it asks the maps for, it asks ``sampling``."""

    def __init__(self, layer: RTDetrV2DecoderLayer, sampling: Sampling) -> None:
        super().__init__()
        self.own, self.own_norm = layer.self_attn, layer.self_attn_layer_norm
        self.sampling, self.sampling_norm = sampling, layer.encoder_attn_layer_norm
        self.mlp, self.mlp_norm = layer.mlp, layer.final_layer_norm

    def forward(self, hidden: Tensor, positions: Tensor, places: Tensor, levels: Sequence[Level]) -> Tensor:
        hidden = self.own_norm(hidden + self.own(hidden, position_embeddings=positions)[0])
        hidden = self.sampling_norm(hidden + self.sampling(hidden + positions, places, levels))
        answer: Tensor = self.mlp_norm(hidden + self.mlp(hidden))
        return answer
