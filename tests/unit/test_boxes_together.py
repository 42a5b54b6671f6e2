"""Frames that are looked at together, for boxes that are stored: the same ones, with the same result, as one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.types import Detections, DetectorBatch, DetectorSpec, Frame, FrameBox, VideoInfo
from tests.fixtures.scenes import frames_of
from tests.fixtures.specs import video_info
from training import boxes as boxing


class Walker:
    """A detector that sees an animal on its way, which is never on some frames; it counts what it is asked."""

    spec = DetectorSpec("walker", "ab" * 32, ("mouse",), 32, 0.4)

    def __init__(self, num_frames: int, seed: int, lost: set[int]) -> None:
        rng = np.random.default_rng(seed)
        steps = rng.normal(0, 1.5, num_frames) * np.repeat(rng.integers(0, 2, num_frames // 20 + 1), 20)[:num_frames]
        self.way, self.lost = 40 + np.cumsum(steps), lost
        self.batches: list[tuple[int, ...]] = []

    def predict(self, batch: DetectorBatch) -> list[Detections]:
        assert len(batch.images) == len(batch.source_sizes) == len(batch.frame_indices)
        self.batches.append(batch.frame_indices)
        return [self._answer(frame) for frame in batch.frame_indices]

    def _answer(self, frame: int) -> Detections:
        if frame in self.lost:
            return Detections.empty(frame)
        x = self.way[frame]
        box = np.array([[x, 10, x + 30, 35]], np.float32)
        return Detections(frame, box, np.array([0.9], np.float32), np.zeros(1, np.int64))


def looked_at(info: VideoInfo, walker: Walker, missing: set[int], cuts: list[int], batch: int) -> tuple[FrameBox, ...]:
    """The boxes, found with so many frames at a time at most; no frame waits for its look longer than it may."""
    decoded: list[int] = []
    predict = walker.predict

    def decode(_info: VideoInfo) -> Iterator[Frame]:
        for frame in frames_of(info, missing=missing, cuts=cuts):
            decoded.append(frame.index)
            yield frame

    def watched(frames: DetectorBatch) -> list[Detections]:
        assert len([frame for frame in decoded if frame >= frames.frame_indices[0]]) <= max(24, 0.4 * info.fps)
        assert len(frames.frame_indices) <= batch
        return predict(frames)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boxing, "BATCH", batch)
        patch.setattr(boxing.video, "decode", decode)
        patch.setattr(walker, "predict", watched)
        return boxing.find_boxes(info, walker)


numbers = st.sets(st.integers(0, 149), max_size=30)


@given(
    st.integers(1, 150), st.sampled_from([5, 25, 60, 120]), st.integers(0, 1000), numbers, numbers,
    st.sets(st.integers(1, 149), max_size=4),
)  # fmt: skip
def test_looking_at_several_together_changes_nothing(
    num_frames: int, fps: int, seed: int, lost: set[int], missing: set[int], cuts: set[int]
) -> None:
    info = video_info(num_frames, fps)
    together, alone = Walker(num_frames, seed, lost), Walker(num_frames, seed, lost)
    found = looked_at(info, together, missing, sorted(cuts), 8)
    assert found == looked_at(info, alone, missing, sorted(cuts), 1)
    asked = sorted(itertools.chain(*together.batches))
    assert asked == sorted(itertools.chain(*alone.batches))
    assert len(set(asked)) == len(asked)


def test_an_animal_that_walks_is_looked_at_in_less_than_half_the_turns() -> None:
    info, walker = video_info(150, 25), Walker(150, 3, set())
    assert looked_at(info, walker, set(), [], 8)
    assert sum(map(len, walker.batches)) > 2 * len(walker.batches)
