"""Batches of any length in a few sizes: how they are cut, that order is kept, and that padding leaves no trace."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mousetal.fixedsizes import FixedSizes, padded, pieces

SIZES = (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (0, []),
        (1, [1]),
        (2, [2]),
        (3, [4]),  # padded by one
        (5, [8]),
        (8, [8]),
        (9, [8, 1]),
        (19, [8, 8, 4]),
    ],
)
def test_a_batch_is_cut_into_full_ones_and_the_smallest_that_holds_the_rest(count: int, sizes: list[int]) -> None:
    assert [size for _, size in pieces(count, SIZES)] == sizes


@given(st.integers(0, 60), st.sets(st.integers(1, 20), min_size=1).map(sorted))
def test_the_pieces_are_all_items_in_order_and_fit(count: int, sizes: list[int]) -> None:
    cut = list(pieces(count, sizes))
    assert [item for which, _ in cut for item in range(count)[which]] == list(range(count))
    assert all(which.stop - which.start <= size for which, size in cut)


@given(st.integers(1, 30), st.permutations(SIZES))
def test_answers_come_in_order_and_padding_leaves_no_trace(count: int, sizes: list[int]) -> None:
    seen = []

    def run(items: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(len(items))
        return items * 2, items.sum(dim=1)

    items = torch.arange(1, 3 * count + 1).reshape(count, 3)
    doubled, sums = FixedSizes(sizes, padded(run))(items)
    assert torch.equal(doubled, items * 2)
    assert torch.equal(sums, items.sum(dim=1))
    assert set(seen) <= set(SIZES)
