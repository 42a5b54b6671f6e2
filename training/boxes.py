"""The animal's box on every frame of a video, found once and stored in the data set."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from mousetal import video
from mousetal.geometry import resize_for_detector
from mousetal.scenes import Scenes
from mousetal.sidebyside import Over
from mousetal.streams import batched
from mousetal.track import follow
from mousetal.types import Detections, DetectorBatch, DetectorSpec, Float64Array, FrameBox, UInt8Array, VideoInfo
from training.keyframes import KeyFrames

BY_AUTOLABEL = "training.autolabel"  # how `VideoEntry.boxes_by` begins where that stored them
SPACING_S = 0.2  # between looks
UNDECIDED_FRAMES = 24  # that are held; two stretches where these are longer
BATCH = 8  # frames that are looked at together, at most


class Finder(Protocol):
    """What is needed of a detector; `mousetal.detector.Detector` is one."""

    @property
    def spec(self) -> DetectorSpec: ...

    def predict(self, batch: DetectorBatch) -> list[Detections]: ...


class Shared:
    """One detector for several videos at a time: it is asked by one of them at once, while the others decode.

    Once ``over``, the next look of each fails.
    """

    def __init__(self, detector: Finder, over: Over) -> None:
        self.spec: DetectorSpec = detector.spec
        self._detector, self._turn, self._over = detector, threading.Lock(), over

    def predict(self, batch: DetectorBatch) -> list[Detections]:
        self._over.check()
        with self._turn:
            return self._detector.predict(batch)


def find_boxes(info: VideoInfo, detector: Finder, max_gap_s: float = 0.5) -> tuple[FrameBox, ...]:
    """Boxes in order of frames: looks at some (`keyframes`); by the driver's own rules one animal, gaps bridged.

    Frames that can't be decoded have none. Looks at several keys together, then at what lies between them.
    """
    spacing = max(1, int(min(SPACING_S, max_gap_s) * info.fps))
    threshold = detector.spec.score_threshold
    keys = KeyFrames(spacing, info.pts_seconds, threshold)
    found = _detections(info, detector, keys, max(UNDECIDED_FRAMES, 2 * spacing))
    return tuple(one.box for one in follow(found, info.pts_seconds, max_gap_s, threshold) if one.box is not None)


def _detections(info: VideoInfo, detector: Finder, keys: KeyFrames, most_held: int) -> Iterator[Detections]:
    held: dict[int, UInt8Array] = {}
    scenes = Scenes()
    due: list[int] = []  # keys that are to be looked at

    def look(frames: Sequence[int]) -> None:
        images = np.stack([resize_for_detector(held[frame], detector.spec.input_size) for frame in frames])
        sizes = tuple((held[frame].shape[1], held[frame].shape[0]) for frame in frames)
        for answer in detector.predict(DetectorBatch(tuple(frames), sizes, images)):
            keys.answer(answer)

    def settle() -> Iterator[Detections]:
        for some in batched(due, BATCH):
            look(some)
        due.clear()
        while wanted := keys.wanted(BATCH):
            look(wanted)
        while stretch := keys.settled():
            for one in stretch:
                held.pop(one.frame_index)
                yield scenes.marked(one)

    for frame in video.decode(info):
        held[frame.index] = frame.rgb
        scenes.see(frame)
        due += keys.add(frame.index, frame.index in scenes)
        if len(due) >= BATCH or len(held) >= most_held:
            yield from settle()
    due += keys.end()
    yield from settle()


def per_frame(boxes: Sequence[FrameBox], num_frames: int) -> Float64Array:
    """Boxes as float64 (num_frames, 4): between two known ones interpolated, NaN where neither side is near.

    Boxes that a person or a slow detector gave for every n-th frame become boxes of all frames; more than three times
    the usual distance between known frames is a gap.
    """
    table = np.full((num_frames, 4), np.nan)
    known = [box for box in boxes if box.frame_index < num_frames]
    if not known:
        return table
    frames = np.array([box.frame_index for box in known])
    values = np.array([box.box_xyxy for box in known], np.float64)
    table[frames] = values
    steps = np.diff(frames)
    if len(steps):
        usual = 3 * float(np.median(steps))
        for at in np.flatnonzero((steps > 1) & (steps <= usual)):
            inside = np.arange(frames[at] + 1, frames[at + 1])
            share = ((inside - frames[at]) / steps[at])[:, None]
            table[inside] = values[at] * (1 - share) + values[at + 1] * share
    return table


def movement(boxes: Float64Array) -> Float64Array:
    """How much the box changes around each frame, in shares of its size: float64 (num_frames,), 0 where unknown."""
    side = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    change = np.zeros(len(boxes))
    if len(boxes) > 1:
        change[1:] = np.nan_to_num(np.abs(np.diff(boxes, axis=0)).max(axis=1) / np.maximum(side[1:], 1))
    return np.convolve(change, np.ones(7) / 7)[3:-3]  # "same" were longer than a video of fewer frames
