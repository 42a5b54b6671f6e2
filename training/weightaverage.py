"""Weights averaged over the steps of training, which usually do better than those of the last step.

An exponential moving average in float32 whose memory grows, so that the random start is soon forgotten. After update
``t`` (from 1) it keeps, of what it was,

    min(decay, t / (9 + t))             without a ramp, and
    decay * (1 - exp(-t / ramp))        with one (as RT-DETR is trained).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class Average:
    """The average of all weights it has been shown; ``values`` are by name, float32 but for whole numbers.

    Give it parameters, or a whole state dict: batch statistics are averaged too, and whole numbers copied.
    """

    def __init__(self, weights: Iterable[tuple[str, Tensor]], decay: float, ramp: float = 0.0) -> None:
        self.decay, self.ramp, self.updates = decay, ramp, 0
        self.values = {name: _own(tensor).clone() for name, tensor in weights}

    @torch.no_grad()
    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take in the weights after another step."""
        self.updates += 1
        for name, tensor in weights:
            if tensor.is_floating_point():
                self.values[name].lerp_(_own(tensor), 1 - self._kept())
            else:
                self.values[name].copy_(tensor)

    def _kept(self) -> float:
        if self.ramp:
            return self.decay * (1 - math.exp(-self.updates / self.ramp))
        return min(self.decay, self.updates / (9 + self.updates))

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        values, updates = state.get("values", state.get("module")), state["updates"]  # older detector runs: module
        if not isinstance(values, dict) or not isinstance(updates, int) or values.keys() != self.values.keys():
            raise ValueError("these averaged weights are of another network")
        self.updates = updates
        for name, tensor in values.items():
            self.values[name].copy_(tensor)


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
