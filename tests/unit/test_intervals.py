"""From window scores to bouts."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal import reference
from mousetal.intervals import (
    bridge_gaps,
    drop_short,
    find_bouts,
    frame_edges,
    frame_posteriors,
    hysteresis,
    mask_of,
    match,
    merge,
    runs_of,
)
from mousetal.types import BoutRule, ClassifierSpec, FrameRange, WindowScore
from mousetal.windows import WindowPlan
from tests.fixtures.specs import classifier_spec
from tests.strategies import frame_ranges, segments

FPS = Fraction(30)
RANGES = st.lists(frame_ranges(), max_size=12)


def scores_of(plan: WindowPlan, truth: np.ndarray) -> list[WindowScore]:
    """What a good classifier says of each window: how much of the time around its middle is in the behaviour."""
    scores = []
    for window in plan.windows(len(truth)):
        middle = (window.frames.start_frame + window.frames.end_frame - 1) / 2
        near = truth[max(0, int(middle) - 4) : int(middle) + 5].mean()
        scores.append(WindowScore(window, (0, 0, 8, 8), np.array([1 - near, near, 0], np.float32)))
    return scores


def frames_of(ranges: list[FrameRange]) -> set[int]:
    return {frame for one in ranges for frame in range(one.start_frame, one.end_frame)}


@given(RANGES)
def test_merging_covers_the_same_frames_with_disjoint_ranges(ranges: list[FrameRange]) -> None:
    merged = merge(ranges)
    assert frames_of(merged) == frames_of(ranges)
    assert all(a.end_frame < b.start_frame for a, b in itertools.pairwise(merged))


@given(RANGES, st.randoms())
def test_merging_twice_in_parts_or_in_another_order_changes_nothing(ranges: list[FrameRange], random: Random) -> None:
    shuffled = random.sample(ranges, len(ranges))
    half = len(ranges) // 2
    assert merge(merge(ranges)) == merge(ranges)
    assert merge(shuffled) == merge(ranges)
    assert merge([*merge(ranges[:half]), *merge(ranges[half:])]) == merge(ranges)


@given(st.lists(segments(), max_size=20))
def test_the_references_merging_is_disjoint_per_label_and_covers_the_same_frames(
    found: list[reference.Segment],
) -> None:
    merged = reference.merge_predictions(found)
    for label in range(3):
        ours = [FrameRange(s.start_frame, s.end_frame) for s in merged if s.label == label]
        assert frames_of(ours) == frames_of([FrameRange(s.start_frame, s.end_frame) for s in found if s.label == label])
        assert all(a.end_frame < b.start_frame for a, b in itertools.pairwise(ours))
    assert reference.merge_predictions(merged) == merged


@given(st.lists(st.booleans(), max_size=60))
def test_runs_and_masks_are_each_others_inverse(mask: list[bool]) -> None:
    given_mask = np.array(mask, np.bool_)
    np.testing.assert_array_equal(mask_of(runs_of(given_mask), len(mask)), given_mask)


@given(st.integers(100, 300), st.integers(60, 200), st.integers(0, 31))
def test_boundaries_are_not_tied_to_the_window_grid(start: int, length: int, phase: int) -> None:
    """Windows start every 16 frames; a boundary anywhere is found within 8 frames, so also between grid points."""
    plan = WindowPlan.for_video(classifier_spec(num_frames=16, stride=8), FPS, reference_compat=False)
    truth = np.zeros(600 + phase, np.float32)
    truth[start : start + length] = 1
    posteriors = frame_posteriors(scores_of(plan, truth), len(truth), 3)
    (bout,) = find_bouts(posteriors, classifier_spec(), np.arange(len(truth)) / 30)
    assert abs(bout.start_frame - start) <= 8
    assert abs(bout.end_frame - start - length) <= 8


def test_a_ramp_between_two_windows_crosses_where_it_should() -> None:
    plan = WindowPlan.for_video(classifier_spec(num_frames=16, stride=8), FPS, reference_compat=False)
    found = set()
    for share in (0.55, 0.65, 0.8, 0.95):
        scores = [
            WindowScore(w, None, np.array([0, p, 0], np.float32))
            for w, p in zip(plan.windows(96), [0.0, 0.0, share, 1.0, 1.0, 1.0], strict=False)
        ]
        (bout,) = find_bouts(frame_posteriors(scores, 96, 3), classifier_spec(), np.arange(96) / 30)
        found.add(bout.start_frame)
    assert len(found) >= 3, "the boundary moves with the scores, not from grid point to grid point"


def test_hysteresis_starts_high_and_lasts_low() -> None:
    posterior = np.array([0.4, 0.6, 0.9, 0.6, 0.4, 0.6, 0.1], np.float32)
    assert hysteresis(posterior, 0.8, 0.5).tolist() == [[1, 4]]
    assert hysteresis(posterior, 0.5, 0.5).tolist() == [[1, 4], [5, 6]]


def test_gaps_are_bridged_by_seconds_and_only_over_scored_frames() -> None:
    runs = np.array([[0, 2], [4, 6], [12, 14]])
    edges, scored = np.arange(15) / 10, np.ones(14, np.bool_)
    assert bridge_gaps(runs, edges, 0.21, scored).tolist() == [[0, 6], [12, 14]]
    scored[2] = False
    assert bridge_gaps(runs, edges, 0.21, scored).tolist() == runs.tolist()


def test_short_bouts_are_dropped_by_the_time_they_last() -> None:
    slow_then_fast = np.array([0, 1, 2, 3, 3.1, 3.2, 3.3])
    assert drop_short(np.array([[0, 2], [3, 6]]), slow_then_fast, 0.5).tolist() == [[0, 2]]
    assert frame_edges(np.array([0.0, 0.1, 0.2]))[-1] == pytest.approx(0.3)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_bouts_of_different_classes_overlap_only_when_multi_label(seed: int, is_multi_label: bool) -> None:
    rng = np.random.default_rng(seed)
    posteriors = np.repeat(rng.random((12, 3), np.float32), 5, axis=0)
    spec = classifier_spec(is_multi_label=is_multi_label, rules=(BoutRule(0.4, 0.3, 0.0, 0.3),) * 3)
    bouts = find_bouts(posteriors, spec, np.arange(60) / 10)
    covered = np.zeros(60, int)
    for bout in bouts:
        covered[bout.start_frame : bout.end_frame] += 1
        assert bout.confidence >= 0.4
    assert is_multi_label or covered.max(initial=0) <= 1


def test_frames_that_were_not_scored_belong_to_no_bout() -> None:
    posteriors = np.tile(np.array([0, 0.9, 0], np.float32), (20, 1))
    posteriors[8:12] = np.nan
    bouts = find_bouts(posteriors, classifier_spec(), np.arange(20) / 10)
    assert [(b.start_frame, b.end_frame) for b in bouts] == [(0, 8), (12, 20)]
    assert all("near_not_scored" in b.flags for b in bouts)


@given(RANGES, RANGES, st.floats(0.1, 1))
def test_matching_is_one_to_one(found: list[FrameRange], truth: list[FrameRange], min_iou: float) -> None:
    pairs = match(found, truth, min_iou)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert len(match(found, found, 1.0)) == len(found)


def test_an_hour_of_video_takes_well_under_a_second() -> None:
    spec: ClassifierSpec = classifier_spec(num_frames=16, stride=8)
    plan = WindowPlan.for_video(spec, FPS, reference_compat=False)
    rng = np.random.default_rng(0)
    windows = plan.windows(108_000)
    scores = [WindowScore(w, None, rng.dirichlet([1, 1, 1]).astype(np.float32)) for w in windows]
    started = time.process_time()
    find_bouts(frame_posteriors(scores, 108_000, 3), spec, np.arange(108_000) / 30)
    assert time.process_time() - started < 3
