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
    inherit_flags,
    mask_of,
    match,
    merge,
    resolve_overlaps,
    runs_of,
    temporal_iou,
)
from mousetal.types import Bout, BoutRule, FrameBox, FrameRange, Window, WindowScore
from mousetal.windows import WindowPlan
from tests.fixtures.specs import classifier_spec
from tests.strategies import frame_ranges, posteriors, segments

FPS = Fraction(30)
RANGES = st.lists(frame_ranges(), max_size=12)


def score(start: int, end: int, *probabilities: float, flags: tuple[str, ...] = ()) -> WindowScore:
    window = Window(0, tuple(range(start, end)), FrameRange(start, end))
    return WindowScore(window, (0, 0, 1, 1), np.array(probabilities, np.float32), flags)


def column(values: str) -> np.ndarray:
    """A posterior of one class drawn with a digit per frame: "059" is 0, 0.5, 0.9; "?" is not scored."""
    return np.array([np.nan if value == "?" else int(value) / 10 for value in values], np.float32)


def drawn(runs: np.ndarray, length: int) -> str:
    return "".join("#" if inside else "." for inside in mask_of(runs, length))


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


@pytest.mark.parametrize("length", [41, 73, 96])
@pytest.mark.parametrize("start", range(120, 137))
def test_boundaries_are_not_tied_to_the_window_grid(start: int, length: int) -> None:
    """Windows start every 16 frames and say how much of them the behaviour fills; a step anywhere is found."""
    plan = WindowPlan(16, Fraction(2), 8, cover_tail=True)
    truth = np.zeros(400)
    truth[start : start + length] = 1
    scores = []
    for window in plan.windows(400):
        share = float(truth[window.frames.start_frame : window.frames.end_frame].mean())
        scores.append(WindowScore(window, None, np.array([1 - share, share, 0], np.float32)))
    (bout,) = find_bouts(frame_posteriors(scores, 400, 3), classifier_spec(), np.arange(400) / 30)
    assert abs(bout.start_frame - start) <= 3
    assert abs(bout.end_frame - (start + length)) <= 3


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


# Posteriors


def test_a_frame_is_as_likely_as_the_only_window_over_it_says() -> None:
    np.testing.assert_allclose(frame_posteriors([score(2, 6, 0.3, 0.7)], 8, 2)[2:6], [[0.3, 0.7]] * 4, atol=1e-7)


def test_where_nothing_was_scored_the_posterior_is_not_a_number() -> None:
    values = frame_posteriors([score(2, 6, 0.3, 0.7), score(6, 8, np.nan, np.nan)], 9, 2)
    assert np.isnan(values[:, 0]).tolist() == [True, True, False, False, False, False, True, True, True]


def test_a_window_that_speaks_for_frames_past_the_end_is_cut_off() -> None:
    values = frame_posteriors([score(0, 8, 0.2, 0.8), score(4, 12, 0.6, 0.4), score(20, 28, 1, 0)], 6, 2)
    assert values.shape == (6, 2)
    assert np.isfinite(values).all()


def test_of_two_windows_the_one_whose_centre_is_nearer_has_more_say() -> None:
    values = frame_posteriors([score(0, 8, 1, 0), score(4, 12, 0, 1)], 12, 2)[:, 1]
    assert (np.diff(values[4:8]) > 0).all()
    assert values[4] < 0.5 < values[7]
    assert values[5] + values[6] == pytest.approx(1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(2, 9))
def test_posteriors_stay_within_what_the_windows_said(values: list[float], stride: int) -> None:
    scores = [score(stride * i, stride * i + 8, value, 1 - value) for i, value in enumerate(values)]
    result = frame_posteriors(scores, stride * len(values) + 8, 2)
    scored = result[np.isfinite(result[:, 0])]
    assert (scored[:, 0] >= min(values) - 1e-6).all()
    assert (scored[:, 0] <= max(values) + 1e-6).all()
    np.testing.assert_allclose(scored.sum(axis=1), 1, atol=1e-6)


# The steps from posterior to bouts


