"""How many frames the pipeline holds: no more than its docstring says, however long the video is."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from mousetal.looks import most_undecided
from mousetal.pipeline import analyse
from mousetal.types import Detections, DetectorBatch, Frame, VideoInfo
from tests.fixtures.scenes import MOUSE, Finder, Judge, ScoredBox, ahead, frames_of
from tests.fixtures.specs import classifier_spec, plan_for, video_info


class Reel:
    """Frames that count how many of them are alive."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._alive: dict[int, weakref.ref[Any]] = {}
        self.peak = 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in frames_of(self._info):
            self._alive = {number: ref for number, ref in self._alive.items() if ref() is not None}
            self._alive[frame.index] = weakref.ref(frame.rgb)
            self.peak = max(self.peak, len(self._alive))
            yield frame

    def alive(self) -> list[int]:
        return [number for number, ref in self._alive.items() if ref() is not None]


@pytest.mark.parametrize("seconds_without_a_box", [0, 20])
@pytest.mark.parametrize("depth", [None, 3])
def test_memory_is_bounded_by_the_formula_of_the_docstring(depth: int | None, seconds_without_a_box: int) -> None:
    def see(index: int) -> list[ScoredBox]:
        return [] if 100 <= index < 100 + 10 * seconds_without_a_box else [MOUSE]

    peaks = []
    for total in (400, 1600):
        plan = plan_for(total, max_gap_s=0.8)
        reel = Reel(plan.info)
        calls: tuple[Any, Any] = (Finder(see), Judge())
        if depth:
            calls = ahead(calls[0], depth), ahead(calls[1], depth)
        list(analyse(reel, *calls, plan))
        peaks.append(reel.peak)
        gap_frames = 8 // 2 + 1
        in_flight = ((depth or 0) + 2) * plan.detector_batch
        in_the_making = 3  # on the decoding thread, and one on each side of its queue
        bound = plan.prefetch_frames + in_flight + gap_frames + 4 + plan.detector_batch + in_the_making
        assert reel.peak <= bound
    if depth is None:  # on one thread it is the same every time; how full queues get is a matter of timing
        assert peaks[1] <= peaks[0] + 2


@pytest.mark.parametrize("every", [3, 8])
def test_memory_is_bounded_where_the_detector_looks_at_some_frames_only(every: int) -> None:
    """However far ahead of a slow detector its caller would read."""

    def slow(batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        for answer in Finder()(batches):
            time.sleep(0.005)
            yield answer

    spec = classifier_spec(num_frames=16, stride=8, sampling_rate=1)
    plan = plan_for(400, info=video_info(400, 30), classifier=spec, max_gap_s=0.4, detect_every=every)
    reel = Reel(plan.info)
    list(analyse(reel, ahead(slow, 50), ahead(Judge(), 3), plan))
    gap_frames = 12 + 1
    assert reel.peak <= plan.prefetch_frames + most_undecided(plan) + gap_frames + 16 + plan.detector_batch + 3
    assert plan.key_spacing == every


@pytest.mark.parametrize("every", [1, 3])
def test_once_a_video_is_done_its_frames_are_gone_without_the_collector(every: int) -> None:
    plan = plan_for(200, max_gap_s=0.4, detect_every=every)
    reel = Reel(plan.info)
    gc.collect()
    gc.disable()
    try:
        assert list(analyse(reel, ahead(Finder(), 3), ahead(Judge(), 3), plan))
        assert reel.alive() == []
    finally:
        gc.enable()
