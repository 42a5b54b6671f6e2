"""The logistic regression that a network has to beat."""

from __future__ import annotations

import numpy as np
import pytest

from training import clipfloor


def toy(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Clouds in 20 dimensions that one direction tells apart."""
    true = rng.random(count) < 0.5
    inputs = rng.normal(size=(count, 20))
    inputs[:, 3] += np.where(true, 4.0, -4.0)
    return inputs, true


@pytest.mark.parametrize("is_whitened", [False, True])
def test_what_a_line_tells_apart_is_told_apart_on_points_not_seen(is_whitened: bool) -> None:
    rng = np.random.default_rng(0)
    model = clipfloor.fit(*toy(rng, 80), components=20, is_whitened=is_whitened)
    inputs, true = toy(rng, 400)
    assert ((model.probabilities(inputs) >= 0.5) == true).mean() > 0.98


def test_the_solution_is_where_the_penalised_loss_has_no_slope() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(50, 3))
    true = rng.random(50) < 0.4
    weights, intercept = clipfloor._logistic(inputs, true)
    error = 1 / (1 + np.exp(-(inputs @ weights + intercept))) - true
    assert inputs.T @ error + clipfloor.PENALTY * weights == pytest.approx(np.zeros(3), abs=1e-6)
    assert error.sum() == pytest.approx(0, abs=1e-5)


def test_features_that_say_nothing_leave_the_share_of_each_class() -> None:
    true = np.array([True] * 30 + [False] * 10)
    model = clipfloor.fit(np.random.default_rng(2).normal(size=(40, 4)) * 1e-12 + 1.0, true)
    assert model.probabilities(np.ones((1, 4))) == pytest.approx([0.75], abs=0.2)


def test_a_square_that_sticks_out_repeats_the_edge() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, 40:] = 200
    small = clipfloor.small_grey(picture, (60, -10, 108, 38))
    assert small.shape == (48, 48)
    assert small.min() == small.max() == 200