@pytest.mark.parametrize(
    ("posterior", "expected"),
    [
        ("0004550000", "...###...."),
        ("0344640030", ".#####...."),  # lasts down to the low threshold, on both sides of the peak
        ("0333330000", ".........."),  # never reaches the threshold
        ("5500005500", "##....##.."),
        ("533?335000", "###.###..."),  # not through frames that were not scored
        ("6666666666", "##########"),
    ],
)
def test_a_bout_starts_at_the_threshold_and_lasts_down_to_the_low_one(posterior: str, expected: str) -> None:
    assert drawn(hysteresis(column(posterior), 0.5, 0.3), 10) == expected


def test_gaps_are_bridged_by_seconds_and_only_over_scored_frames() -> None:
    runs = np.array([[0, 2], [4, 6], [12, 14]])
    edges, scored = np.arange(15) / 10, np.ones(14, np.bool_)
    assert bridge_gaps(runs, edges, 0.21, scored).tolist() == [[0, 6], [12, 14]]
    scored[2] = False
    assert bridge_gaps(runs, edges, 0.21, scored).tolist() == runs.tolist()


def test_a_gap_and_a_bout_of_exactly_the_limit_count_as_within_it() -> None:
    edges, every = frame_edges(np.arange(100) / 10), np.ones(100, np.bool_)
    runs = np.array([[start, start + 3] for start in range(0, 90, 6)])
    assert len(drop_short(runs, edges, 0.3)) == len(runs)
    assert len(drop_short(runs, edges, 0.31)) == 0
    assert bridge_gaps(runs, edges, 0.3, every).tolist() == [[0, 87]]


def test_short_bouts_are_dropped_by_the_time_they_last() -> None:
    slow_then_fast = np.array([0, 1, 2, 3, 3.1, 3.2, 3.3])
    assert drop_short(np.array([[0, 2], [3, 6]]), slow_then_fast, 0.5).tolist() == [[0, 2]]
    assert frame_edges(np.array([0.0, 0.1, 0.2]))[-1] == pytest.approx(0.3)


@pytest.mark.parametrize("is_multi_label", [False, True])
@given(values=posteriors(), gap=st.sampled_from([0.0, 0.3, 1.0]), low=st.sampled_from([0.2, 0.35, 0.5]))
def test_bouts_keep_their_promises(values: np.ndarray, gap: float, low: float, is_multi_label: bool) -> None:
    rule = BoutRule(threshold=0.5, low_threshold=low, min_duration_s=0.2, bridge_gap_s=gap)
    spec = classifier_spec(rules=(rule,) * 3, is_multi_label=is_multi_label)
    edges = frame_edges(np.arange(len(values)) / 10)
    claimed = {name: np.zeros(len(values), int) for name in spec.classes}
    for bout in find_bouts(values, spec, edges[:-1]):
        inside = values[bout.start_frame : bout.end_frame, spec.classes.index(bout.behavior)]
        assert np.isfinite(inside).all()
        assert 0.5 <= bout.confidence == inside.max()
        assert edges[bout.end_frame] - edges[bout.start_frame] >= 0.2 - 1e-6
        claimed[bout.behavior][bout.start_frame : bout.end_frame] += 1
    assert not claimed["idle"].any()
    assert max(frames.max() for frames in claimed.values()) <= 1
    assert is_multi_label or sum(claimed.values()).max() <= 1


def test_a_frame_that_two_classes_claim_goes_to_the_likelier() -> None:
    values = np.stack([column("000000"), column("455554"), column("334665")], axis=1)
    runs = resolve_overlaps({1: np.array([[0, 6]]), 2: np.array([[2, 6]])}, values)
    assert drawn(runs[1], 6) == "###..."
    assert drawn(runs[2], 6) == "...###"


def test_a_twitch_inside_grooming_splits_it() -> None:
    values = np.stack([column("000000000"), column("777333777"), column("111666111")], axis=1)
    spec = classifier_spec(rules=(BoutRule(), BoutRule(bridge_gap_s=1), BoutRule()))
    assert [(b.behavior, b.start_frame, b.end_frame) for b in find_bouts(values, spec, np.arange(9) / 10)] == [
        ("grooming", 0, 3),
        ("twitch", 3, 6),
        ("grooming", 6, 9),
    ]


def test_what_another_class_leaves_of_a_bout_must_reach_the_threshold_itself() -> None:
    values = np.stack([column("00000000"), column("66644333"), column("11155111")], axis=1)
    spec = classifier_spec(rules=(BoutRule(), BoutRule(low_threshold=0.3), BoutRule()))
    bouts = find_bouts(values, spec, np.arange(8) / 10)
    assert [(b.behavior, b.start_frame, b.end_frame) for b in bouts] == [("grooming", 0, 3), ("twitch", 3, 5)]


