"""The network as it is computed when nothing is learnt any more: the same function, with less to do.

    module = prepared(EvalLayer(network, config).eval())      # a copy; the network is left alone

Batch norms are taken in by the convolutions before them, RepVGG's two branches become one convolution (Ding et al.,
"RepVGG: Making VGG-style ConvNets Great Again", 2021, section 3.2), and boxes are worked out for the tokens that are
kept only. Results change by rounding.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import (
    RTDetrV2FrozenBatchNorm2d,
    RTDetrV2Model,
    RTDetrV2RepVggBlock,
)

FROZEN_EPS = 1e-5  # the library's own, where batch norms are frozen

Module = TypeVar("Module", bound=nn.Module)


def prepared(module: Module, is_compiled: bool = False) -> Module:
    """A copy of a module in evaluation mode that holds the library's network, or parts of it.

    What is to be compiled works out boxes for all tokens: the stand-in for these would break its graph into pieces.
    """
    copied = copy.deepcopy(module)
    fold_batch_norms(copied)
    merge_branches(copied)
    for model in list(copied.modules()):
        if isinstance(model, RTDetrV2Model) and not is_compiled:
            setattr(model, "enc_bbox_head", _Late(model.enc_bbox_head))  # noqa: B010  it is of another type
    return copied


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
    norm = nn.BatchNorm2d(len(module.weight), eps=FROZEN_EPS).eval()
    norm.load_state_dict(module.state_dict(), strict=False)
    return norm


class _Late(nn.Module):
    """The encoder's box head, which works when it is known for which tokens.

    The library applies it to every token (8400 at 640 pixels), adds their anchors and gathers the best (300). The head
    looks at each token by itself, so gathering first gives the same.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor) -> _LateBoxes:
        return _LateBoxes(self.head, tokens)


class _LateBoxes:
    """What the head would say of ``tokens`` (n, all, width), plus ``anchors`` (1, all, 4): (n, all, 4).

    It can do what the library asks of it: it has a shape, anchors are added to it, and it is gathered from.
    """

    def __init__(self, head: nn.Module, tokens: Tensor, anchors: Tensor | None = None) -> None:
        self._head, self._tokens, self._anchors = head, tokens, anchors

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._tokens.shape[0], self._tokens.shape[1], 4

    def __add__(self, anchors: Tensor) -> _LateBoxes:
        return _LateBoxes(self._head, self._tokens, anchors)

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """The rows of ``index`` (n, kept, 4), which says the same for all four numbers of a box."""
        assert dim == 1
        assert self._anchors is not None
        tokens = self._tokens.gather(1, index[:, :, :1].expand(-1, -1, self._tokens.shape[2]))
        anchors = self._anchors.expand(len(index), -1, -1).gather(1, index)
        boxes: Tensor = self._head(tokens) + anchors
        return boxes
