"""Looking at some frames only: which, and that crops and windows come out as if all had been looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.geometry import iou
from mousetal.keyframes import MAX_ERROR, KeyFrames
from mousetal.outcome import finish
from mousetal.pipeline import Plan, analyse
from mousetal.types import Detections
from tests.fixtures.scenes import MOUSE, Finder, Judge, ScoredBox, ahead, found, frames_of
from tests.fixtures.specs import classifier_spec, detector_spec, video_info

See = Callable[[int], list[ScoredBox]]
SIDE = 10.0


def plan_for(num_frames: int, every: int, rate: int = 2) -> Plan:
    spec = classifier_spec(sampling_rate=rate)
    return Plan(
        video_info(num_frames),
        detector_spec(),
        spec,
        detector_batch=2,
        classifier_batch=2,
        detect_every=every,
        max_gap_s=5,
    )


def looks(see: See, plan: Plan, wrap: Callable[[Any], Any] = lambda call: call) -> list[int]:
    """The frames that the detector was asked about, in the order of asking."""
    finder = Finder(see)
    list(analyse(frames_of(plan.info), wrap(finder), wrap(Judge()), plan))
    return finder.asked


def at(x: float, y: float = 10.0) -> ScoredBox:
    return (x, y, x + SIDE, y + SIDE, 0.9)


def test_an_animal_that_rests_is_looked_at_every_nth_frame_and_on_the_last() -> None:
    plan = plan_for(50, every=5)
    sampled = plan.windows.sampled_frames(50).tolist()
    assert looks(lambda index: [MOUSE], plan) == [*sampled[::5], sampled[-1]]


def test_one_that_walks_straight_costs_one_more_look_per_stretch() -> None:
    asked = looks(lambda index: [at(index / 2)], plan_for(41, every=5))
    assert sorted(asked) == [0, 6, 10, 16, 20, 26, 30, 36, 40]


def test_one_that_turns_in_between_is_looked_at_until_the_way_is_known() -> None:
    def see(index: int) -> list[ScoredBox]:
        return [at(8.0 * (index == 14))]  # a start to the side, on one frame

    asked = looks(lambda index: [at(abs(index - 20))], plan_for(41, every=10))
    assert set(asked) >= {0, 20, 40, 10, 30}
    assert 14 not in looks(see, plan_for(41, every=10)), "what cannot be known: both keys agree"


def test_where_the_animal_comes_into_view_every_frame_around_is_looked_at() -> None:
    asked = looks(lambda index: [MOUSE] if index >= 14 else [], plan_for(41, every=10))
    assert {12, 14} <= set(asked)


def test_no_animal_at_all_costs_keys_only() -> None:
    assert len(looks(lambda index: [], plan_for(81, every=10))) == 5


@pytest.mark.parametrize("every", [1, 2, 5, 40])
@pytest.mark.parametrize("wrap", [lambda call: call, ahead], ids=["direct", "ahead"])
def test_every_sampled_frame_is_accounted_for_once_and_in_order(every: int, wrap: Callable[[Any], Any]) -> None:
    plan = plan_for(60, every)
    results = list(analyse(frames_of(plan.info), wrap(Finder(lambda i: [at(i % 9)])), wrap(Judge()), plan))
    told = [one.frame_index for result in results for one in result.detections]
    assert told == plan.windows.sampled_frames(60).tolist()


def test_frames_that_were_skipped_are_interpolated_and_that_is_no_flaw() -> None:
    plan = plan_for(41, every=5)
    results = list(analyse(frames_of(plan.info), Finder(lambda index: [at(index / 2)]), Judge(), plan))
    assert all(result.score.flags == () for result in results)
    boxes = {box.frame_index: box for box in finish("a", results, plan).boxes}
    assert boxes[8].source == "interpolated"
    assert boxes[8].box_xyxy == pytest.approx((4.0, 10.0, 14.0, 20.0))
    assert boxes[10].source == "detected"


def test_a_frame_that_was_looked_at_in_vain_is_still_flagged() -> None:
    plan = plan_for(41, every=5)
    results = list(analyse(frames_of(plan.info), Finder(lambda i: [] if i == 20 else [MOUSE]), Judge(), plan))
    assert any("borrowed_box" in result.score.flags for result in results)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6),
    st.integers(2, 8),
    st.integers(20, 90),
)
def test_on_a_smooth_way_no_interpolated_box_is_far_off(
    points: list[tuple[float, float]], every: int, total: int
) -> None:
    """The way bends only where it is slow to: between bends it is straight, and there the bound holds everywhere."""
    knots = np.linspace(0, total - 1, len(points))
    xs, ys = (np.interp(np.arange(total), knots, [40 * p[k] for p in points]) for k in (0, 1))
    plan = replace(plan_for(total, every, rate=1))
    results = list(analyse(frames_of(plan.info), Finder(lambda i: [at(xs[i], ys[i])]), Judge(), plan))
    far = [
        box.frame_index
        for box in finish("a", results, plan).boxes
        if abs(box.box_xyxy[0] - xs[box.frame_index]) > 3 * MAX_ERROR * SIDE
    ]
    bends = {int(frame) + d for frame in knots for d in range(-every, every + 1)}
    assert set(far) <= bends


def test_crops_are_nearly_those_of_looking_at_every_frame() -> None:
    rng = np.random.default_rng(0)
    xs = 20 + np.cumsum(rng.normal(0, 0.8, 301)).clip(-18, 30)

    def crops(every: int) -> list[Any]:
        plan = plan_for(301, every)
        results = analyse(frames_of(plan.info), Finder(lambda i: [at(float(xs[i]))]), Judge(), plan)
        return [result.score.crop_xyxy for result in results]

    overlaps = [iou(a, b) for a, b in zip(crops(1), crops(4), strict=True)]
    assert np.mean(overlaps) > 0.9


def test_a_stretch_is_handed_out_once_it_is_decided() -> None:
    keys = KeyFrames(4, np.arange(9), np.arange(9) / 10, 0.5)
    assert [keys.add(frame) for frame in range(9)] == [[0], [], [], [], [4], [], [], [], [8]]
    assert keys.settled() == []
    keys.answer(found(0, at(0)))
    assert [one.frame_index for one in keys.settled()] == [0]
    keys.answer(found(4, at(9)))
    assert keys.settled() == []
    assert keys.wanted(5) == [2]
    keys.answer(found(8, at(9)))
    assert keys.settled() == [], "the stretch before it is not decided"
    keys.answer(found(2, at(4.5)))
    assert [(one.frame_index, one.is_skipped) for one in keys.settled()] == [
        (1, True),
        (2, False),
        (3, True),
        (4, False),
    ]
    assert len(keys.settled()) == 4
    assert not keys.wait()


def test_the_answer_of_a_frame_without_boxes_is_no_skipped_frame() -> None:
    keys = KeyFrames(4, np.arange(5), np.arange(5) / 10, 0.5)
    for frame in range(5):
        keys.add(frame)
    keys.answer(found(0, at(0)))
    keys.settled()
    keys.answer(found(4))
    while wanted := keys.wanted(1):
        keys.answer(Detections.empty(wanted[0]))
    assert [one.is_skipped for one in keys.settled()] == [False, False, True, False]


def test_looks_are_close_enough_for_what_lies_between_to_be_interpolated() -> None:
    plan = plan_for(50, every=0)
    plan = replace(plan, info=replace(plan.info, fps=Fraction(30)), max_gap_s=0.5)
    assert plan.key_spacing == 3, "0.2 s at 15 sampled frames per second"
    assert replace(plan, max_gap_s=0.1).key_spacing == 1
    assert replace(plan, detect_every=50).key_spacing == 7
    assert replace(plan, max_gap_s=0.0).key_spacing == 1
    assert replace(plan, reference_compat=True).key_spacing == 1
    assert replace(plan, detect_every=1).key_spacing == 1


def test_a_hard_cut_is_looked_at_from_both_sides_and_nothing_is_interpolated_across() -> None:
    def see(index: int) -> list[ScoredBox]:
        return [at(10 if index < 26 else 40)]

    plan, finder = plan_for(61, every=5), Finder(see)
    results = list(analyse(frames_of(plan.info, cuts=[26]), finder, Judge(), plan))
    assert {24, 26} <= set(finder.asked)
    assert len(finder.asked) < len(plan.windows.sampled_frames(61)) / 2
    boxes = {box.frame_index: box.box_xyxy[0] for box in finish("a", results, plan).boxes}
    assert boxes == {index: see(index)[0][0] for index in plan.windows.sampled_frames(61)}


@given(st.lists(st.integers(1, 59), max_size=8), st.integers(2, 7), st.booleans())
def test_whatever_the_cuts_every_frame_is_accounted_for(starts: list[int], spacing: int, at_once: bool) -> None:
    """Answers may come at once or late; each scene ends and begins with a look."""
    keys, told, asked = KeyFrames(spacing, np.arange(60), np.arange(60) / 10, 0.5), [], []

    def answer(frames: list[int]) -> None:
        for frame in frames:
            asked.append(frame)
            keys.answer(found(frame, at(frame % 7)))
        if wanted := keys.wanted(99):
            answer(wanted)

    late: list[int] = []
    for frame in range(60):
        late += keys.add(frame, frame in starts)
        if at_once:
            answer(late)
            late = []
        while stretch := keys.settled():
            told += stretch
    answer([*late, *keys.end()])
    while stretch := keys.settled():
        told += stretch
    assert [one.frame_index for one in told] == list(range(60))
    assert {edge for start in starts for edge in (start - 1, start)} <= set(asked)
    assert len(asked) == len(set(asked))
