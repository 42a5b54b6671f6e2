"""The running average of a network's weights, which is what is evaluated and kept."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn


class Average:
    """A copy of a network that follows it: each update moves it by 1 - d (1 - exp(-n / ramp)) towards the original.

    ``decay`` is d, ``ramp`` the number of updates over which the average becomes slow, n counts updates. Buffers (batch
    statistics) are averaged like parameters, whole numbers copied.
    """

    def __init__(self, network: nn.Module, decay: float, ramp: float) -> None:
        self.module = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.ramp, self.updates = decay, ramp, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow the network by one step."""
        self.updates += 1
        weight = 1 - self.decay * (1 - math.exp(-self.updates / self.ramp))
        # Not the state dicts: tensors that the network has under two names must move once.
        mine = [*self.module.parameters(), *self.module.buffers()]
        theirs = [*network.parameters(), *network.buffers()]
        for average, current in zip(mine, theirs, strict=True):
            if average.is_floating_point():
                average.lerp_(current.to(average.dtype), weight)
            else:
                average.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.updates = int(state["updates"])
