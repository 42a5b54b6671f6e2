"""The network as training gets it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import modeling_utils

from mousetal.detector.network import SCORE_PRIOR, build
from tests.fixtures.detectors import TINY


def _pixels() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _labels() -> list[dict[str, torch.Tensor]]:
    box = torch.tensor([[0.5, 0.4, 0.2, 0.3]])
    return [{"class_labels": torch.tensor([0]), "boxes": box}, {"class_labels": torch.tensor([1]), "boxes": box / 2}]


def test_a_fresh_network_is_the_same_for_the_same_seed() -> None:
    torch.manual_seed(3)
    first = build(TINY).state_dict()
    torch.manual_seed(3)
    second = build(TINY).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_fresh_network_scores_everything_low() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        scores = build(TINY).eval()(pixel_values=_pixels()).logits.sigmoid()
    assert scores.max() < 10 * SCORE_PRIOR


def test_no_module_warns_of_a_loss_that_is_none_of_its(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(modeling_utils.logger, "warning_once", said.append)
    for module in build(TINY).modules():
        getattr(module, "loss_function", None)
    assert said == []


def test_a_few_steps_on_one_batch_lower_the_loss() -> None:
    torch.manual_seed(0)
    network = build(TINY).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    losses = []
    for _ in range(24):
        loss = network(pixel_values=_pixels(), labels=_labels()).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_every_parameter_but_the_unused_gets_a_gradient() -> None:
    """The class and box heads appear in two places of the module; both must be the trained ones."""
    torch.manual_seed(0)
    network = build(TINY).train()
    with torch.no_grad():  # the box heads end in zeros, which stops the gradient to the layers before them once
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    network(pixel_values=_pixels(), labels=_labels()).loss.backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_batch_statistics_of_the_backbone_move_only_when_they_are_not_frozen() -> None:
    for is_frozen in (False, True):
        torch.manual_seed(0)
        network = build(replace(TINY, freeze_backbone_norms=is_frozen)).train()
        norm = network.model.backbone.model.embedder.embedder[0].normalization
        before = norm.running_mean.clone()
        network(pixel_values=_pixels(), labels=_labels())
        assert torch.equal(before, norm.running_mean) is is_frozen


def test_one_decoder_layer_is_enough() -> None:
    network = build(replace(TINY, decoder_layers=1, eval_layer=0)).eval()
    assert network(pixel_values=_pixels()).logits.shape == (2, TINY.num_queries, 2)
