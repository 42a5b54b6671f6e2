"""Frames in, window results out: which, in what order, at what cost, and what happens when something ends early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.closing import close
from mousetal.errors import ServiceUnavailable, VideoError
from mousetal.geometry import reference_crop, square
from mousetal.pipeline import Plan, StageMeter, WindowResult, analyse, resume_frame
from mousetal.types import ClipBatch, DetectorBatch, Frame, FrameRange, VideoInfo
from tests.fixtures.scenes import MOUSE, Finder, Judge, ScoredBox, ahead, frames_of, probabilities_of
from tests.fixtures.specs import classifier_spec, detector_spec, plan_for
from tests.fixtures.stored import assert_same_windows

# With the toy classifier a window is 4 frames, every 2nd, and the next one starts 4 frames later.
WRAPPERS: list[Callable[[Any], Any]] = [pytest.param(lambda call: call, id="direct"), pytest.param(ahead, id="ahead")]


@pytest.fixture(params=WRAPPERS)
def wrap(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Callables as they are, or with their input pulled on another thread and ahead, as the gRPC clients do."""
    return request.param


def run(
    plan: Plan,
    see: Callable[[int], list[ScoredBox]] = lambda index: [MOUSE],
    missing: Container[int] = (),
    done: tuple[WindowResult, ...] = (),
    wrap: Callable[[Any], Any] = lambda call: call,
) -> list[WindowResult]:
    frames = frames_of(plan.info, resume_frame(done, plan), missing)
    return list(analyse(frames, wrap(Finder(see)), wrap(Judge()), plan, done=done))


def flags(results: Iterable[WindowResult]) -> list[tuple[str, ...]]:
    return [result.score.flags for result in results]


# What is shown to whom


@given(st.integers(0, 70), st.integers(1, 6), st.integers(1, 4), st.integers(1, 8), st.sampled_from([None, 30.0, 7.0]))
def test_the_classifier_is_shown_exactly_the_windows_of_the_plan(
    total: int, num_frames: int, rate: int, stride: int, trained_fps: float | None
) -> None:
    spec = classifier_spec(num_frames=num_frames, sampling_rate=rate, stride=stride, trained_fps=trained_fps)
    plan = plan_for(total, classifier=spec)
    windows = plan.windows.windows(total)
    judge = Judge()
    results = list(analyse(frames_of(plan.info), Finder(), judge, plan))
    assert [result.score.window for result in results] == windows
    assert judge.shown == {window.index: window.frame_indices for window in windows}
    for result in results:
        np.testing.assert_array_equal(result.score.probabilities, probabilities_of(result.score.window.frame_indices))


def test_the_detector_sees_every_sampled_frame_once_and_in_order(wrap: Callable[[Any], Any]) -> None:
    plan, finder = plan_for(50), Finder()
    results = list(analyse(frames_of(plan.info), wrap(finder), wrap(Judge()), plan))
    assert finder.asked == plan.windows.sampled_frames(50).tolist()
    assert [found.frame_index for result in results for found in result.detections] == finder.asked


def test_the_detector_gets_whole_frames_at_its_input_size() -> None:
    seen: list[DetectorBatch] = []
    finder = Finder()

    def detect(batches: Iterable[DetectorBatch]) -> Iterator[Any]:
        return finder(seen.append(batch) or batch for batch in batches)  # type: ignore[func-returns-value]

    plan = plan_for(8)
    list(analyse(frames_of(plan.info), detect, Judge(), plan))
    assert [batch.images.shape for batch in seen] == [(2, 16, 16, 3), (2, 16, 16, 3)]
    assert seen[0].source_sizes == ((64, 48), (64, 48))
    assert seen[1].images[1, 0, 0].tolist() == [6, 0, 7]


def test_clips_travel_in_batches_of_the_plans_size() -> None:
    plan, judge = plan_for(31, classifier_batch=3), Judge()
    results = list(analyse(frames_of(plan.info), Finder(), judge, plan))
    assert judge.batch_sizes == [3, 3, 1]
    assert len(results) == 7


# Where the animal is


def test_a_clip_is_cut_around_the_animals_way_through_the_window() -> None:
    (result,) = run(plan_for(8), lambda index: [(10 + index, 10, 20 + index, 20, 0.9)])
    assert result.score.crop_xyxy == square((10, 10, 26, 20), 0.05)
    assert result.score.flags == ()