def test_a_multi_label_classifier_may_see_two_things_at_once() -> None:
    values = np.stack([column("0000"), column("9999"), column("0880")], axis=1)
    bouts = find_bouts(values, classifier_spec(is_multi_label=True), np.arange(4) / 10)
    assert [(b.behavior, b.start_frame, b.end_frame) for b in bouts] == [("grooming", 0, 4), ("twitch", 1, 3)]


def test_a_classifier_of_nothing_but_background_finds_nothing() -> None:
    spec = classifier_spec(classes=("idle",), rules=(BoutRule(),))
    assert find_bouts(np.ones((5, 1), np.float32), spec, np.arange(5) / 10) == ()


def test_a_bout_knows_its_confidence_its_mean_and_the_animals_place() -> None:
    values = np.stack([column("0000000"), column("0579000"), column("0000000")], axis=1)
    boxes = [FrameBox(i, (10.5 + i, 5.0, 20.5 + i, 15.0), 0.9, "detected") for i in range(0, 7, 2)]
    (bout,) = find_bouts(values, classifier_spec(), np.arange(7) / 10, boxes)
    assert (bout.confidence, bout.mean_probability) == pytest.approx((0.9, 0.7))
    assert bout.box_xyxy == (12, 5, 23, 15)


@pytest.mark.parametrize(
    ("posterior", "flags"),
    [
        ("0990000", ()),
        ("9900000", ("touches_start",)),
        ("0000099", ("touches_end",)),
        ("0099?00", ("near_not_scored",)),
        ("?999999", ("touches_end", "near_not_scored")),
    ],
)
def test_a_bout_says_what_may_have_cut_it_short(posterior: str, flags: tuple[str, ...]) -> None:
    values = np.stack([column("0" * 7), column(posterior), column("0" * 7)], axis=1)
    (bout,) = find_bouts(values, classifier_spec(), np.arange(7) / 10)
    assert bout.flags == flags


def test_a_bout_carries_the_flags_of_the_windows_over_it() -> None:
    bout = Bout("grooming", 10, 20, 0.9, 0.8, flags=("touches_start",))
    scores = [
        score(0, 11, 0, 1, 0, flags=("ignored_box",)),
        score(4, 16, 0, 1, 0, flags=("borrowed_box", "ignored_box")),
        score(20, 30, 0, 1, 0, flags=("damaged",)),  # begins where the bout ends
        score(8, 18, np.nan, np.nan, np.nan, flags=("no_animal",)),  # had no say
    ]
    assert inherit_flags([bout], scores)[0].flags == ("touches_start", "borrowed_box", "ignored_box")


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


@given(frame_ranges(), frame_ranges())
def test_temporal_iou_counts_frames(a: FrameRange, b: FrameRange) -> None:
    assert temporal_iou(a, b) == len(frames_of([a]) & frames_of([b])) / len(frames_of([a, b]))


def test_the_better_match_is_made_first() -> None:
    assert match([FrameRange(5, 15), FrameRange(1, 10)], [FrameRange(0, 10)], 0.1) == [(1, 0)]


def test_an_hour_of_video_takes_well_under_a_second() -> None:
    total = 108_000
    rng = np.random.default_rng(0)
    windows = WindowPlan(16, Fraction(2), 8, cover_tail=True).windows(total)
    likely = rng.dirichlet([1, 0.3, 0.3], len(windows)).astype(np.float32)
    scores = [WindowScore(one, (0, 0, 9, 9), p, ("borrowed_box",)) for one, p in zip(windows, likely, strict=True)]
    boxes = [FrameBox(frame, (0, 0, 9, 9), 0.9, "detected") for frame in range(0, total, 2)]
    spec = classifier_spec(rules=(BoutRule(0.5, 0.3, 0.1, 0.2),) * 3)
    start = time.process_time()
    bouts = inherit_flags(find_bouts(frame_posteriors(scores, total, 3), spec, np.arange(total) / 30, boxes), scores)
    assert time.process_time() - start < 1.5
    assert len(bouts) > 1000
