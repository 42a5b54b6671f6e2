"""A network computed by torch as an `Execution` says: as it is, compiled, or captured as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mousetal.compiled import compile_module
from mousetal.cudagraph import Captured
from mousetal.execution import Execution
from mousetal.fixedsizes import FixedSizes, Outputs, padded
from mousetal.types import UInt8Array


def runner(
    module: nn.Module, execution: Execution, shape: tuple[int, ...], largest: int
) -> Callable[[UInt8Array], Outputs]:
    """``module``, which is on the device, from uint8 items (n, ...), n from 1, to its outputs (n, ...) there.

    ``module`` takes a tensor of items and gives a tuple; ``shape`` is an item's; larger batches than ``largest`` are
    seldom. What is to be compiled or captured is so on return. Raises RuntimeError where it can't be.
    """
    run: Callable[[Tensor], Outputs] = compile_module(module) if execution.compiled else module

    def compute(items: Tensor) -> Outputs:
        with execution.autocast():
            return run(items)

    sizes = execution.sizes(largest)
    if execution.graphs:
        captured = Captured(compute, shape, execution.device, sizes)
        return lambda items: captured(execution.pinned(items))
    of_any_size = FixedSizes(sizes, padded(compute)) if sizes else compute

    @torch.inference_mode()
    def placed_and_computed(items: UInt8Array) -> Outputs:
        return of_any_size(execution.placed(items))

    for size in sizes:
        placed_and_computed(np.zeros((size, *shape), np.uint8))
    return placed_and_computed