def test_a_box_off_the_track_does_not_widen_the_crop_and_is_flagged() -> None:
    (result,) = run(plan_for(8), lambda index: [MOUSE, (50, 40, 60, 46, 0.95)] if index == 4 else [MOUSE])
    assert result.score.crop_xyxy == square(MOUSE[:4], 0.05)
    assert result.score.flags == ("ignored_box",)


def test_a_frame_without_a_box_borrows_from_its_neighbours_and_is_flagged() -> None:
    results = run(plan_for(16), lambda index: [] if index == 6 else [MOUSE])
    assert flags(results) == [("borrowed_box",), ("borrowed_box",), ()]
    assert all(result.score.is_scored for result in results)


def test_a_frame_too_far_from_any_box_has_none_and_is_flagged() -> None:
    results = run(plan_for(16, max_gap_s=0.25), lambda index: [MOUSE] if index < 4 else [])
    assert flags(results) == [("borrowed_box", "missing_box"), ("borrowed_box", "missing_box"), ("no_animal",)]


def test_a_window_without_an_animal_is_not_scored_and_keeps_its_place(wrap: Callable[[Any], Any]) -> None:
    plan = plan_for(60, max_gap_s=0.0)
    results = run(plan, lambda index: [] if 16 <= index < 40 or index >= 48 else [MOUSE], wrap=wrap)
    assert [result.score.window for result in results] == plan.windows.windows(60)
    assert [result.score.is_scored for result in results] == [f != ("no_animal",) for f in flags(results)]
    assert [result.score.window.index for result in results if not result.score.is_scored] == [4, 5, 6, 7, 8, 12, 13]
    for result in results:
        assert (result.score.crop_xyxy is None) == (not result.score.is_scored)
        assert np.isnan(result.score.probabilities).all() == (not result.score.is_scored)


def test_a_video_without_any_animal_asks_nothing_of_the_classifier() -> None:
    judge = Judge()
    plan = plan_for(20)
    results = list(analyse(frames_of(plan.info), Finder(lambda index: []), judge, plan))
    assert flags(results) == [("no_animal",)] * len(plan.windows.windows(20))
    assert judge.batch_sizes == []


def test_boxes_below_the_plans_threshold_do_not_count() -> None:
    (result,) = run(plan_for(8, detector=detector_spec(score_threshold=0.95)))
    assert result.score.flags == ("no_animal",)


# The reference's way


def test_the_reference_cuts_around_every_rounded_box_of_the_window() -> None:
    seen = {0: [(10.5, 8.5, 20.4, 20.0, 0.9)], 4: [(-3.0, 30.2, 25.5, 41.5, 0.41), (0, 0, 64, 48, 0.39)]}
    (result,) = run(plan_for(8, reference_compat=True), lambda index: seen.get(index, []))
    expected = reference_crop([(10, 8, 20, 20), (0, 30, 26, 42)], 64, 48, 0.05)
    assert result.score.crop_xyxy == expected
    assert result.score.flags == ()


def test_the_reference_scores_the_whole_frame_where_there_is_no_box() -> None:
    results = run(plan_for(16, reference_compat=True), lambda index: [])
    assert [result.score.crop_xyxy for result in results] == [(0, 0, 64, 48)] * 3
    assert all(result.score.is_scored for result in results)


def test_the_reference_finds_no_windows_in_a_short_video() -> None:
    plan = plan_for(6, reference_compat=True)
    assert run(plan) == []
    assert resume_frame((), plan) == 6


# Damaged videos


def test_a_missing_frame_repeats_the_one_before() -> None:
    plan, judge = plan_for(16), Judge()
    results = list(analyse(frames_of(plan.info, missing={6}), Finder(), judge, plan))
    assert judge.shown == {0: (0, 2, 4, 4), 1: (4, 4, 8, 10), 2: (8, 10, 12, 14)}
    assert flags(results) == [("damaged",), ("damaged",), ()]


def test_at_the_start_of_a_window_the_first_frame_that_is_there_stands_in() -> None:
    plan, judge = plan_for(12), Judge()
    list(analyse(frames_of(plan.info, missing={0}), Finder(), judge, plan))
    assert judge.shown == {0: (2, 2, 4, 6), 1: (4, 6, 8, 10)}


def test_a_window_that_lacks_more_than_a_quarter_of_its_frames_is_not_scored() -> None:
    results = run(plan_for(24), missing=range(8, 11))
    assert flags(results) == [(), ("damaged",), ("damaged",), (), ()]
    assert [result.score.is_scored for result in results] == [True, False, False, True, True]


