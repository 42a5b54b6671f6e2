"""Are probabilities right, and the temperature that mends them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mousetal.types import FrameRange, Window, WindowScore
from tests.fixtures.comparisons import GROOMING, comparison
from training.evaluation import calibration


def test_reliability_counts_every_case_once_and_ece_is_the_weighted_gap() -> None:
    p = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    truth = np.array([False, True, False, True, True])
    bins = calibration.reliability(p, truth)
    assert [one.n for one in bins] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins[2].probability is None
    assert calibration.expected_calibration_error(bins) == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5)
    assert calibration.expected_calibration_error(calibration.reliability(np.zeros(0), np.zeros(0, np.bool_))) is None


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1)), st.integers(0, 99))
def test_ece_is_never_more_than_one_and_bins_hold_all(p: np.ndarray, seed: int) -> None:
    truth = np.random.default_rng(seed).random(len(p)) < p
    bins = calibration.reliability(p, truth)
    assert sum(one.n for one in bins) == len(p)
    assert 0 <= (calibration.expected_calibration_error(bins) or 0) <= 1


def test_a_found_bout_is_right_once() -> None:
    one = comparison({GROOMING: [(0, 50)]}, {GROOMING: [(0, 40), (41, 50), (100, 120)]})
    confidences, is_right = calibration.judged_bouts(one, GROOMING)
    assert confidences.tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 4])
    assert is_right.tolist() == [True, False, False]


def test_risk_falls_when_the_surest_are_right() -> None:
    coverage, risk = calibration.risk_coverage(np.array([0.9, 0.2, 0.8]), np.array([True, False, True]))
    assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3])


rows = hnp.arrays(np.float32, (5, 3), elements=st.floats(np.float32(0.01), 1, width=32)).map(
    lambda a: (a / a.sum(axis=1, keepdims=True)).astype(np.float32)
)


@settings(deadline=None)
@given(rows, st.floats(0.3, 5))
def test_temperature_keeps_the_ranking_and_undoes_itself(p: np.ndarray, temperature: float) -> None:
    mended = calibration.tempered(p, temperature, False)
    assert mended.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    for before, after in zip(p, mended, strict=True):
        assert all(after[i] >= after[j] - 1e-6 for i in range(3) for j in range(3) if before[i] > before[j])
    np.testing.assert_allclose(calibration.tempered(mended, 1 / temperature, False), p, atol=2e-4)
    np.testing.assert_allclose(calibration.tempered(p, 1.0, False), p, atol=1e-6)


def windows(logits: np.ndarray) -> list[WindowScore]:
    """One window of one frame per row."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [WindowScore(Window(i, (i,), FrameRange(i, i + 1)), None, row.astype(np.float32)) for i, row in enumerate(p)]


def test_the_temperature_of_an_overconfident_model_is_found() -> None:
    rng = np.random.default_rng(0)
    true_logits = rng.normal(0, 1.5, (4000, 3))
    p = np.exp(true_logits) / np.exp(true_logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in p])
    targets = np.eye(3)[labels]
    temperature, before, after = calibration.fit_temperature([(windows(3 * true_logits), targets)], False)
    assert temperature == pytest.approx(3, rel=0.1)
    assert before is not None
    assert after is not None
    assert after < before
    unknown = np.full((4000, 3), np.nan)
    assert calibration.fit_temperature([(windows(true_logits), unknown)], False) == (1.0, None, None)


def test_windows_that_were_not_scored_do_not_count_towards_the_temperature() -> None:
    scores = windows(np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    silent = replace(scores[1], probabilities=np.full(3, np.nan, np.float32))
    targets = np.eye(3)[[0, 1]]
    both = calibration.fit_temperature([([scores[0], silent], targets)], False)
    alone = calibration.fit_temperature([([scores[0]], targets[:1])], False)
    assert both == pytest.approx(alone)
