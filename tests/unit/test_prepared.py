"""A network prepared for inference is the same function with less to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2FrozenBatchNorm2d, RTDetrV2RepVggBlock

from mousetal.detector.backends import EvalLayer
from mousetal.detector.prepared import prepared
from tests.fixtures.detectors import INPUT_SIZE, TINY, random_batch, random_network
from tests.fixtures.detectors import tiny_config as detector_config

GONE = (nn.BatchNorm2d, RTDetrV2FrozenBatchNorm2d, RTDetrV2RepVggBlock)


@pytest.mark.parametrize("frozen", [False, True])
def test_preparing_changes_rounding_only(frozen: bool) -> None:
    sizes = replace(TINY, freeze_backbone_norms=frozen)
    plain = EvalLayer(random_network(sizes), detector_config(sizes)).eval()
    lean = prepared(plain)
    assert not [one for one in lean.modules() if isinstance(one, GONE)]
    assert [one for one in plain.modules() if isinstance(one, GONE)]  # the original is left alone
    images = torch.from_numpy(random_batch(2).images)
    with torch.inference_mode():
        for ours, theirs in zip(lean(images), plain(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_in_double_precision_merged_branches_and_late_boxes_are_the_same_to_a_billionth() -> None:
    plain = random_network().model.double()
    pixels = torch.rand(2, 3, INPUT_SIZE, INPUT_SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = prepared(plain)(pixel_values=pixels), plain(pixel_values=pixels)
    for name in ("init_reference_points", "enc_topk_bboxes", "intermediate_logits", "intermediate_reference_points"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-9)
    branches = [one for one in plain.modules() if isinstance(one, RTDetrV2RepVggBlock)]
    assert branches
    for block in branches:
        features = torch.randn(1, block.conv1.conv.in_channels, 7, 9, dtype=torch.float64)
        with torch.inference_mode():
            merged = prepared(nn.Sequential(block))
            assert len([one for one in merged.modules() if isinstance(one, nn.Conv2d)]) == 1
            torch.testing.assert_close(merged(features), block(features), rtol=0, atol=1e-12)


def test_boxes_are_worked_out_for_the_tokens_that_are_kept_only() -> None:
    seen: list[int] = []
    plain = random_network().model
    plain.enc_bbox_head.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    pixels = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE)
    with torch.inference_mode():
        plain(pixel_values=pixels)
        prepared(plain)(pixel_values=pixels)
    assert seen == [84, TINY.num_queries]  # 8x8 + 4x4 + 2x2 tokens
