"""How fast each part of a network learns, and when: layer-wise decay, cosine schedules, parameter groups, AdamW.

    groups = parameter_groups(network.named_parameters(), depth=12, layer_decay=0.75, weight_decay=0.05)
    optimiser = adamw(groups, betas=(0.9, 0.999), eps=1e-8)
    rates = cosine_schedule(1e-3, 1e-6, steps=1000, warmup=50)
    set_rates(optimiser.param_groups, rates[step], decays[step])

Layer-wise decay is from Bao et al. 2021, "BEiT", as the fine-tuning recipes of VideoMAE and MVD have it; the cosine is
half a period, after Loshchilov and Hutter 2017, "SGDR", without restarts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from mousetal.types import Float64Array

Group = dict[str, Any]
FIRST_LAYER = ("patch_embed", "cls_token", "pos_embed", "mask_token")
NO_DECAY = ("pos_embed", "cls_token")


def cosine_schedule(base: float, final: float, steps: int, warmup: int = 0, start: float = 0.0) -> Float64Array:
    """One value per step, (steps,): a straight line from ``start`` to ``base``, both included, over the first
    ``warmup`` steps, then half a cosine from ``base`` towards ``final``, which it would reach one step past the end.
    """
    if not 0 <= warmup <= steps:
        raise ValueError(f"the warm-up must fit into the schedule, got {warmup} of {steps} steps")
    rest = np.arange(steps - warmup) / max(1, steps - warmup)
    falling = final + 0.5 * (base - final) * (1 + np.cos(np.pi * rest))
    return np.concatenate([np.linspace(start, base, warmup), falling])


def layer_id(name: str, depth: int) -> int:
    """How far from the input a parameter lies: 0 the patch embedding, 1..depth the blocks, depth + 1 what follows."""
    if name.startswith(FIRST_LAYER):
        return 0
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    return depth + 1


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to matrices, not to biases, norms, positions and the class token."""
    return parameter.ndim > 1 and not name.endswith(".bias") and not name.startswith(NO_DECAY)


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], depth: int, layer_decay: float, weight_decay: float
) -> list[Group]:
    """Groups for an optimiser, by layer and by whether they decay, from the input to the head.

    ``lr_scale`` is ``layer_decay ** (depth + 1 - layer)``: 1 for the head, less towards the input. Names are those of
    `VisionTransformer`; parameters of other modules count as head.
    """
    groups: dict[tuple[int, bool], Group] = {}
    for name, parameter in parameters:
        if not parameter.requires_grad:
            continue
        key = layer_id(name, depth), decays(name, parameter)
        group = groups.setdefault(
            key,
            {
                "params": [], "names": [], "decays": key[1],
                "weight_decay": weight_decay if key[1] else 0.0,
                "lr_scale": layer_decay ** (depth + 1 - key[0]),
            },
        )  # fmt: skip
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def adamw(groups: list[Group], betas: tuple[float, float], eps: float) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`; the learning rate is set before every step by `set_rates`."""
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps)


def set_rates(groups: Iterable[Group], learning_rate: float, weight_decay: float) -> None:
    """Give every group its share of the learning rate, and the weight decay to those that decay."""
    for group in groups:
        group["lr"] = learning_rate * group["lr_scale"]
        if group["decays"]:
            group["weight_decay"] = weight_decay
