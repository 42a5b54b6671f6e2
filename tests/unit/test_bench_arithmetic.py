"""How much the networks compute, and how near that is to what the cores can do."""

from __future__ import annotations

import pytest
import torch

from bench import arithmetic


def test_multiplications_and_additions_are_counted_with_those_of_attention() -> None:
    one = torch.ones(1, 2, 8, 4)  # batch, heads, tokens, size of a head
    product = arithmetic.gflop(lambda: torch.ones(16, 32) @ torch.ones(32, 64))
    attention = arithmetic.gflop(lambda: torch.nn.functional.scaled_dot_product_attention(one, one, one))
    assert product * arithmetic.GIGA == 2 * 16 * 32 * 64
    assert attention * arithmetic.GIGA == 2 * (2 * 2 * 8 * 8 * 4)  # queries by keys, weights by values, two heads each


def test_the_share_is_what_the_least_time_is_of_the_time_taken() -> None:
    line = arithmetic.Line("detector", "cpu fp32", gflop=60.0, seconds=0.5, peak=240.0)
    assert line.share == pytest.approx(0.25 / 0.5)
