"""A network prepared for inference is the same function with less to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import RTDetrV2ForObjectDetection
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2FrozenBatchNorm2d, RTDetrV2RepVggBlock

from mousetal.detector import NetworkConfig
from mousetal.detector.config import VARIANTS
from mousetal.detector.network import transformers_config
from mousetal.detector.prepared import Prepared, fold_batch_norms, merge_branches
from mousetal.detector.pyramid import Pyramid
from mousetal.detector.sampling import ProjectedFirst, SampledFirst, Sampling
from tests.fixtures.detectors import INPUT_SIZE, TINY, random_batch, random_network
from tests.fixtures.detectors import tiny_config as detector_config

ORDERS = (ProjectedFirst, SampledFirst)
GONE = (nn.BatchNorm2d, RTDetrV2FrozenBatchNorm2d, RTDetrV2RepVggBlock)
KINDS = {
    "as the tests' own": TINY,
    "frozen batch norms": replace(TINY, freeze_backbone_norms=True),
    "wide CSP blocks, an earlier layer": replace(TINY, expansion=1.0, decoder_layers=3, eval_layer=1),
    "from the nearest cell": replace(TINY, sampling="discrete"),
    "bottlenecks": replace(
        VARIANTS["r50vd"], num_classes=2, widths=(16, 32, 48, 64), depths=(1, 1, 1, 1), stem_width=8, encoder_dim=32,
        encoder_ffn=48, hidden_dim=64, decoder_ffn=40, num_heads=4, num_queries=20, decoder_layers=2, eval_layer=1,
    ),
}  # fmt: skip


def plain(network: RTDetrV2ForObjectDetection, sizes: NetworkConfig, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the library itself says."""
    weight = next(network.parameters())
    output = network.model(pixel_values=images.permute(0, 3, 1, 2).to(weight.dtype) / 255)
    return output.intermediate_logits[:, sizes.eval_layer], output.intermediate_reference_points[:, sizes.eval_layer]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_preparing_changes_rounding_only(kind: str, order: type[Sampling]) -> None:
    sizes = KINDS[kind]
    network = random_network(sizes)
    lean = Prepared(network, detector_config(sizes), order)
    assert not [one for one in lean.modules() if isinstance(one, GONE)]
    assert [one for one in network.modules() if isinstance(one, GONE)]  # the original is left alone
    images = torch.from_numpy(random_batch(2).images)
    with torch.inference_mode():
        for ours, theirs in zip(lean(images), plain(network, sizes, images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_in_double_precision_it_is_the_same_to_a_billionth(kind: str, order: type[Sampling]) -> None:
    sizes = KINDS[kind]
    network = random_network(sizes).double()
    lean = Prepared(network, detector_config(sizes), order)
    images = torch.from_numpy(random_batch(3, seed=1).images)
    with torch.inference_mode():
        for ours, theirs in zip(lean(images), plain(network, sizes, images), strict=True):
            assert ours.shape == theirs.shape
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def test_tokens_at_the_edge_of_a_large_picture_count_as_little_as_before() -> None:
    side = 416  # 52 tokens a row: the outermost lie within a hundredth of the picture's edge
    network = random_network().double()
    config = detector_config()
    lean = Prepared(network, replace(config, input=replace(config.input, input_size=side)))
    assert 0 < (lean.decoding.is_inside == 0).sum() < 300
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8, generator=noise)
    with torch.inference_mode():
        for ours, theirs in zip(lean(images), plain(network, TINY, images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def test_merged_branches_are_the_same_to_a_billionth() -> None:
    branches = [one for one in random_network().double().modules() if isinstance(one, RTDetrV2RepVggBlock)]
    assert branches
    for block in branches:
        features = torch.randn(1, block.conv1.conv.in_channels, 7, 9, dtype=torch.float64)
        with torch.inference_mode():
            expected = block(features)
            merged = nn.Sequential(block)
            fold_batch_norms(merged)
            merge_branches(merged)
            assert len([one for one in merged.modules() if isinstance(one, nn.Conv2d)]) == 1
            torch.testing.assert_close(merged(features), expected, rtol=0, atol=1e-12)


def test_boxes_are_worked_out_for_the_tokens_that_are_kept_only() -> None:
    seen: list[int] = []
    network = random_network()
    lean = Prepared(network, detector_config())
    images = torch.zeros(1, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8)
    for head in (network.model.enc_bbox_head, lean.decoding.box_head):
        head.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    with torch.inference_mode():
        plain(network, TINY, images)
        lean(images)
    assert seen == [84, TINY.num_queries]  # 8x8 + 4x4 + 2x2 tokens


def test_decoder_layers_after_the_one_that_is_used_are_left_out() -> None:
    sizes = KINDS["wide CSP blocks, an earlier layer"]
    assert len(Prepared(random_network(sizes), detector_config(sizes)).decoding.layers) == 2


def test_projections_become_part_of_what_follows_where_that_is_less_to_multiply() -> None:
    def stays_apart(variant: str) -> list[bool]:
        with torch.device("meta"):
            model = RTDetrV2ForObjectDetection(transformers_config(VARIANTS[variant])).model.eval()
            fold_batch_norms(model)
            pyramid = Pyramid(model.encoder, [first for first, _ in model.encoder_input_proj])
        finer = [isinstance(fusion.second, nn.Sequential) for fusion in reversed(pyramid.upwards)]
        return [*finer, isinstance(pyramid.projections[-1], nn.Conv2d)]

    assert stays_apart("r18vd") == [False, False, True]  # the coarsest is attended to
    assert stays_apart("r50vd") == [True, True, True]  # its finest: 512 to 512 at once, or by way of 256, are alike
