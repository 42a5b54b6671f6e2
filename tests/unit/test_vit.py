"""The video transformer's arithmetic, sizes and behaviour in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mousetal.errors import ModelError
from mousetal.mvd.vit import Attention, Block, DropPath, VisionTransformer, VitConfig, position_table
from tests.fixtures.classifiers import tiny_network


@pytest.mark.parametrize(
    ("dim", "depth", "heads", "parameters", "entries"),
    [
        (384, 12, 6, 21_881_091, 162),
        (768, 12, 12, 86_229_507, 162),
        (1024, 24, 16, 303_863_811, 318),
        (1280, 32, 16, 631_610_883, 422),
    ],
)
def test_published_variants_have_their_published_size(
    dim: int, depth: int, heads: int, parameters: int, entries: int
) -> None:
    with torch.device("meta"):
        network = VisionTransformer(VitConfig(num_classes=3, dim=dim, depth=depth, heads=heads))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == entries


@pytest.mark.parametrize(
    ("dim", "expected"),
    [
        (384, {0: 0.14112, 1: 0.617358, 48: -0.989992, 96: 0.412118, 168: -0.91113, 240: -0.958924, 383: 1.0}),
        (768, {0: 0.14112, 1: 0.404142, 96: -0.989992, 192: 0.412118, 336: -0.91113, 480: -0.958924, 767: 1.0}),
    ],
)
def test_a_position_row_encodes_time_then_column_then_row(dim: int, expected: dict[int, float]) -> None:
    tubelet, row, column = 3, 5, 9
    encoded = position_table(dim, num_tubelets=8, side=14)[(tubelet * 14 + row) * 14 + column]
    for index, value in expected.items():
        assert encoded[index] == pytest.approx(value, abs=1e-6)


def test_attention_is_softmax_of_scaled_products_with_biased_queries_and_values() -> None:
    config = VitConfig(num_classes=2, dim=32, heads=2)
    attention = Attention(config).double()
    torch.manual_seed(1)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens = torch.randn(2, 5, 32, dtype=torch.float64)

    weights_q, weights_k, weights_v = attention.qkv.weight.chunk(3)
    queries = tokens @ weights_q.T + attention.q_bias
    keys = tokens @ weights_k.T
    values = tokens @ weights_v.T + attention.v_bias
    heads = []
    for channels in (slice(0, 16), slice(16, 32)):
        products = queries[..., channels] @ keys[..., channels].transpose(1, 2) / 16**0.5
        heads.append(products.softmax(dim=-1) @ values[..., channels])
    expected = torch.cat(heads, dim=-1) @ attention.proj.weight.T + attention.proj.bias

    torch.testing.assert_close(attention(tokens), expected)


def test_tokens_are_ordered_by_tubelet_then_row_then_column() -> None:
    network = tiny_network()
    clip = torch.zeros(1, 3, 4, 32, 32)
    empty = network.patch_embed(clip)
    clip[0, :, 2:4, 16:32, 0:16] = 1  # second tubelet, second row, first column, of two each
    changed = (network.patch_embed(clip) != empty).any(dim=2)[0]
    assert changed.nonzero().flatten().tolist() == [1 * 4 + 1 * 2 + 0]


@pytest.mark.parametrize(
    ("use_cls_token", "use_mean_pooling", "norm"),
    [(False, True, "fc_norm"), (True, True, "fc_norm"), (True, False, "norm"), (False, False, "norm")],
)
def test_every_kind_of_pooling_gives_one_row_of_logits_per_clip(
    use_cls_token: bool, use_mean_pooling: bool, norm: str
) -> None:
    network = tiny_network(use_cls_token=use_cls_token, use_mean_pooling=use_mean_pooling)
    assert network(torch.randn(2, 3, 4, 32, 32)).shape == (2, 3)
    keys = network.state_dict().keys()
    assert f"{norm}.weight" in keys
    assert ("cls_token" in keys) == use_cls_token
    assert "pos_embed" not in keys


def test_mean_pooling_leaves_the_class_token_out() -> None:
    network = tiny_network(use_cls_token=True, use_mean_pooling=True, depth=1)
    clip = torch.randn(1, 3, 4, 32, 32)
    seen: list[torch.Tensor] = []
    network.fc_norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.blocks[0].register_forward_hook(lambda _, __, output: seen.append(output))
    network(clip)
    block_output, pooled = seen
    torch.testing.assert_close(pooled, block_output[:, 1:].mean(dim=1))


def test_a_clip_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected, got \(1, 3, 6, 32, 32\)"):
        tiny_network()(torch.zeros(1, 3, 6, 32, 32))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 100, "heads": 1}, "dim must divide by 16"),
        ({"dim": 64, "heads": 3}, "by heads"),
        ({"img_size": 40}, "patches must tile"),
        ({"num_frames": 5}, "patches must tile"),
        ({"depth": 0}, "depth=0"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"mlp_ratio": 0.0}, "mlp_ratio"),
        ({"drop_path": 1.0}, r"drop_path=1\.0"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        VitConfig(**{"num_classes": 3, **sizes})


def test_a_fresh_network_starts_near_uniform_probabilities() -> None:
    torch.manual_seed(0)
    network = VisionTransformer(VitConfig(num_classes=3, img_size=32, num_frames=4, dim=64, depth=1, heads=1))
    assert network.blocks[0].attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert network.head.weight.std().item() == pytest.approx(0.02 * 0.001, rel=0.2)
    assert not network.blocks[0].attn.q_bias.any()
    probabilities = network(torch.randn(2, 3, 4, 32, 32)).softmax(dim=1)
    torch.testing.assert_close(probabilities, torch.full((2, 3), 1 / 3), atol=1e-3, rtol=0)


def test_a_gradient_reaches_every_parameter() -> None:
    network = tiny_network(use_cls_token=True, use_mean_pooling=False).train()
    network(torch.randn(2, 3, 4, 32, 32)).logsumexp(dim=1).sum().backward()
    idle = [
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert idle == []


def test_drop_path_rises_linearly_over_the_blocks() -> None:
    network = tiny_network(depth=5, drop_path=0.2)
    rates = [block.drop_path.rate for block in network.blocks if isinstance(block, Block)]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2])


def test_drop_path_drops_whole_clips_in_training_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    dropped = drop(torch.ones(4000, 3, 2))
    assert sorted(dropped.unique().tolist()) == pytest.approx([0, 1 / 0.75])
    assert (dropped == dropped[:, :1, :1]).all()
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    drop.eval()
    assert (drop(torch.ones(8, 3, 2)) == 1).all()


def test_dropouts_act_in_training_only() -> None:
    network = tiny_network(dropout=0.5, attn_dropout=0.5, head_dropout=0.5)
    clips = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(network(clips), network(clips))
    network.train()
    assert not torch.equal(network(clips), network(clips))
