"""Ways to compute what the detector says, behind one signature: uint8 images (n, S, S, 3) to logits and boxes.

`choose` gives the one that was asked for, once it has shown that it computes what torch does in float32.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import RTDetrV2ForObjectDetection
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2FrozenBatchNorm2d

from mousetal import acceptance, int8
from mousetal.acceptance import Tolerances, Verdict
from mousetal.detector.config import NetworkConfig
from mousetal.execution import Execution, accepted
from mousetal.modelconfig import RtdetrConfig
from mousetal.modelfolder import Located
from mousetal.torchrun import runner
from mousetal.types import UInt8Array

FROZEN_EPS = 1e-5  # the library's own, where batch norms are frozen
TABLES = ("_cached_generate_anchors", "_cached_build_2d_sinusoidal_position_embedding")  # functions of the library's
LARGEST = 16  # images in a batch, as the service has it (services.detector.MAX_BATCH)


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """What the network says of a batch, in float32.

    ``logits`` is (n, queries, classes), ``boxes`` (n, queries, 4) as centre x, centre y, width, height, in shares of
    the image.
    """

    logits: Tensor
    boxes: Tensor


Forward = Callable[[UInt8Array], Raw]


class EvalLayer(nn.Module):
    """The network from uint8 images (n, S, S, 3) to logits and boxes of the decoder layer that is used."""

    def __init__(self, network: RTDetrV2ForObjectDetection, config: RtdetrConfig) -> None:
        super().__init__()
        self.model = network.model
        self.layer = NetworkConfig.from_json(config.network, "network").eval_layer

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.permute(0, 3, 1, 2).float() / 255  # in channels-last order, as images are
        output = self.model(pixel_values=pixels)
        return output.intermediate_logits[:, self.layer], output.intermediate_reference_points[:, self.layer]


class TorchForward:
    """By torch itself; in float32 the measure of all others. The network is copied, its batch norms are folded."""

    def __init__(self, network: RTDetrV2ForObjectDetection, config: RtdetrConfig, execution: Execution) -> None:
        module = fold_batch_norms(EvalLayer(network, config).eval())
        module = module.to(execution.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if execution.graphs and not execution.compiled:  # which makes them part of what it compiles
            hold_tables(module)
        side = config.input.input_size
        self._run = runner(module, execution, (side, side, 3), LARGEST)

    @torch.inference_mode()
    def __call__(self, images: UInt8Array) -> Raw:
        logits, boxes = self._run(images)
        return Raw(logits.float(), boxes.float())


class OpenvinoForward:
    """By a graph of `openvino_model`, or of one stored for int8. It folds what can be folded itself."""

    def __init__(self, model: Any, execution: Execution) -> None:
        from mousetal.openvinograph import Graph

        self._graph = Graph(model, execution.precision, execution.threads)

    def __call__(self, images: UInt8Array) -> Raw:
        logits, boxes = self._graph(images)
        return Raw(torch.from_numpy(logits), torch.from_numpy(boxes))


def openvino_model(network: RTDetrV2ForObjectDetection, config: RtdetrConfig) -> Any:
    """The network as OpenVINO's own model, of one image."""
    from mousetal.openvinograph import converted

    example = torch.zeros((1, config.input.input_size, config.input.input_size, 3), dtype=torch.uint8)
    return converted(EvalLayer(network, config).eval(), example)


def judge(exact: list[Raw], fast: list[Raw], allowed: Tolerances, score_threshold: float) -> Verdict:
    """Whether what is said of the same inputs, one by one, lies near enough."""
    return acceptance.judge_boxes(_arrays(exact), _arrays(fast), _logit(score_threshold), allowed)


def choose(
    network: RTDetrV2ForObjectDetection, config: RtdetrConfig, execution: Execution, located: Located
) -> tuple[Forward, Execution]:
    """The way that ``execution`` asks for, or the next best (`execution.accepted`)."""

    def make(how: Execution) -> Forward:
        if how.backend == "torch":
            return TorchForward(network, config, how)
        model = int8.read_model(located) if how.precision == "int8" else openvino_model(network, config)
        return OpenvinoForward(model, how)

    return accepted(
        located, execution, make, lambda: acceptance.make_images(config.input.input_size), config.acceptance,
        partial(judge, score_threshold=config.input.score_threshold), LARGEST,
    )  # fmt: skip


def hold_tables(module: nn.Module) -> None:
    """Keep the tables of anchors and positions for as long as ``module``.

    The library has them in a cache of 32 places for all networks of the process. A graph goes on reading them where
    they lay when it was captured, also once they had to make room there.
    """
    for part in module.modules():
        for name in TABLES:
            if hasattr(part, name):
                setattr(part, name, functools.cache(getattr(part, name)))


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """A copy for inference in which every convolution that a batch norm follows has taken it in."""
    folded = copy.deepcopy(module)
    for parent in list(folded.modules()):
        for (first_name, first), (second_name, second) in pairwise(list(parent.named_children())):
            norm = _batch_norm(second)
            if isinstance(first, nn.Conv2d) and norm is not None:
                setattr(parent, first_name, fuse_conv_bn_eval(first, norm))
                setattr(parent, second_name, nn.Identity())
    return folded


def _batch_norm(module: nn.Module) -> nn.BatchNorm2d | None:
    """The module as torch's batch norm, if it is one, frozen or not."""
    if isinstance(module, nn.BatchNorm2d):
        return module
    if not isinstance(module, RTDetrV2FrozenBatchNorm2d):
        return None
    norm = nn.BatchNorm2d(len(module.weight), eps=FROZEN_EPS).eval()
    norm.load_state_dict(module.state_dict(), strict=False)
    return norm


def _arrays(answers: list[Raw]) -> tuple[np.ndarray, np.ndarray]:
    return (np.concatenate([one.logits.cpu().numpy() for one in answers]),
            np.concatenate([one.boxes.cpu().numpy() for one in answers]))  # fmt: skip


def _logit(share: float) -> float:
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))
