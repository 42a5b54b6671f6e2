"""Agreement of counts, durations and frames, beside scipy and published examples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.comparisons import GROOMING, TWITCH, comparison, comparisons
from training.evaluation import agreement, bootstrap, raters
from training.evaluation.comparison import Comparison, swapped
from training.evaluation.raters import MISSING

numbers = st.integers(-20, 20).map(float)
pairs = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=12)


@settings(deadline=None)
@given(pairs)
def test_correlations_are_those_of_their_definitions(values: list[tuple[float, float]]) -> None:
    a, b = np.array(values).T
    if a.std() > 0 and b.std() > 0:
        assert agreement.pearson(a, b) == pytest.approx(scipy.stats.pearsonr(a, b)[0], abs=1e-9)
    covariance = np.cov(a, b, ddof=0)
    whole = covariance[0, 0] + covariance[1, 1] + (a.mean() - b.mean()) ** 2
    expected = pytest.approx(2 * covariance[0, 1] / whole, abs=1e-9) if whole else None
    assert agreement.concordance(a, b) == expected


@settings(deadline=None)
@given(pairs)
def test_icc_is_that_of_the_two_way_analysis_of_variance(values: list[tuple[float, float]]) -> None:
    table = np.array(values)
    n, k = table.shape
    total = ((table - table.mean()) ** 2).sum()
    between_rows = k * ((table.mean(axis=1) - table.mean()) ** 2).sum()
    between_columns = n * ((table.mean(axis=0) - table.mean()) ** 2).sum()
    rows, columns = between_rows / (n - 1), between_columns / (k - 1)
    rest = (total - between_rows - between_columns) / ((n - 1) * (k - 1))
    whole = rows + (k - 1) * rest + k * (columns - rest) / n
    if abs(whole) > 1e-9:
        assert agreement.intraclass(*table.T) == pytest.approx((rows - rest) / whole, abs=1e-6)


def names(count: int) -> list[str]:
    """As many animals, one for each video."""
    return [f"m{i}" for i in range(count)]


def test_limits_of_agreement_by_hand() -> None:
    values = [(1.0, 2.0), (2.0, 2.0), (4.0, 3.0), (5.0, 7.0), (None, 3.0), (None, None)]
    whole = agreement.agree(values, names(6))
    s = np.array([1.0, 0.0, -1.0, 2.0]).std(ddof=1)
    assert (whole.n, whole.unpaired, whole.bias, whole.mae) == (4, 1, 0.5, 1.0)
    assert whole.upper_limit == pytest.approx(0.5 + 1.959964 * s, abs=1e-5)
    assert whole.lower_limit == pytest.approx(0.5 - 1.959964 * s, abs=1e-5)


def test_intervals_are_those_of_bland_and_altman_where_each_video_is_of_another_animal() -> None:
    """The closed form, by Student's t over videos, holds for independent videos; drawing them has to come close."""
    rng = np.random.default_rng(1)
    first = rng.normal(20, 5, 80)
    gaps = rng.normal(1, 2, 80)
    found = agreement.agree(list(zip(first.tolist(), (first + gaps).tolist(), strict=True)), names(80))
    n, s, t = 80, gaps.std(ddof=1), scipy.stats.t.ppf(0.975, 79)
    margin = t * s / np.sqrt(n)
    assert found.bias_interval == pytest.approx((gaps.mean() - margin, gaps.mean() + margin), abs=0.1 * margin)
    for side, interval in ((-1, found.lower_limit_interval), (1, found.upper_limit_interval)):
        middle, margin = gaps.mean() + side * 1.96 * s, t * s * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
        assert interval == pytest.approx((middle - margin, middle + margin), abs=0.3 * margin)


def test_several_videos_of_an_animal_are_not_taken_for_several_animals() -> None:
    """Ten copies of each of five videos: nothing more is known, so the intervals must not shrink."""
    values = [(4.0, 5.0), (6.0, 6.0), (9.0, 7.0), (3.0, 6.0), (8.0, 8.5)]
    once, copied = agreement.agree(values, names(5)), agreement.agree(values * 10, names(5) * 10)
    assert copied.bias_interval == pytest.approx(once.bias_interval)
    assert copied.ccc_interval == pytest.approx(once.ccc_interval)
    independent = agreement.agree(values * 10, names(50)).bias_interval
    assert once.bias_interval is not None
    assert independent is not None
    assert independent[1] - independent[0] < 0.5 * (once.bias_interval[1] - once.bias_interval[0])
    assert agreement.agree(values, ["m1"] * 3 + ["m2"] * 2).bias_interval is None, "two animals tell nothing of others"


@settings(deadline=None)
@given(pairs)
def test_who_agrees_fully_has_no_bias(values: list[tuple[float, float]]) -> None:
    same = agreement.agree([(a, a) for a, _ in values], ["m1"] * len(values))
    assert (same.bias, same.mae) == (0, 0)
    is_constant = len({a for a, _ in values}) == 1
    for number in (same.ccc, same.icc, same.pearson):
        assert number == (None if is_constant else pytest.approx(1))


