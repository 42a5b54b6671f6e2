"""Looking at some frames only: which, and that crops and windows come out as if all had been looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mousetal.geometry import iou
from mousetal.looks import Looks
from mousetal.outcome import finish
from mousetal.pipeline import Plan, analyse, resume_frame
from mousetal.plan import AUTO, WindowResult
from mousetal.types import ClipBatch, Detections, Float32Array, Frame, UInt8Array
from tests.fixtures.scenes import Finder, Judge, ScoredBox, ahead, found, frames_of
from tests.fixtures.specs import classifier_spec, detector_spec, video_info
from tests.fixtures.stored import assert_same_windows

See = Callable[[int], list[ScoredBox]]
SIDE = 40.0
KEYS = 8


def plan_for(num_frames: int, every: int = AUTO, **changes: Any) -> Plan:
    """Windows of 16 frames every 8, at 30 frames/s, of which the detector looks at every 8th in any case.

    The picture is large enough for a darting animal to be no hard cut.
    """
    spec = classifier_spec(num_frames=16, stride=8, sampling_rate=1)
    info = video_info(num_frames, 30, width=400, height=300)
    return Plan(info, detector_spec(), spec, detect_every=every, **changes)


def at(x: float, y: float = 60.0) -> ScoredBox:
    return (x, y, x + SIDE, y + SIDE, 0.9)


def drawn(plan: Plan, see: See, start: int = 0) -> Iterator[Frame]:
    """Frames on which the animal is where the detector sees it, dark on a bright, noisy ground."""
    ground = np.random.default_rng(0).integers(180, 200, (plan.info.height, plan.info.width, 3), np.uint8)
    for index in range(start, plan.info.num_frames):
        rgb = ground.copy()
        for x1, y1, x2, y2 in np.array([box[:4] for box in see(index)]).reshape(-1, 4).round().astype(int):
            rgb[max(0, y1) : y2, max(0, x1) : x2] = 40
        yield Frame(index, float(plan.info.pts_seconds[index]), rgb)


class Any3:
    """A classifier to which all windows are alike."""

    def __call__(self, batches: Iterator[ClipBatch]) -> Iterator[Float32Array]:
        for batch in batches:
            yield np.full((len(batch.clips), 3), 1 / 3, np.float32)


def run(
    see: See, plan: Plan, done: Sequence[WindowResult] = (), wrap: Callable[[Any], Any] = lambda call: call
) -> tuple[list[int], list[WindowResult]]:
    """The frames that the detector was asked about, in the order of asking, and the results."""
    finder = Finder(see)
    frames = drawn(plan, see, resume_frame(done, plan))
    return finder.asked, list(analyse(frames, wrap(finder), wrap(Any3()), plan, done=done))


def overlaps(see: See, plan: Plan) -> list[float]:
    """How far the windows' crops agree with those of looking at every frame."""
    _, some = run(see, plan)
    _, all_ = run(see, replace(plan, detect_every=1))
    pairs = [(a.score.crop_xyxy, b.score.crop_xyxy) for a, b in zip(some, all_, strict=True)]
    return [iou(a, b) for a, b in pairs if a is not None and b is not None]