@pytest.mark.parametrize("missing", [{3}, {0, 1}, {11, 12, 13}, {20, 21, 22, 23}, set(range(24)), {5, 9, 17}])
def test_every_missing_frame_is_told_once(missing: set[int], wrap: Callable[[Any], Any]) -> None:
    results = run(plan_for(24), missing=missing, wrap=wrap)
    told = [frame for r in results for gap in r.missing for frame in range(gap.start_frame, gap.end_frame)]
    assert told == sorted(missing)
    assert len(results) == 5


def test_a_video_that_breaks_off_keeps_its_later_windows_unscored() -> None:
    results = run(plan_for(40), missing=range(20, 40))
    assert [result.score.is_scored for result in results] == [True] * 4 + [False] * 5
    assert results[-1].score.window.frames == FrameRange(32, 40)


# Going on after an interruption

SCENES: dict[str, tuple[Callable[[int], list[ScoredBox]], set[int]]] = {
    "plain": (lambda index: [MOUSE], set()),
    "borrowed": (lambda index: [(10 + index / 4, 9, 20 + index / 4, 19, 0.8)] if index % 14 < 6 else [], set()),
    "two animals": (lambda index: [MOUSE, (45, 30, 60, 45, 0.5 + index % 5 / 10)], set()),
    "lost for long": (lambda index: [MOUSE] if index < 9 or index > 43 else [], set()),
    "damaged": (lambda index: [MOUSE] if index % 6 else [], {0, 13, 14, 15, 22, 23, 40, 41, 42, 43, 44, 59}),
    "broken off": (lambda index: [MOUSE], set(range(33, 61))),
    "on the move": (lambda index: [(10 + index // 2, 9, 20 + index // 2 + index % 3, 19, 0.8)], {30, 31, 32}),
}


@pytest.mark.parametrize("changes", [{}, {"reference_compat": True}, {"detect_every": 3}, {"detect_every": 7}])
@pytest.mark.parametrize("scene", SCENES)
def test_a_resumed_run_gives_what_an_uninterrupted_one_gives(scene: str, changes: dict[str, Any]) -> None:
    see, missing = SCENES[scene]
    plan = plan_for(61, **changes)
    whole = run(plan, see, missing)
    for kept in range(len(whole) + 1):
        done = tuple(whole[:kept])
        # Other batches, as another setting or a race may give them, must not matter.
        changed = replace(plan, detector_batch=1 + kept % 4, classifier_batch=1 + kept % 3)
        assert_same_windows(
            whole[kept:], run(changed, see, missing, done, wrap=ahead if kept % 2 else lambda call: call)
        )


def test_a_resumed_run_asks_the_detector_only_for_what_is_new() -> None:
    plan = plan_for(61)
    whole = run(plan)
    done, finder = tuple(whole[:6]), Finder()
    list(analyse(frames_of(plan.info, resume_frame(done, plan)), finder, Judge(), plan, done=done))
    known = [found.frame_index for result in done for found in result.detections]
    assert finder.asked == [frame for frame in plan.windows.sampled_frames(61) if frame > known[-1]]


def test_a_run_resumes_where_its_next_window_and_what_tells_a_hard_cut_begin() -> None:
    plan = plan_for(61)
    whole = run(plan)
    starts = [window.frame_indices[0] for window in plan.windows.windows(61)]
    assert starts[:4] == [0, 4, 8, 12]
    resumed = [resume_frame(whole[:kept], plan) for kept in range(len(whole) + 1)]
    assert resumed[:4] == [0, 0, 2, 6]  # five frames looked at before the first new one, each a step of 2 from the next
    assert resumed[-1] == 61


def test_with_everything_done_no_frame_is_touched() -> None:
    plan = plan_for(30)
    done = tuple(run(plan))

    def untouchable() -> Iterator[Frame]:
        raise AssertionError("a frame was decoded")
        yield

    assert list(analyse(untouchable(), Finder(), Judge(), plan, done=done)) == []


# Errors and early ends


def breaking_at(info: VideoInfo, frame: int, error: Exception) -> Iterator[Frame]:
    for one in frames_of(info):
        if one.index == frame:
            raise error
        yield one


@pytest.mark.parametrize("at", [0, 7, 31])
def test_an_error_of_the_video_comes_out_as_it_is(at: int, wrap: Callable[[Any], Any]) -> None:
    plan, error = plan_for(40), VideoError("toy.mp4: the disk went away")
    with pytest.raises(VideoError) as caught:
        list(analyse(breaking_at(plan.info, at, error), wrap(Finder()), wrap(Judge()), plan))
    assert caught.value is error
    assert no_thread_is_left()


@pytest.mark.parametrize("stage", ["detect", "classify"])
def test_an_error_of_a_model_comes_out_as_it_is(stage: str, wrap: Callable[[Any], Any]) -> None:
    error = ServiceUnavailable("gone")
    good: dict[str, Any] = {"detect": Finder(), "classify": Judge()}

    def failing(batches: Iterable[Any]) -> Iterator[Any]:
        answers = good[stage](batches)
        yield next(answers)
        raise error

    calls = {**good, stage: failing}
    plan = plan_for(60)
    results = analyse(frames_of(plan.info), wrap(calls["detect"]), wrap(calls["classify"]), plan)
    with pytest.raises(ServiceUnavailable) as caught:
        list(results)
    assert caught.value is error
    assert no_thread_is_left()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_early_ends_every_stage_and_closes_the_video(taken: int, wrap: Callable[[Any], Any]) -> None:
    plan = plan_for(100_000)
    is_closed = threading.Event()

    def frames() -> Iterator[Frame]:
        try:
            yield from frames_of(plan.info)
        finally:
            is_closed.set()

    results = analyse(frames(), wrap(Finder()), wrap(Judge()), plan)
    for _ in range(taken):
        next(results)
    close(results)
    assert taken == 0 or is_closed.wait(10)
    assert no_thread_is_left()


def test_closing_while_a_stage_waits_for_the_video_does_not_hang() -> None:
    """The classifier's thread is in the middle of pulling when the consumer leaves."""
    plan = plan_for(1000)
    may_go_on, is_stuck = threading.Event(), threading.Event()

    def frames() -> Iterator[Frame]:
        for frame in frames_of(plan.info):
            if frame.index == 40:
                is_stuck.set()
                assert may_go_on.wait(20)
            yield frame

    results = analyse(frames(), ahead(Finder(), 1), ahead(Judge(), 50), plan)
    next(results)
    assert is_stuck.wait(20)
    closing = threading.Thread(target=close, args=(results,))
    closing.start()
    may_go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    assert no_thread_is_left()


def no_thread_is_left() -> bool:
    """Whether all threads of the pipeline end, given a moment."""
    for thread in threading.enumerate():
        if thread.name == "prefetch":
            thread.join(10)
    return not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_a_classifier_that_leaves_windows_unanswered_is_a_defect() -> None:
    def lazy(batches: Iterable[ClipBatch]) -> Iterator[Any]:
        for batch in batches:
            yield np.zeros((len(batch.clips) - 1, 3), np.float32)

    plan = plan_for(20)
    with pytest.raises(ValueError, match="unanswered"):
        list(analyse(frames_of(plan.info), Finder(), lazy, plan))


def test_a_classifier_of_other_classes_is_a_defect() -> None:
    def other(batches: Iterable[ClipBatch]) -> Iterator[Any]:
        for batch in batches:
            yield np.zeros((len(batch.clips), 5), np.float32)

    plan = plan_for(20)
    with pytest.raises(ValueError, match=r"3 probabilities per window expected, got \(5,\)"):
        list(analyse(frames_of(plan.info), Finder(), other, plan))


# Time


def test_results_come_while_the_video_is_still_being_decoded() -> None:
    plan = plan_for(100_000)
    decoded: list[int] = []

    def frames() -> Iterator[Frame]:
        for frame in frames_of(plan.info):
            decoded.append(frame.index)
            yield frame

    results = analyse(frames(), Finder(), Judge(), plan)
    next(results)
    assert len(decoded) < 60
    close(results)


def test_the_meter_counts_what_each_stage_did() -> None:
    plan, meter = plan_for(40), StageMeter()
    results = list(analyse(frames_of(plan.info), Finder(), Judge(), plan, meter=meter))
    counts = {stage: items for stage, (items, _) in meter.snapshot().items()}
    assert counts == {
        "decode": 40,
        "detect": len(plan.windows.sampled_frames(40)),
        "crop": len(results),
        "classify": len(results),
    }
    assert all(seconds >= 0 for _, seconds in meter.snapshot().values())