def test_one_video_has_a_bias_and_no_limits() -> None:
    one = agreement.agree([(3.0, 5.0)], ["m1"])
    assert (one.bias, one.upper_limit, one.bias_interval, one.ccc) == (2, None, None, None)
    assert agreement.agree([], []).bias is None


def test_latency_counts_from_the_first_scored_frame_and_is_unknown_without_a_bout() -> None:
    one = comparison({GROOMING: [(60, 80)]}, {}, scored=[(20, 200)])
    assert agreement.values(one, GROOMING, "latency_s") == (pytest.approx(2.0), None)
    assert agreement.values(one, GROOMING, "count") == (1, 0)
    assert agreement.values(one, GROOMING, "duration_s") == (pytest.approx(1.0), 0)


# --- raters


def test_kappa_and_ac1_of_published_tables() -> None:
    # Cohen's example in Wikipedia's article: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no.
    assert raters.cohen_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    # Gwet (2008): high agreement on a rare thing, 118 of 125 alike: kappa falls to -0.02, AC1 stays at 0.94.
    assert raters.cohen_kappa([[118, 5], [2, 0]]) == pytest.approx(-0.0234, abs=1e-3)
    assert raters.gwet_ac1([[118, 5], [2, 0]]) == pytest.approx(0.9408, abs=1e-3)


def test_alpha_of_krippendorffs_own_example() -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), C: four observers, gaps, nominal: 0.743."""
    rows = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    ratings = [[MISSING if sign == "." else int(sign) for sign in row] for row in rows]
    assert raters.krippendorff_alpha(ratings) == pytest.approx(0.743, abs=1e-3)


def test_alpha_of_two_raters_without_gaps() -> None:
    """Krippendorff (2011), section A: two observers, ten units, binary: 0.095."""
    first = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    second = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert raters.krippendorff_alpha([first, second]) == pytest.approx(0.095, abs=1e-3)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([MISSING, 0, 1, 2]), min_size=3, max_size=3), min_size=2, max_size=12))
def test_alpha_is_one_minus_observed_over_expected_disagreement(units: list[list[int]]) -> None:
    kept = [[v for v in unit if v != MISSING] for unit in units]
    kept = [unit for unit in kept if len(unit) > 1]
    every = [v for unit in kept for v in unit]
    observed = sum(
        sum(a != b for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j) / (len(unit) - 1) for unit in kept
    )
    n = len(every)
    expected = sum(a != b for i, a in enumerate(every) for j, b in enumerate(every) if i != j) / (n - 1) if n else 0
    found = raters.krippendorff_alpha(np.array(units).T)
    assert found == (pytest.approx(1 - observed / expected, abs=1e-9) if expected else None)


@settings(deadline=None)
@given(comparisons())
def test_agreement_beyond_chance_does_not_care_who_is_first(one: Comparison) -> None:
    for name in (GROOMING, TWITCH):
        there, back = raters.table(one, name), raters.table(swapped(one), name)
        for coefficient in (raters.cohen_kappa, raters.gwet_ac1):
            a, b = coefficient(there), coefficient(back)
            assert a == (None if b is None else pytest.approx(b))


def test_kappa_is_undefined_where_nothing_happens() -> None:
    assert raters.cohen_kappa([[100, 0], [0, 0]]) is None
    assert raters.gwet_ac1([[100, 0], [0, 0]]) == 1
    assert raters.cohen_kappa([[0, 0], [0, 0]]) is None


# --- bootstrap


def test_animals_are_drawn_and_not_videos() -> None:
    items = [0.0] * 50 + [1.0] * 50 + [0.5]
    subjects = ["a"] * 50 + ["b"] * 50 + ["c"]
    low, high = bootstrap.interval(items, subjects, lambda some: float(np.mean(some))) or (0, 0)
    assert high - low > 0.9
    narrow = bootstrap.interval(items, [str(i) for i in range(101)], lambda some: float(np.mean(some))) or (0, 0)
    assert narrow[1] - narrow[0] < 0.25


def test_the_interval_of_a_mean_is_about_the_textbooks() -> None:
    values = np.random.default_rng(0).normal(10, 2, 60)
    found = bootstrap.interval(values.tolist(), [str(i) for i in range(60)], lambda some: float(np.mean(some)))
    margin = 1.96 * values.std(ddof=1) / np.sqrt(60)
    assert found == pytest.approx((values.mean() - margin, values.mean() + margin), abs=0.1)


def test_intervals_are_the_same_every_time_and_unknown_for_two_animals() -> None:
    def statistic(some: list[float]) -> float:
        return sum(some) / len(some)

    items, subjects = [1.0, 2.0, 4.0], ["a", "b", "c"]
    assert bootstrap.interval(items, subjects, statistic) == bootstrap.interval(items, subjects, statistic)
    assert bootstrap.interval(items, ["a", "b", "b"], statistic) is None
    assert bootstrap.interval(items, subjects, lambda some: None) is None