def wandering(seed: int, total: int) -> See:
    """An animal that rests, walks and darts about within 200 pixels, and stretches now and then."""
    rng = np.random.default_rng(seed)
    speed = np.repeat(rng.choice([0.0, 1.0, 4.0], total // 10 + 1, p=[0.5, 0.3, 0.2]), 10)[:total]
    ways = (np.cumsum(rng.normal(0, 1, total) * speed) % 400 for _ in range(2))
    xs, ys = (np.abs(200 - way) for way in ways)  # which turns where it would leave
    wider = np.repeat(rng.choice([0.0, 25.0], total // 4 + 1, p=[0.9, 0.1]), 4)[:total]
    return lambda index: [(xs[index], ys[index], xs[index] + SIDE + wider[index], ys[index] + SIDE, 0.9)]


def test_an_animal_that_rests_is_looked_at_twice_in_a_window_and_on_the_last_frame() -> None:
    assert run(lambda index: [at(50)], plan_for(60))[0] == [*range(0, 60, KEYS), 59]


def test_one_that_moves_within_what_was_seen_costs_no_more() -> None:
    """Its box is anywhere between two places that keys have seen."""
    places = {0: 50.0, 4: 80.0}
    way = lambda index: places.get(index // 2 % 8, 60.0 + index % 5)  # noqa: E731
    assert run(lambda index: [at(way(index))], plan_for(64))[0] == [*range(0, 64, KEYS), 63]


def test_one_that_darts_out_and_back_between_two_looks_is_seen_doing_it() -> None:
    def see(index: int) -> list[ScoredBox]:
        return [at(50 + 20 * (index in (19, 20)))]

    plan = plan_for(64)
    asked, _ = run(see, plan)
    assert {19, 20} & set(asked)
    assert overlaps(see, plan) == [1.0] * 7


def test_where_nothing_moves_but_the_box_there_is_no_cause_to_look() -> None:
    finder = Finder(lambda index: [at(50 + 20 * (index == 20))])
    plan = plan_for(64)
    list(analyse(frames_of(plan.info), finder, Judge(), plan))
    assert 20 not in finder.asked


def test_what_moves_far_from_the_animal_is_no_cause_to_look() -> None:
    plan, hand = plan_for(64), (190.0, 0.0, 220.0, 40.0, 0.1)
    asked, _ = run(lambda index: [at(20, 100)] + [hand] * (index % 8 == 4), plan)
    assert len(asked) == len(range(0, 64, KEYS)) + 1


def test_where_the_animal_comes_into_view_every_frame_around_is_looked_at() -> None:
    asked, _ = run(lambda index: [at(50)] if index >= 21 else [], plan_for(64))
    assert {20, 21} <= set(asked)


def test_no_animal_at_all_costs_keys_only() -> None:
    assert len(run(lambda index: [], plan_for(65))[0]) == 9


def test_crops_are_nearly_those_of_looking_at_every_frame() -> None:
    """One edge may be off by less than three points of an animal's 24, or by what `MAX_LOSS` allows; so may others."""
    found = [overlap for seed in range(8) for overlap in overlaps(wandering(seed, 120), plan_for(120))]
    assert np.mean(found) > 0.97
    assert min(found) > 0.7


def test_that_costs_a_part_of_the_looks() -> None:
    counts = [len(run(wandering(seed, 240), plan_for(240))[0]) for seed in range(6)]
    assert np.mean(counts) < 0.45 * 240


@pytest.mark.parametrize("every", [1, 2, 5, 40])
@pytest.mark.parametrize("wrap", [lambda call: call, ahead], ids=["direct", "ahead"])
def test_every_sampled_frame_is_accounted_for_once_and_in_order(every: int, wrap: Callable[[Any], Any]) -> None:
    plan = plan_for(90, every)
    asked, results = run(wandering(1, 90), plan, wrap=wrap)
    told = [one.frame_index for result in results for one in result.detections]
    assert told == plan.windows.sampled_frames(90).tolist()
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("seed", range(3))
def test_a_resumed_run_looks_at_what_an_uninterrupted_one_does(seed: int) -> None:
    see, plan = wandering(seed, 110), plan_for(110)
    asked, whole = run(see, plan)
    for kept in range(len(whole) + 1):
        done = whole[:kept]
        again, rest = run(see, plan, done, wrap=ahead if kept % 2 else lambda call: call)
        assert_same_windows(whole[kept:], rest)
        known = max((one.frame_index for result in done for one in result.detections), default=-1)
        assert set(again) == {frame for frame in asked if frame > known}


def test_what_is_looked_at_does_not_depend_on_how_late_answers_come() -> None:
    see, plan = wandering(4, 110), plan_for(110)
    at_once, late = run(see, plan)[0], run(see, plan, wrap=lambda call: ahead(call, 9))[0]
    assert sorted(at_once) == sorted(late)


def test_frames_that_were_skipped_are_interpolated_and_that_is_no_flaw() -> None:
    """However short the gaps are that may be bridged where the detector looked in vain."""
    plan = plan_for(64, max_gap_s=0.1)
    _, results = run(lambda index: [at(50 + index / 8)], plan)
    assert all(result.score.flags == () for result in results)
    boxes = {box.frame_index: box for box in finish("a", results, plan).boxes}
    assert boxes[20].source == "interpolated"
    assert boxes[20].box_xyxy == pytest.approx((52.5, 60, 92.5, 100))
    assert boxes[24].source == "detected"


def test_a_frame_that_was_looked_at_in_vain_is_still_flagged() -> None:
    _, results = run(lambda index: [] if index == 24 else [at(50)], plan_for(64))
    assert any("borrowed_box" in result.score.flags for result in results)


def test_every_window_holds_two_looks_at_least() -> None:
    plan = plan_for(64)
    assert plan.key_spacing == 8
    assert replace(plan, detect_every=50).key_spacing == 8
    assert replace(plan, detect_every=3).key_spacing == 3
    assert replace(plan, detect_every=1).key_spacing == 1
    assert replace(plan, reference_compat=True).key_spacing == 1
    slow = replace(plan, info=replace(plan.info, fps=Fraction(5)))
    assert slow.key_spacing == 3, "0.6 s"


def test_a_hard_cut_is_looked_at_from_both_sides_and_nothing_is_interpolated_across() -> None:
    def see(index: int) -> list[ScoredBox]:
        return [at(10 if index < 26 else 100)]

    plan, finder = plan_for(61), Finder(see)
    results = list(analyse(frames_of(plan.info, cuts=[26]), finder, Judge(), plan))
    assert {25, 26} <= set(finder.asked)
    assert len(finder.asked) < 61 / 4
    boxes = {box.frame_index: box.box_xyxy[0] for box in finish("a", results, plan).boxes}
    assert boxes == {index: see(index)[0][0] for index in range(61)}


@given(st.sets(st.integers(0, 59), max_size=12), st.sets(st.integers(1, 59), max_size=5), st.booleans())
def test_whatever_is_missing_or_cut_every_frame_is_accounted_for(
    missing: set[int], starts: set[int], at_once: bool
) -> None:
    """Answers may come at once or late; each scene ends and begins with a look."""
    image = np.zeros((300, 400, 3), np.uint8)
    looks, told, asked = Looks(plan_for(60), lambda frame: image), list[Detections](), list[int]()
    come = [frame for frame in range(60) if frame not in missing]

    def answer(frames: list[int]) -> None:
        for frame in frames:
            asked.append(frame)
            looks.answer(found(frame, *([] if frame % 11 == 3 else [at(50 + 30 * (frame % 7))])))
        if wanted := looks.wanted(99):
            answer(wanted)

    late: list[int] = []
    for frame in come:
        late += looks.add(frame, frame in starts)
        if at_once:
            answer(late)
            late = []
        told += looks.settled()
    answer([*late, *looks.end()])
    told += looks.settled()
    assert [one.frame_index for one in told] == come
    ends = {max(earlier) for start in starts & {*come} if (earlier := [f for f in come if f < start])}
    assert ends | (starts & {*come}) <= set(asked)
    assert len(asked) == len(set(asked))
    assert not looks.wait()


@given(st.sets(st.integers(0, 109), max_size=60))
@example({*range(5, 30)})
def test_a_frame_is_needed_until_every_window_over_it_is_decided(missing: set[int]) -> None:
    held: set[int] = set()
    see, plan, image = wandering(2, 110), plan_for(110), np.zeros((300, 400, 3), np.uint8)

    def image_of(frame: int) -> UInt8Array:
        assert frame in held
        return image

    looks = Looks(plan, image_of)
    for frame in [frame for frame in range(110) if frame not in missing]:
        held.add(frame)
        due = looks.add(frame)
        while due:
            for one in due:
                looks.answer(found(one, *see(one)))
            due = looks.wanted(99)
        looks.settled()
        held -= {one for one in held if one < looks.needed_from}
        assert frame - looks.needed_from <= 16 + 2 * KEYS + len(missing)
