"""The pipeline over toy callables: what comes out, in which order, and what happens when something goes wrong."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal.errors import VideoError
from mousetal.pipeline import Classify, Detect, Plan, StageMeter, WindowResult, analyse, finish, resume_frame
from mousetal.streams import prefetch
from mousetal.types import BoutRule, ClipBatch, Detections, DetectorBatch, Frame
from tests.fixtures.specs import classifier_spec, detector_spec, video_info

NUM_FRAMES = 83


def frames(numbers: Iterable[int]) -> Iterator[Frame]:
    """Frames that carry their number in every pixel."""
    for number in numbers:
        yield Frame(number, number / 10, np.full((48, 64, 3), number % 256, np.uint8))


def box_of(index: int) -> Detections:
    """The toy detector: a box that moves to the right, and none on frames 20 to 39."""
    if 20 <= index < 40:
        return Detections.empty(index)
    box = np.array([[5 + index / 4, 10, 25 + index / 4, 30]], np.float32)
    return Detections(index, box, np.ones(1, np.float32), np.zeros(1, np.int64))


def detect(batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
    for batch in batches:
        yield [box_of(index) for index in batch.frame_indices]


def classify(batches: Iterable[ClipBatch]) -> Iterator[np.ndarray]:
    """The toy classifier: grooming as likely as the clip's mean grey is bright, so pixels and answers must pair up."""
    for batch in batches:
        bright = batch.clips.reshape(len(batch.clips), -1).mean(axis=1) / 255
        yield np.stack([1 - bright, bright, 0 * bright], axis=1).astype(np.float32)


def ahead(call: Callable[[Any], Iterator[Any]], depth: int = 3) -> Callable[[Any], Iterator[Any]]:
    """The same callable, pulling its input on a thread of its own, some batches ahead, as a network client does."""
    return lambda batches: call(prefetch(batches, depth))


CALLS = [pytest.param(detect, classify, id="lazy"), pytest.param(ahead(detect), ahead(classify), id="on threads")]


def plan_for(num_frames: int = NUM_FRAMES, **changes: Any) -> Plan:
    plan = Plan(video_info(num_frames), detector_spec(), classifier_spec(), detector_batch=3, classifier_batch=2)
    return replace(plan, **changes)


def run(plan: Plan, numbers: Iterable[int] | None = None, **more: Any) -> list[WindowResult]:
    numbers = range(plan.info.num_frames) if numbers is None else numbers
    return list(analyse(frames(numbers), detect, classify, plan, **more))


def same(a: WindowResult, b: WindowResult) -> bool:
    return (
        a.score.window == b.score.window
        and a.score.crop_xyxy == b.score.crop_xyxy
        and a.score.flags == b.score.flags
        and np.array_equal(a.score.probabilities, b.score.probabilities, equal_nan=True)
        and a.missing == b.missing
        and [d.frame_index for d in a.detections] == [d.frame_index for d in b.detections]
    )


@pytest.mark.parametrize(("detector", "classifier"), CALLS)
def test_every_window_has_one_result_in_order(detector: Detect, classifier: Classify) -> None:
    plan = plan_for()
    results = list(analyse(frames(range(NUM_FRAMES)), detector, classifier, plan))
    assert [result.score.window for result in results] == plan.windows.windows(NUM_FRAMES)
    assert all(same(a, b) for a, b in zip(results, run(plan), strict=True))


def test_a_clip_holds_the_frames_of_its_window() -> None:
    for result in run(plan_for()):
        if result.score.is_scored:
            expected = np.mean(result.score.window.frame_indices) / 255
            assert result.score.probabilities[1] == pytest.approx(expected, abs=1e-6)


def test_windows_without_any_animal_are_not_scored_and_say_so() -> None:
    results = run(plan_for())
    unscored = [result.score for result in results if not result.score.is_scored]
    assert unscored
    assert all(score.flags == ("no_animal",) and score.crop_xyxy is None for score in unscored)
    found = finish("toy.mp4", results, plan_for())
    assert {span.reason for span in found.not_scored} == {"no animal"}


