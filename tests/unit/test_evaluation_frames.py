"""Scores over frames, and what counts: scored frames, behaviours that were looked for, nothing that is undefined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mousetal.types import FrameRange
from tests.fixtures.comparisons import BEHAVIORS, GROOMING, TWITCH, comparison, comparisons
from training.evaluation import detection, events, frames, segments
from training.evaluation.comparison import Comparison, Found, cut, disjoint, swapped
from training.evaluation.share import Counts, mean


def test_bouts_are_cut_to_the_scored_frames() -> None:
    one = comparison({GROOMING: [(10, 60), (120, 140)]}, {GROOMING: [(0, 15), (50, 110)]}, scored=[(20, 100)])
    assert one.truth[GROOMING] == (FrameRange(20, 60),)
    assert one.found_ranges(GROOMING) == (FrameRange(50, 100),)
    assert frames.counts(one, GROOMING) == Counts(hits=10, false=40, missed=30)


def test_a_bout_across_a_hole_is_two() -> None:
    is_scored = np.ones(50, np.bool_)
    is_scored[20:30] = False
    assert cut([FrameRange(10, 40), FrameRange(45, 90)], is_scored) == [
        FrameRange(10, 20), FrameRange(30, 40), FrameRange(45, 50),
    ]  # fmt: skip


def test_bouts_that_touch_stay_two_and_those_that_overlap_do_not() -> None:
    ranges = [FrameRange(0, 10), FrameRange(10, 20), FrameRange(15, 30)]
    assert disjoint(ranges) == [FrameRange(0, 10), FrameRange(10, 30)]


def test_behaviours_that_nobody_looked_for_do_not_count() -> None:
    one = comparison({}, {TWITCH: [(5, 9)], GROOMING: [(50, 60)]})
    one = replace(one, truth={GROOMING: one.truth[GROOMING]})
    assert one.behaviors == (GROOMING,)
    names, table = frames.confusion([one], "idle")
    assert names == ("idle", GROOMING)
    assert table.tolist() == [[190, 10], [0, 0]]


def test_what_is_undefined_is_none_and_never_zero() -> None:
    empty = frames.counts(comparison({}, {}), GROOMING)
    assert (empty.precision, empty.recall, empty.f1) == (None, None, None)
    only_true = frames.counts(comparison({GROOMING: [(0, 5)]}, {}), GROOMING)
    assert (only_true.precision, only_true.recall, only_true.f1) == (None, 0, 0)
    assert mean([None, None]) is None
    assert mean([None, 0.5]) == 0.5
    assert frames.average_precision(frames.curve(np.zeros(3), np.zeros(3, np.bool_))) is None


@settings(deadline=None)
@given(comparisons())
def test_who_agrees_fully_scores_one_where_there_is_anything(one: Comparison) -> None:
    same = replace(one, found={
        name: tuple(Found(bout, 1 / (1 + n)) for n, bout in enumerate(ranges)) for name, ranges in one.truth.items()
    })  # fmt: skip
    for name in BEHAVIORS:
        expected = 1 if one.truth[name] else None
        assert frames.counts(same, name).f1 == expected
        assert events.counts(same, name, events.FRAME).f1 == expected
        assert segments.counts(same, name, 0.5).f1 == expected
        assert detection.mean_average_precision([same], (0.95,)) == (1 if any(one.truth.values()) else None)


@settings(deadline=None)
@given(comparisons())
def test_changing_the_roles_swaps_precision_and_recall(one: Comparison) -> None:
    for name in BEHAVIORS:
        there, back = frames.counts(one, name), frames.counts(swapped(one), name)
        assert (there.precision, there.recall, there.f1) == (back.recall, back.precision, back.f1)


@settings(deadline=None)
@given(comparisons(), comparisons())
def test_a_video_without_the_behaviour_changes_no_recall(one: Comparison, other: Comparison) -> None:
    idle = replace(other, truth=dict.fromkeys(BEHAVIORS, ()))
    for name in BEHAVIORS:
        alone, both = frames.counts(one, name), frames.counts(one, name) + frames.counts(idle, name)
        assert alone.recall == both.recall


@settings(deadline=None)
@given(comparisons())
def test_every_scored_frame_is_in_the_confusion_table(one: Comparison) -> None:
    _, table = frames.confusion([one], "idle")
    for place, name in enumerate(BEHAVIORS, start=1):
        assert table[place].sum() >= one.true_mask(name).sum()
    assert table.sum() >= one.num_frames
    assert table[0, 0] == sum(
        not any(m) for m in zip(*(one.true_mask(n) | one.found_mask(n) for n in BEHAVIORS), strict=True)
    )


scores_and_truth = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=st.sampled_from([round(k / 20, 2) for k in range(21)])),
        hnp.arrays(np.bool_, n),
    )
)


def naive_average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """By the definition: at every threshold the precision, times the recall gained there."""
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        now = (truth & found).sum() / truth.sum()
        area += (now - recall) * (truth & found).sum() / found.sum()
        recall = now
    return area


@settings(deadline=None)
@given(scores_and_truth)
def test_average_precision_is_as_defined(given_: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = given_
    found = frames.average_precision(frames.curve(scores, truth))
    assert found == (pytest.approx(naive_average_precision(scores, truth), abs=1e-9) if truth.any() else None)


@settings(deadline=None)
@given(scores_and_truth)
def test_average_precision_from_levels_is_the_same_where_scores_are_on_levels(
    given_: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, truth = given_
    one = comparison({GROOMING: [(i, i + 1) for i in np.flatnonzero(truth).tolist()]}, {}, num_frames=len(truth))
    one = replace(one, posteriors={GROOMING: (scores * 0.999 + 0.0005).astype(np.float32)})
    exact = frames.average_precision(frames.curve(*frames.pooled_scores([one], GROOMING)))
    levels = frames.histogram_precision(frames.histogram(one, GROOMING))
    assert levels == (None if exact is None else pytest.approx(exact, abs=1e-9))


def test_frames_on_which_the_model_said_nothing_count_as_not_found() -> None:
    one = comparison({GROOMING: [(0, 10)]}, {}, num_frames=20)
    posterior = np.full(20, 0.1, np.float32)
    posterior[:5] = np.nan
    posterior[5:10] = 0.9
    one = replace(one, posteriors={GROOMING: posterior})
    curve = frames.curve(*frames.pooled_scores([one], GROOMING))
    assert curve is not None
    assert curve.recall.tolist() == [0.5, 0.5, 1.0]
