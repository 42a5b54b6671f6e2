"""Deformable attention in either order says what the library's says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mousetal.detector.sampling import Level, ProjectedFirst, SampledFirst, Sampling
from tests.fixtures.detectors import TINY, random_network

SIDES = (8, 4, 2)
BATCH, QUERIES = 2, 7


def attention_of(method: str) -> Any:
    network = random_network(replace(TINY, sampling=method)).double()
    layers: Any = network.model.decoder.layers
    return layers[0].encoder_attn


def projections() -> list[nn.Conv2d]:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return [nn.Conv2d(24, TINY.hidden_dim, 1, dtype=torch.float64) for _ in SIDES]


def library(attention: Any, given: list[nn.Conv2d], asking: Tensor, places: Tensor, maps: list[Tensor]) -> Tensor:
    tokens = torch.cat([project(one).flatten(2).transpose(1, 2) for project, one in zip(given, maps, strict=True)], 1)
    shapes = [(side, side) for side in SIDES]
    output: Tensor = attention(
        hidden_states=asking, encoder_hidden_states=tokens, reference_points=places[:, :, None],
        spatial_shapes=torch.tensor(shapes), spatial_shapes_list=shapes,
        level_start_index=torch.tensor([0, 64, 80]),
    )[0]  # fmt: skip
    return output


def levels(maps: list[Tensor]) -> list[Level]:
    return [Level(one, one.flatten(2).transpose(1, 2)) for one in maps]


@pytest.mark.parametrize("order", [ProjectedFirst, SampledFirst])
@pytest.mark.parametrize("method", ["default", "discrete"])
def test_both_orders_say_what_the_library_says_also_of_places_outside(order: type[Any], method: str) -> None:
    attention, given = attention_of(method), projections()
    noise = torch.Generator().manual_seed(1)
    asking = torch.randn(BATCH, QUERIES, TINY.hidden_dim, dtype=torch.float64, generator=noise)
    # Boxes that reach far beyond the picture: an offset of 1 is as far as a quarter of the box.
    places = torch.rand(BATCH, QUERIES, 4, dtype=torch.float64, generator=noise) * torch.tensor([1.4, 1.4, 3, 3]) - 0.2
    maps = [torch.randn(BATCH, 24, side, side, dtype=torch.float64, generator=noise) for side in SIDES]
    with torch.inference_mode():
        found = order(attention, given)(asking, places, levels(maps))
        torch.testing.assert_close(found, library(attention, given, asking, places, maps), rtol=0, atol=1e-12)


def test_bilinear_shares_are_those_of_grid_sample_up_to_the_edge_and_beyond() -> None:
    noise = torch.Generator().manual_seed(2)
    values = torch.randn(1, 3, 5, 6, dtype=torch.float64, generator=noise)
    where = torch.rand(1, 1, 400, 1, 2, dtype=torch.float64, generator=noise) * 1.6 - 0.3
    special = torch.tensor([0.0, 1.0, 0.5 / 6, 1 - 0.5 / 6, -0.5 / 6, 0.5, 1e6, -1e6], dtype=torch.float64)
    where[0, 0, : len(special) ** 2, 0] = torch.cartesian_prod(special, special)
    one = identity()
    found = one.found(0, levels([values])[0], where, torch.ones(where.shape[:-1], dtype=torch.float64))
    expected = F.grid_sample(values, 2 * where[:, 0] - 1, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(found[0, 0], expected[0, ..., 0].T, rtol=0, atol=1e-9)


def test_what_is_no_number_stays_none_and_is_looked_for_in_no_cell_that_is_not_there() -> None:
    where = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e38, -1e38])
    where = torch.cartesian_prod(where, where)[None, None, :, None]
    with torch.inference_mode():
        found = identity().float().found(0, levels([torch.ones(1, 3, 5, 6)])[0], where, torch.ones(where.shape[:-1]))
    assert found.shape == (1, 1, 25, 3)
    assert (found.isnan() | (found == 0)).all()
    assert found[0, 0, 0].isnan().all()


def identity() -> Sampling:
    """One head that takes the maps as they are, three channels of them."""
    with torch.no_grad():
        attention: Any = attention_of("default")
        attention.value_proj, attention.n_heads = nn.Linear(3, 3, dtype=torch.float64), 1
        attention.value_proj.weight.copy_(torch.eye(3))
        attention.value_proj.bias.zero_()
        same = nn.Conv2d(3, 3, 1, dtype=torch.float64)
        same.weight.copy_(torch.eye(3)[..., None, None])
        assert same.bias is not None
        same.bias.zero_()
    return SampledFirst(attention, [same])
