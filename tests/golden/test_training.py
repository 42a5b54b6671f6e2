"""Schedules, parameter groups, losses and eight steps of training against the reference system's numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mousetal.mvd import VisionTransformer, VitConfig
from tests.fixtures.recipe import load_recipe
from training.losses import soft_cross_entropy, soft_targets
from training.optim import adamw, cosine_schedule, layer_id, parameter_groups, set_rates

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def numbers(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "training.json").read_text())


def test_every_parameter_learns_at_the_reference_rate_and_decay(numbers: dict[str, Any]) -> None:
    for case in numbers["layer_decay"]:
        depth = len(case["values"]) - 2
        expected = case["params"]
        fake = [(name, torch.nn.Parameter(torch.empty(_shape(name)))) for name in expected]
        groups = parameter_groups(fake, depth, case["layer_decay"], case["weight_decay"])
        assert len(groups) == case["n_groups"]
        for group in groups:
            for name in group["names"]:
                assert group["lr_scale"] == pytest.approx(expected[name]["lr_scale"], rel=1e-12)
                assert group["weight_decay"] == expected[name]["weight_decay"]
                assert layer_id(name, depth) == expected[name]["layer_id"]


def _shape(name: str) -> tuple[int, ...]:
    """One dimension for what has one in the network: biases and the gains of norms."""
    return (2,) if name.endswith("bias") or "norm" in name else (2, 2)


def test_schedules_are_the_reference_ones(numbers: dict[str, Any]) -> None:
    for case in numbers["cosine"]:
        values = case["args"]
        per_epoch = values["niter_per_ep"]
        warmup = values.get("warmup_steps") or values.get("warmup_epochs", 0) * per_epoch
        found = cosine_schedule(
            values["base_value"], values["final_value"], values["epochs"] * per_epoch, warmup,
            values.get("start_warmup_value", 0.0),
        )  # fmt: skip
        np.testing.assert_allclose(found, case["values"], rtol=1e-12, atol=1e-15)


def test_losses_are_the_reference_ones(numbers: dict[str, Any]) -> None:
    case = numbers["losses"]
    logits, labels = torch.tensor(case["logits"]), torch.tensor(case["target"])
    smoothed = soft_cross_entropy(logits, soft_targets(labels, logits.shape[1], 0.1))
    assert float(smoothed) == pytest.approx(case["label_smoothing_0_1"], abs=1e-6)
    assert float(soft_cross_entropy(logits, torch.tensor(case["soft_target"]))) == pytest.approx(
        case["soft_target_ce"], abs=1e-6
    )
    plain = soft_cross_entropy(logits, soft_targets(labels, logits.shape[1], 0.0))
    assert float(plain) == pytest.approx(case["ce"], abs=1e-6)


def test_eight_steps_of_training_are_the_reference_ones(numbers: dict[str, Any], golden: Path) -> None:
    run, recipe = numbers["train_run"], load_recipe(golden)
    sizes = run["config"]
    network = VisionTransformer(
        VitConfig(
            num_classes=sizes["num_classes"], img_size=sizes["img_size"], num_frames=sizes["all_frames"],
            dim=sizes["embed_dim"], depth=sizes["depth"], heads=sizes["num_heads"],
        )
    )  # fmt: skip
    state = recipe.make_state(run["spec"], run["seed_weights"])
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    groups = parameter_groups(network.named_parameters(), sizes["depth"], run["layer_decay"], run["wd"][0])
    optimiser = adamw(groups, tuple(run["adamw"]["betas"]), run["adamw"]["eps"])
    shape = (2, 3, sizes["all_frames"], sizes["img_size"], sizes["img_size"])
    for step in range(run["steps"]):
        set_rates(optimiser.param_groups, run["lr"][step], run["wd"][step])
        clips = torch.from_numpy(recipe.make_input(shape, run["seed_weights"] + 10 + step))
        labels = torch.tensor([step % 3, (2 * step + 1) % 3])
        loss = soft_cross_entropy(network(clips), soft_targets(labels, 3, 0.1))
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        optimiser.step()
        assert float(loss.detach()) == pytest.approx(run["losses"][step], abs=TOLERANCE), step
        assert float(norm) == pytest.approx(run["grad_norms"][step], abs=TOLERANCE), step
    for name, parameter in network.named_parameters():
        assert float(parameter.detach().double().sum()) == pytest.approx(run["param_sums"][name], abs=TOLERANCE), name
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(recipe.make_input(shape, run["seed_eval"])))
    torch.testing.assert_close(logits, torch.tensor(run["eval_logits"]), atol=TOLERANCE, rtol=0)


def test_label_smoothing_is_torchs_own() -> None:
    logits, labels = torch.randn(7, 5), torch.arange(7) % 5
    ours = soft_cross_entropy(logits, soft_targets(labels, 5, 0.3))
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, label_smoothing=0.3))
