"""A network on a GPU as CUDA graphs: all its kernels are recorded once for a batch of each size, then launched at once.

Launched one by one from Python, as torch does, the kernels of a small batch take longer to launch than to run. The way
is that of torch's documentation: some runs on a side stream first, then one that is captured, all on the same memory.

What waits for the GPU or copies from memory that is not pinned cannot be captured, and torch raises RuntimeError;
`execution.accepted` then does without. Of RT-DETRv2 that is "discrete" sampling, which makes a tensor from a list in
every layer. A check of the library's that waits is turned off (`detector.network`), and tables that it makes on the
first run it finds again on all others (`detector.backends.hold_tables`). That is what reading transformers 5.23 told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mousetal.fixedsizes import FixedSizes, Outputs

WARM_UPS = 3  # as torch's documentation has it: libraries choose their kernels and take their memory meanwhile


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """One recording. ``replay`` computes from what its input's memory holds then; ``outputs`` is where that ends up,
    until any graph of the same ``pool`` of memory is replayed.
    """

    replay: Callable[[], None]
    outputs: Outputs
    pool: Any = None  # torch's handle of it


def capture(run: Callable[[Tensor], Outputs], static: Tensor, pool: Any) -> Graph:
    """``run`` on ``static``, a batch on a GPU, recorded. Intermediate results lie in ``pool``; None makes a new one.

    Raises RuntimeError when something in it cannot be recorded, or memory does not suffice.
    """
    with torch.cuda.device(static.device):
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                run(static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=side):
            outputs = run(static)
    return Graph(graph.replay, outputs, graph.pool())


class Captured:
    """``run``, from a batch on the GPU to its outputs, for batches (n, ...) of any length in (pinned) memory.

    ``shape`` is an item's, of uint8. All graphs read the first rows of one input, and share their memory: they are
    replayed one at a time, and what they give is copied before the next one. The largest comes first, so that the
    others fit in its memory. Rows behind a batch hold what was there before, and what comes of them is left out. Not
    safe for use from several threads at once; capturing raises as `capture` does.
    """

    @torch.inference_mode()
    def __init__(
        self, run: Callable[[Tensor], Outputs], shape: Sequence[int], device: torch.device, sizes: Sequence[int],
    ) -> None:  # fmt: skip
        self._input = torch.zeros((max(sizes), *shape), dtype=torch.uint8, device=device)
        self._graphs: dict[int, Graph] = {}
        pool: Any = None
        chose_by_trying = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # worth its time only where sizes are few and stay the same
        try:
            for size in sorted(sizes, reverse=True):
                self._graphs[size] = capture(run, self._input[:size], pool)
                pool = self._graphs[size].pool
        finally:
            torch.backends.cudnn.benchmark = chose_by_trying
        self._replayed = FixedSizes(sizes, self._replay)

    @torch.inference_mode()
    def __call__(self, items: Tensor) -> Outputs:
        """Outputs (n, ...) on the GPU; items may go away or change once these have been waited for."""
        return self._replayed(items)

    def _replay(self, items: Tensor, size: int) -> Outputs:
        self._input[: len(items)].copy_(items, non_blocking=True)
        graph = self._graphs[size]
        graph.replay()
        return tuple(output[: len(items)].clone() for output in graph.outputs)
