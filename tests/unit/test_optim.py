"""Schedules, groups, losses, averages: what holds whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.classifiers import tiny_network
from training.losses import class_weights, soft_cross_entropy, soft_targets
from training.moments import moment_loss
from training.optim import adamw, cosine_schedule, parameter_groups, set_rates
from training.weightaverage import Average


@given(st.integers(1, 200), st.integers(0, 200))
def test_a_schedule_rises_to_its_base_and_falls_to_its_end(steps: int, warmup: int) -> None:
    warmup = min(warmup, steps)
    values = cosine_schedule(1.0, 0.1, steps, warmup)
    assert len(values) == steps
    assert (np.diff(values[:warmup]) > 0).all()
    assert (np.diff(values[warmup:]) < 0).all()
    assert values.max() <= 1.0
    if steps > warmup:
        assert values[warmup] == pytest.approx(1.0)
        assert values[-1] >= 0.1
    if warmup > 1:
        assert (values[0], values[warmup - 1]) == (0.0, 1.0)


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        cosine_schedule(1.0, 0.0, 4, 5)


def test_every_parameter_is_in_one_group_and_rates_reach_it() -> None:
    network = tiny_network(use_cls_token=True)
    groups = parameter_groups(network.named_parameters(), depth=2, layer_decay=0.5, weight_decay=0.1)
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    optimiser = adamw(groups, (0.9, 0.98), 1e-8)
    set_rates(optimiser.param_groups, 0.8, 0.3)
    of = {name: group for group in optimiser.param_groups for name in group["names"]}
    assert of["head.weight"]["lr"] == 0.8
    assert of["patch_embed.proj.weight"]["lr"] == 0.1
    assert of["cls_token"]["lr"] == 0.1
    assert of["head.weight"]["weight_decay"] == 0.3
    assert of["cls_token"]["weight_decay"] == of["head.bias"]["weight_decay"] == 0.0
    assert all(group["betas"] == (0.9, 0.98) for group in optimiser.param_groups)


def test_focal_loss_is_cross_entropy_where_gamma_is_zero_and_less_where_it_is_not() -> None:
    logits, targets = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), soft_targets(torch.tensor([0, 0]), 2, 0.0)
    plain = soft_cross_entropy(logits, targets)
    torch.testing.assert_close(plain, torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0])))
    p = logits.softmax(dim=1)[:, 0]
    expected = (-((1 - p) ** 2) * p.log()).mean()
    torch.testing.assert_close(soft_cross_entropy(logits, targets, focal_gamma=2.0), expected)


def test_class_weights_multiply_the_loss_of_their_class() -> None:
    logits, targets = torch.randn(4, 3), soft_targets(torch.tensor([1, 1, 1, 1]), 3, 0.0)
    weighted = soft_cross_entropy(logits, targets, torch.tensor([1.0, 2.5, 1.0]))
    torch.testing.assert_close(weighted, 2.5 * soft_cross_entropy(logits, targets))


@given(st.lists(st.floats(0, 1e5), min_size=2, max_size=6), st.sampled_from(["none", "sqrt", "effective"]))
def test_class_weights_favour_the_rare_and_have_mean_one(counts: list[float], kind: str) -> None:
    array = np.array([0.0 if count < 1 else count for count in counts])
    weights = class_weights(array, kind)
    assert (weights[array == 0] == 0).all()
    if array.sum():
        assert (weights * array).sum() / array.sum() == pytest.approx(1.0)
        order = np.argsort(array[array > 0])
        assert (np.diff(weights[array > 0][order]) <= 1e-9).all()
    if kind == "none":
        np.testing.assert_allclose(weights[array > 0], 1.0)


def test_averaged_weights_forget_the_start_and_then_move_slowly() -> None:
    average = Average([("w", torch.zeros(1))], decay=0.9)
    average.update([("w", torch.ones(1))])
    assert float(average.values["w"]) == pytest.approx(0.9)  # the first step keeps (1 + 0) / (10 + 0)
    for _ in range(200):
        average.update([("w", torch.full((1,), 2.0))])
    before = float(average.values["w"])
    average.update([("w", torch.full((1,), 3.0))])
    assert float(average.values["w"]) - before == pytest.approx(0.1 * (3.0 - before), rel=1e-4)


def test_averages_of_half_precision_are_kept_in_full_and_come_back() -> None:
    average = Average([("w", torch.ones(2, dtype=torch.bfloat16))], decay=0.999)
    for _ in range(5):
        average.update([("w", torch.full((2,), 1.5, dtype=torch.bfloat16))])
    other = Average([("w", torch.zeros(2))], decay=0.999)
    other.load_state_dict(average.state_dict())
    assert other.values["w"].dtype == torch.float32
    assert torch.equal(other.values["w"], average.values["w"])
    older = {"module": {"w": torch.tensor([7.0, 8.0])}, "updates": 3}  # as detector runs once kept it
    other.load_state_dict(older)
    assert (other.updates, other.values["w"].tolist()) == (3, [7.0, 8.0])
    with pytest.raises(ValueError, match="another network"):
        Average([("v", torch.zeros(2))], decay=0.5).load_state_dict(average.state_dict())


def test_moments_that_nobody_looked_at_cost_nothing() -> None:
    logits = torch.randn(2, 4, 3)
    labels = torch.zeros(2, 8, dtype=torch.long)
    known = moment_loss(logits[:1], labels[:1])
    labels[1] = -1
    torch.testing.assert_close(moment_loss(logits, labels), known)
    assert float(moment_loss(logits, torch.full((2, 8), -1))) == 0.0
