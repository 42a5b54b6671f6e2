"""Batches of any length for a network that takes some lengths only, as one does that was compiled or captured.

A batch is cut into pieces, the last of them padded, and the answers are put together in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]


class FixedSizes:
    """``compute`` for batches of any length from 1.

    ``compute`` takes items (m, ...) and one of ``sizes``, at least m, to compute them in, and gives outputs (m, ...)
    that stay what they are when it is called again.
    """

    def __init__(self, sizes: Sequence[int], compute: Callable[[Tensor, int], Outputs]) -> None:
        self._sizes = sorted(sizes)
        self._compute = compute

    def __call__(self, items: Tensor) -> Outputs:
        """Outputs (n, ...) of items (n, ...)."""
        parts = [self._compute(items[which], size) for which, size in pieces(len(items), self._sizes)]
        return parts[0] if len(parts) == 1 else tuple(torch.cat(same) for same in zip(*parts, strict=True))


def pieces(count: int, sizes: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Which of ``count`` items are computed together, and in which of ``sizes`` (rising): the largest as long as it is
    full, then the smallest that holds the rest.
    """
    for start in range(0, count, sizes[-1]):
        length = min(count - start, sizes[-1])
        yield slice(start, start + length), next(size for size in sizes if size >= length)


def padded(run: Callable[[Tensor], Outputs]) -> Callable[[Tensor, int], Outputs]:
    """``run``, which takes whole batches, as `FixedSizes` asks: zeros fill what is missing, and are left out again."""

    def compute(items: Tensor, size: int) -> Outputs:
        if len(items) == size:
            return run(items)
        whole = items.new_zeros((size, *items.shape[1:]))
        whole[: len(items)] = items
        return tuple(output[: len(items)] for output in run(whole))

    return compute
