"""Weights averaged over the steps of training, which usually do better than those of the last step.

An exponential moving average in float32 whose memory grows: after ``t`` steps a step keeps the lesser of ``decay`` and
``(1 + t) / (10 + t)``, so that the random start is forgotten at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class Average:
    """The average of all weights it has been shown; ``values`` are float32 by name."""

    def __init__(self, weights: Iterable[tuple[str, Tensor]], decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: tensor.detach().float().clone() for name, tensor in weights}

    @torch.no_grad()
    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take in the weights after another step."""
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, tensor in weights:
            self.values[name].lerp_(tensor.detach().float(), 1 - keep)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        values, updates = state["values"], state["updates"]
        if not isinstance(values, dict) or not isinstance(updates, int) or values.keys() != self.values.keys():
            raise ValueError("these averaged weights are of another network")
        self.updates = updates
        for name, tensor in values.items():
            self.values[name].copy_(tensor)
