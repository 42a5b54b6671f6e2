"""The network as it is computed when nothing is learnt any more: the same function, with less to do.

    network = Prepared(network, config)                       # a copy; the network is left alone
    logits, boxes = network(images)                           # uint8 (n, S, S, 3), of the decoder layer that is used

Batch norms are taken in by the convolutions before them, RepVGG's two branches become one convolution (Ding et al.,
"RepVGG: Making VGG-style ConvNets Great Again", 2021, section 3.2), and what comes after the backbone is computed in
another order (`pyramid`, `decoding`). Results change by rounding.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import RTDetrV2ForObjectDetection, RTDetrV2Model
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2FrozenBatchNorm2d, RTDetrV2RepVggBlock

from mousetal.detector.config import NetworkConfig, map_sides
from mousetal.detector.decoding import Decoding
from mousetal.detector.pyramid import Pyramid
from mousetal.detector.sampling import ProjectedFirst, Sampling
from mousetal.modelconfig import RtdetrConfig

FROZEN_EPS = 1e-5  # the library's own, where batch norms are frozen


class Prepared(nn.Module):
    """The network from uint8 images (n, S, S, 3) to logits and boxes of the decoder layer that is used."""

    def __init__(
        self, network: RTDetrV2ForObjectDetection, config: RtdetrConfig, order: type[Sampling] = ProjectedFirst
    ) -> None:
        super().__init__()
        model = copy.deepcopy(network.model).eval()
        fold_batch_norms(model)
        merge_branches(model)
        layer = NetworkConfig.from_json(config.network, "network").eval_layer
        self.convolutions = Convolutions(model)
        self.decoding = Decoding(model, layer, map_sides(config.input.input_size), order)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.permute(0, 3, 1, 2).to(self.decoding.anchors.dtype) / 255  # channels last, as images are
        answer: tuple[Tensor, Tensor] = self.decoding(*self.convolutions(pixels))
        return answer


class Convolutions(nn.Module):
    """From pixels (n, 3, S, S), 0 to 1, to the maps (n, C, H, W) that the decoder looks at, the finest first.

    That is nearly all convolutions, of the published r18vd 49 of 56 GFLOP.
    """

    def __init__(self, model: RTDetrV2Model) -> None:
        super().__init__()
        whole: Any = model  # the library does not say of what types its parts are
        self.backbone = whole.backbone.model
        self.pyramid = Pyramid(whole.encoder, [first for first, _ in whole.encoder_input_proj])

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = self.pyramid(self.backbone(pixels).feature_maps)
        return maps


def fold_batch_norms(module: nn.Module) -> None:
    """Let every convolution that a batch norm follows take it in."""
    for parent in list(module.modules()):
        for (first_name, first), (second_name, second) in pairwise(list(parent.named_children())):
            norm = _batch_norm(second)
            if isinstance(first, nn.Conv2d) and norm is not None:
                setattr(parent, first_name, fuse_conv_bn_eval(first, norm))
                setattr(parent, second_name, nn.Identity())


def merge_branches(module: nn.Module) -> None:
    """Make the sum of a 3x3 and a 1x1 convolution one 3x3 convolution, once batch norms are folded."""
    for parent in list(module.modules()):
        for name, block in list(parent.named_children()):
            if isinstance(block, RTDetrV2RepVggBlock):
                setattr(parent, name, nn.Sequential(_merged(block.conv1.conv, block.conv2.conv), block.activation))


def _merged(wide: nn.Conv2d, narrow: nn.Conv2d) -> nn.Conv2d:
    """One convolution that is the sum of a 3x3 and a 1x1, both with a bias; the latter is the former's middle."""
    assert wide.bias is not None
    assert narrow.bias is not None
    merged = copy.deepcopy(wide)
    with torch.no_grad():
        merged.weight.copy_(wide.weight + F.pad(narrow.weight, (1, 1, 1, 1)))
        merged.bias.copy_(wide.bias + narrow.bias)  # type: ignore[union-attr]
    return merged


def _batch_norm(module: nn.Module) -> nn.BatchNorm2d | None:
    """The module as torch's batch norm, if it is one, frozen or not."""
    if isinstance(module, nn.BatchNorm2d):
        return module
    if not isinstance(module, RTDetrV2FrozenBatchNorm2d):
        return None
    norm = nn.BatchNorm2d(len(module.weight), eps=FROZEN_EPS, dtype=module.weight.dtype).eval()
    norm.load_state_dict(module.state_dict(), strict=False)
    return norm
