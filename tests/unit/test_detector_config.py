"""Network sizes: which are possible, and how they are written down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mousetal.detector.config import VARIANTS, NetworkConfig, num_tokens, variant_name
from mousetal.detector.keys import DROPPED, key_table
from mousetal.detector.network import build
from mousetal.errors import ModelError
from tests.fixtures.detectors import TINY


def test_sizes_survive_being_written_and_read() -> None:
    for config in (TINY, *VARIANTS.values()):
        assert NetworkConfig.from_json(config.to_json(), "config.json") == config


@pytest.mark.parametrize("name", VARIANTS)
def test_a_published_variant_is_recognised_whatever_its_classes(name: str) -> None:
    assert variant_name(replace(VARIANTS[name], num_classes=7, num_queries=100)) == name


def test_other_sizes_are_custom() -> None:
    assert variant_name(TINY) == "custom"


def test_a_640_pixel_image_has_8400_places_to_look_at() -> None:
    assert num_tokens(640) == 8400


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"block": "dense"}, "block"),
        ({"sampling": "nearest"}, "sampling"),
        ({"depths": (2, 2, 2)}, "four stages"),
        ({"depths": (2, 2, 0, 2)}, "at least one block"),
        ({"widths": (8, 16, 16, 32)}, "wider than the one before"),
        ({"stem_width": 10}, "stem_width"),
        ({"block": "bottleneck"}, "widths"),
        ({"hidden_dim": 30}, "hidden_dim"),
        ({"encoder_dim": 30}, "encoder_dim"),
        ({"eval_layer": 2}, "eval_layer"),
        ({"num_queries": 0}, "num_queries"),
        ({"expansion": 1.5}, "expansion"),
    ],
)
def test_impossible_sizes_are_refused_by_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        NetworkConfig.from_json(TINY.to_json() | replace_tuples(change), "config.json")


def replace_tuples(change: dict[str, object]) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in change.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_queries": "30"}, "num_queries"),
        ({"num_heads": True}, "num_heads"),
        ({"depths": [2, 2.5, 2, 2]}, "depths"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(change: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        NetworkConfig.from_json(TINY.to_json() | change, "config.json")


def test_missing_and_unknown_keys_are_refused_by_name() -> None:
    document = TINY.to_json()
    with pytest.raises(ModelError, match="'colour'"):
        NetworkConfig.from_json(document | {"colour": 1}, "config.json")
    del document["widths"]
    with pytest.raises(ModelError, match="'widths' is missing"):
        NetworkConfig.from_json(document, "config.json")


@pytest.mark.parametrize("input_size", [0, 100, -64])
def test_an_input_that_the_feature_maps_cannot_halve_is_refused(input_size: int) -> None:
    with pytest.raises(ModelError, match="multiple of 32"):
        TINY.check_input_size(input_size)


def test_an_input_with_fewer_places_than_queries_is_refused() -> None:
    TINY.check_input_size(32)
    with pytest.raises(ModelError, match="21 places"):
        replace(TINY, num_queries=22).check_input_size(32)


@pytest.mark.parametrize("name", ["r18vd", "r34vd", "r50vd_m", "r50vd"])
def test_key_table_names_every_tensor_of_the_network_once(name: str) -> None:
    config = VARIANTS[name]
    needed = {key for key in build(config).state_dict() if not DROPPED.search(key)}
    named = [name for key in key_table(config) for name in key.names]
    assert len(named) == len(set(named))
    assert set(named) == needed


@pytest.mark.parametrize(("name", "millions"), [("r18vd", 20.08), ("r34vd", 31.32)])
def test_variants_have_the_published_number_of_parameters(name: str, millions: float) -> None:
    count = sum(parameter.numel() for parameter in build(VARIANTS[name]).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.005)
