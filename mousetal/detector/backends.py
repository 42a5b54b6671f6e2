"""Ways to compute what the detector says, behind one signature: uint8 images (n, S, S, 3) to logits and boxes.

`choose` gives the one that was asked for, once it has shown that it computes what torch does in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from mousetal.detector.prepared import Prepared
from mousetal.detector.sampling import ProjectedFirst, SampledFirst, Sampling
from mousetal.execution import Execution, accepted
from mousetal.modelconfig import RtdetrConfig
from mousetal.modelfolder import Located
from mousetal.torchrun import runner
from mousetal.types import Float32Array, UInt8Array

TABLE = "_cached_build_2d_sinusoidal_position_embedding"  # a function of the library's
LARGEST = 16  # images in a batch, as the service has it (services.detector.MAX_BATCH)
# Where ncnn is faster than OpenVINO (CONTRIBUTING.md): with few channels preparing Winograd's tiles costs what they
# save, and small pictures are not worth the seconds that the conversion takes. All published networks are as wide.
LEAST_WIDTH = 64
LEAST_SIDE = 320  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """What the network says of a batch, in float32.

    ``logits`` is (n, queries, classes), ``boxes`` (n, queries, 4) as centre x, centre y, width, height, in shares of
    the image.
    """

    logits: Tensor
    boxes: Tensor


Forward = Callable[[UInt8Array], Raw]


class TorchForward:
    """By torch itself; in float32 the measure of all others. The network is copied."""

    def __init__(self, network: RTDetrV2ForObjectDetection, config: RtdetrConfig, execution: Execution) -> None:
        module = Prepared(network, config, sampling_order(execution))
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
    """By a graph of `openvino_model`, or of one stored for int8."""

    def __init__(self, model: Any, execution: Execution) -> None:
        from mousetal.openvinograph import Graph

        self._graph = Graph(model, execution.precision, execution.threads)

    def __call__(self, images: UInt8Array) -> Raw:
        logits, boxes = self._graph(images)
        return Raw(torch.from_numpy(logits), torch.from_numpy(boxes))


class NcnnForward:
    """Convolutions by ncnn, the decoder by OpenVINO, in float32; an item per core at a time, on one thread for both."""

    def __init__(self, network: RTDetrV2ForObjectDetection, config: RtdetrConfig, execution: Execution) -> None:
        from mousetal.ncnngraph import NcnnGraph
        from mousetal.openvinograph import Graph, converted, side_by_side

        whole = Prepared(network, config, sampling_order(execution))
        example = torch.zeros((1, 3, config.input.input_size, config.input.input_size))
        with torch.inference_mode():
            maps = whole.convolutions(example)
        self._convolutions = NcnnGraph(whole.convolutions, example)
        self._decoder = Graph(converted(whole.decoding, *maps), execution.precision, execution.threads)
        self._pool = ThreadPoolExecutor(side_by_side(execution.threads), "detector")

    def __call__(self, images: UInt8Array) -> Raw:
        logits, boxes = (np.empty((len(images), *shape[1:]), np.float32) for shape in self._decoder.shapes)
        for number, answer in enumerate(self._pool.map(self._answer, images)):
            logits[number], boxes[number] = answer
        return Raw(torch.from_numpy(logits), torch.from_numpy(boxes))

    def _answer(self, image: UInt8Array) -> tuple[Float32Array, Float32Array]:
        pixels = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / np.float32(255)
        logits, boxes = self._decoder.one(*(one[None] for one in self._convolutions(pixels)))
        return logits[0], boxes[0]


def sampling_order(execution: Execution) -> type[Sampling]:
    """In which order maps are sampled: see `sampling`.

    Less exact arithmetic would work out in itself in which cells to look, and bf16 tells 80 cells apart by halves.
    """
    is_exact = execution.device.type == "cpu" and execution.precision == "fp32"
    return SampledFirst if is_exact else ProjectedFirst


def openvino_model(
    network: RTDetrV2ForObjectDetection, config: RtdetrConfig, order: type[Sampling] = ProjectedFirst
) -> Any:
    """The network as OpenVINO's own model, of one image."""
    from mousetal.openvinograph import converted

    example = torch.zeros((1, config.input.input_size, config.input.input_size, 3), dtype=torch.uint8)
    return converted(Prepared(network, config, order), example)


def judge(exact: list[Raw], fast: list[Raw], allowed: Tolerances, score_threshold: float) -> Verdict:
    """Whether what is said of the same inputs, one by one, lies near enough."""
    return acceptance.judge_boxes(_arrays(exact), _arrays(fast), _logit(score_threshold), allowed)


def ways(config: RtdetrConfig) -> tuple[str, ...]:
    """The backends besides torch that compute this network, fastest first."""
    width = NetworkConfig.from_json(config.network, "network").stem_width
    is_large = width >= LEAST_WIDTH and config.input.input_size >= LEAST_SIDE
    return ("ncnn", "openvino") if is_large else ("openvino", "ncnn")


def choose(
    network: RTDetrV2ForObjectDetection, config: RtdetrConfig, execution: Execution, located: Located
) -> tuple[Forward, Execution]:
    """The way that ``execution`` asks for, or the next best (`execution.accepted`)."""

    def make(how: Execution) -> Forward:
        if how.backend == "torch":
            return TorchForward(network, config, how)
        if how.backend == "ncnn":
            return NcnnForward(network, config, how)
        if how.precision == "int8":
            return OpenvinoForward(int8.read_model(located), how)
        return OpenvinoForward(openvino_model(network, config, sampling_order(how)), how)

    return accepted(
        located, execution, make, lambda: acceptance.make_images(config.input.input_size), config.acceptance,
        partial(judge, score_threshold=config.input.score_threshold), LARGEST,
    )  # fmt: skip


def hold_tables(module: nn.Module) -> None:
    """Keep the table of positions for as long as ``module``.

    The library has it in a cache of 32 places for all networks of the process. A graph goes on reading it where it lay
    when it was captured, also once it had to make room there.
    """
    for part in module.modules():
        if hasattr(part, TABLE):
            setattr(part, TABLE, functools.cache(getattr(part, TABLE)))


def _arrays(answers: list[Raw]) -> tuple[np.ndarray, np.ndarray]:
    return (np.concatenate([one.logits.cpu().numpy() for one in answers]),
            np.concatenate([one.boxes.cpu().numpy() for one in answers]))  # fmt: skip


def _logit(share: float) -> float:
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))
