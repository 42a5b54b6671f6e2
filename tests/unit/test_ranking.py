"""Area under the ROC curve, average precision and accuracy, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.ranking import auc, rank

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.2])
TRUE = np.array([True, False, True, True, False, False])


def test_the_area_counts_pairs_in_the_right_order() -> None:
    # 0.9 is above three false ones; 0.7 and 0.6 are above two each: 7 of 9 pairs.
    assert auc(SCORES, TRUE) == pytest.approx(7 / 9)


def test_average_precision_is_the_mean_precision_at_every_true_one() -> None:
    # Found at ranks 1, 3 and 4: 1/1, 2/3 and 3/4.
    assert rank(SCORES, TRUE).ap == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_accuracy_calls_true_what_reaches_the_threshold() -> None:
    assert rank(SCORES, TRUE).accuracy == pytest.approx(5 / 6)
    assert rank(SCORES, TRUE, threshold=0.65).accuracy == pytest.approx(4 / 6)


def test_equal_scores_count_half_whatever_their_order() -> None:
    scores, true = np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, False, False, False])
    assert auc(scores, true) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert rank(scores, true).ap == pytest.approx(1 / 3)
    assert rank(scores[::-1], true[::-1]).ap == pytest.approx(1 / 3)


@pytest.mark.parametrize("side", [True, False])
def test_with_one_class_only_the_area_is_undefined(side: bool) -> None:
    assert rank(np.array([0.1, 0.9]), np.array([side, side])).auc is None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_turning_scores_and_truth_round_leaves_the_area(pairs: list[tuple[int, bool]]) -> None:
    scores, true = np.array([s for s, _ in pairs], float), np.array([t for _, t in pairs])
    before = auc(scores, true)
    assert before == auc(-scores, ~true)
    if before is not None:
        assert auc(-scores, true) == pytest.approx(1 - before)