def test_a_detector_that_finds_nothing_is_a_warning_and_no_bouts() -> None:
    def nothing(batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        return ([Detections.empty(index) for index in batch.frame_indices] for batch in batches)

    plan = plan_for()
    found = finish("toy.mp4", list(analyse(frames(range(NUM_FRAMES)), nothing, classify, plan)), plan)
    assert found.bouts == ()
    assert [len(span.frames) for span in found.not_scored] == [NUM_FRAMES]
    assert any("no animal was found" in warning for warning in found.warnings)


def test_the_reference_classifies_the_whole_frame_instead() -> None:
    results = run(plan_for(reference_compat=True))
    assert all(result.score.is_scored for result in results)
    assert (0, 0, 64, 48) in {result.score.crop_xyxy for result in results}


def test_lost_frames_shift_nothing_and_are_not_scored() -> None:
    lost = {50, 61, 62, 63, 64, 65, 66}
    results = run(plan_for(), [number for number in range(NUM_FRAMES) if number not in lost])
    found = finish("toy.mp4", results, plan_for())
    assert [result.score.window for result in results] == plan_for().windows.windows(NUM_FRAMES)
    assert found.decoded_frames == NUM_FRAMES - len(lost)
    assert np.isnan(found.posteriors[sorted(lost)]).all()
    spans = {(s.frames.start_frame, s.frames.end_frame) for s in found.not_scored if s.reason == "damaged"}
    assert {(50, 51)} <= spans
    assert any("7 of 83 frames could not be decoded" in warning for warning in found.warnings)
    assert all("damaged" in r.score.flags for r in results if {50} & {*r.score.window.frame_indices})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(1, 120), st.sets(st.integers(0, 119), max_size=12))
def test_a_resumed_run_gives_what_an_uninterrupted_one_gives(num_done: int, total: int, lost: set[int]) -> None:
    plan = plan_for(total)
    numbers = [number for number in range(total) if number not in lost]
    whole = run(plan, numbers)
    done = whole[:num_done]
    first = resume_frame(done, plan)
    rest = run(plan, [number for number in numbers if number >= first], done=done)
    assert len(done) + len(rest) == len(whole)
    assert all(same(a, b) for a, b in zip([*done, *rest], whole, strict=True))


@pytest.mark.parametrize(("detector", "classifier"), CALLS)
def test_an_error_of_the_video_comes_out_unchanged(detector: Detect, classifier: Classify) -> None:
    error = VideoError("toy.mp4: the disk went away")

    def broken() -> Iterator[Frame]:
        yield from frames(range(30))
        raise error

    with pytest.raises(VideoError) as raised:
        list(analyse(broken(), detector, classifier, plan_for()))
    assert raised.value is error


@pytest.mark.parametrize(("detector", "classifier"), CALLS)
def test_closing_early_ends_every_thread(detector: Detect, classifier: Classify) -> None:
    before = threading.active_count()
    results = analyse(frames(range(NUM_FRAMES)), detector, classifier, plan_for())
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_each_frame_is_decoded_and_asked_for_once() -> None:
    asked: list[int] = []

    def counting(batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        for batch in batches:
            asked.extend(batch.frame_indices)
            yield [box_of(index) for index in batch.frame_indices]

    meter = StageMeter()
    plan = plan_for()
    list(analyse(frames(range(NUM_FRAMES)), counting, classify, plan, meter=meter))
    assert asked == sorted(set(asked)) == plan.windows.sampled_frames(NUM_FRAMES).tolist()
    assert meter.snapshot()["decode"][0] == NUM_FRAMES


def test_memory_does_not_grow_with_the_video() -> None:
    """Frames alive at once stay below the bound that the module states, in a video of any length."""
    counts = {"now": 0, "most": 0}
    lock = threading.Lock()

    class Counted(np.ndarray):
        """An array that can be referred to weakly."""

    def gone() -> None:
        with lock:
            counts["now"] -= 1

    def counted(total: int) -> Iterator[Frame]:
        for number in range(total):
            rgb = np.zeros((48, 64, 3), np.uint8).view(Counted)
            weakref.finalize(rgb, gone)
            with lock:
                counts["now"] += 1
                counts["most"] = max(counts["most"], counts["now"])
            yield Frame(number, number / 10, rgb)

    plan = plan_for(1500)
    for _ in analyse(counted(1500), detect, classify, plan):
        pass
    gap_frames = 5
    bound = plan.prefetch_frames + gap_frames + plan.windows.span + 2 * plan.detector_batch + 2
    assert counts["most"] <= bound


def test_bouts_follow_the_models_rules() -> None:
    spec = classifier_spec(rules=(BoutRule(), BoutRule(0.2, 0.2, 0.0, 0.0), BoutRule(0.9, 0.9)))
    plan = plan_for(classifier=spec)
    found = finish("toy.mp4", run(plan), plan)
    assert {bout.behavior for bout in found.bouts} == {"grooming"}
    assert found.bouts[-1].end_frame == NUM_FRAMES
    assert "touches_end" in found.bouts[-1].flags
    assert found.bouts[-1].box_xyxy is not None
