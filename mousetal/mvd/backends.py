"""Ways to compute the classifier's logits, behind one signature: uint8 clips (n, T, S, S, 3) to float32 (n, classes).

`choose` gives the one that was asked for, once it has shown that it computes what torch does in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mousetal import acceptance, int8
from mousetal.acceptance import Tolerances, Verdict
from mousetal.execution import Execution, accepted
from mousetal.modelconfig import MvdConfig
from mousetal.modelfolder import Located
from mousetal.mvd.vit import VisionTransformer
from mousetal.torchrun import runner
from mousetal.types import Float32Array, UInt8Array

Logits = Callable[[UInt8Array], Float32Array]

LARGEST = 8  # clips in a batch, as the service has it (services.mvd.MAX_BATCH)


class Normalised(nn.Module):
    """The network behind its normalisation: takes uint8 clips (n, T, S, S, 3)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, config: MvdConfig) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", config.input.mean), ("std", config.input.std)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 1, 1, 1, 3), persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.network(self.normalise(clips))
        return logits

    def normalise(self, clips: Tensor) -> Tensor:
        """What the network takes, float32 (n, 3, T, S, S)."""
        return ((clips.float() / 255 - self.mean) / self.std).permute(0, 4, 1, 2, 3)


class AsTuple(nn.Module):
    """A module's only output as a tuple of one, which is what `torchrun.runner` takes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, items: Tensor) -> tuple[Tensor]:
        return (self.module(items),)


class TorchLogits:
    """By torch itself; in float32 and not compiled the measure of all others."""

    def __init__(self, network: VisionTransformer, config: MvdConfig, execution: Execution) -> None:
        module = AsTuple(Normalised(network, config)).to(execution.device).eval()
        side = config.input.input_size
        self._run = runner(module, execution, (config.input.num_frames, side, side, 3), LARGEST)

    @torch.inference_mode()
    def __call__(self, clips: UInt8Array) -> Float32Array:
        (logits,) = self._run(clips)
        return np.asarray(logits.float().cpu().numpy(), np.float32)


class OpenvinoLogits:
    """By a graph of `openvino_model`, or of one stored for int8."""

    def __init__(self, model: Any, execution: Execution) -> None:
        from mousetal.openvinograph import Graph

        self._graph = Graph(model, execution.precision, execution.threads)

    def __call__(self, clips: UInt8Array) -> Float32Array:
        return self._graph(clips)[0]


def openvino_model(network: VisionTransformer, config: MvdConfig) -> Any:
    """The network behind its normalisation as OpenVINO's own model, of one clip."""
    from mousetal.openvinograph import converted

    size = config.input.input_size
    example = torch.zeros((1, config.input.num_frames, size, size, 3), dtype=torch.uint8)
    return converted(Normalised(network, config).eval(), example)


def judge(exact: list[Float32Array], fast: list[Float32Array], allowed: Tolerances) -> Verdict:
    """Whether logits (1, classes) of the same inputs lie near enough."""
    return acceptance.judge_logits(np.concatenate(exact), np.concatenate(fast), allowed)


def choose(
    network: VisionTransformer, config: MvdConfig, execution: Execution, located: Located
) -> tuple[Logits, Execution]:
    """The way that ``execution`` asks for, or the next best (`execution.accepted`)."""

    def make(how: Execution) -> Logits:
        if how.backend == "torch":
            return TorchLogits(network, config, how)
        model = int8.read_model(located) if how.precision == "int8" else openvino_model(network, config)
        return OpenvinoLogits(model, how)

    shape = config.input.num_frames, config.input.input_size
    return accepted(located, execution, make, lambda: acceptance.make_clips(*shape), config.acceptance, judge, LARGEST)
