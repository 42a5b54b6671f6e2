"""Ways to compute what the detector says, behind one signature: uint8 images (n, S, S, 3) to logits and boxes.

`choose` gives the one that was asked for, once it has shown that it computes what torch does in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import RTDetrV2ForObjectDetection

from mousetal import acceptance, int8
from mousetal.acceptance import Tolerances, Verdict
from mousetal.detector.config import NetworkConfig
from mousetal.detector.prepared import prepared
from mousetal.execution import Execution, accepted
from mousetal.modelconfig import RtdetrConfig
from mousetal.modelfolder import Located
from mousetal.types import UInt8Array


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
    """By torch itself; in float32 the measure of all others. The network is copied and prepared."""

    def __init__(self, network: RTDetrV2ForObjectDetection, config: RtdetrConfig, execution: Execution) -> None:
        self._execution = execution
        module = prepared(EvalLayer(network, config).eval())
        self._run = module.to(execution.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, images: UInt8Array) -> Raw:
        pixels = self._execution.placed(images)
        with self._execution.autocast():
            logits, boxes = self._run(pixels)
        return Raw(logits.float(), boxes.float())


class OpenvinoForward:
    """By a graph of `openvino_model`, or of one stored for int8."""

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
    return converted(prepared(EvalLayer(network, config).eval()), example)


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
        partial(judge, score_threshold=config.input.score_threshold),
    )  # fmt: skip


def _arrays(answers: list[Raw]) -> tuple[np.ndarray, np.ndarray]:
    return (np.concatenate([one.logits.cpu().numpy() for one in answers]),
            np.concatenate([one.boxes.cpu().numpy() for one in answers]))  # fmt: skip


def _logit(share: float) -> float:
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))
