"""Hard cuts: where a video joins pictures that do not follow each other, so that nothing is followed across.

    scenes = Scenes()
    for frame in frames:
        scenes.see(frame)                  # later, also on another thread: frame.index in scenes
    found = scenes.marked(found)           # what the detector says of a frame, with `begins_scene`

Recordings joined to one file, or shortened ones, jump: the animal is elsewhere from one frame to the next, or the cage
is another. A cut is a frame on which much more of the picture changes than on the frames before it. A cut after which
hardly anything looks different is not found, and need not be. By `python -m bench.cuts`: of 235 cuts between clips of
rats in one cage, which is as hard as it gets, 191 are found, and none where there is none, there or in 11 other videos.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from mousetal.types import Detections, Frame, UInt8Array

POINTS = 48  # a side: so many pixels are compared, spread over the picture
CHANGED = 20  # grey levels, in the colour that changes most
LEAST_SHARE = 0.04  # of the points that change at a cut; a rat at full run fills the picture with up to 0.07
TIMES = 2.5  # as many as on any of the frames before
HISTORY = 4  # frames before, at least: without them nothing is known of how much changes anyway


class CutFinder:
    """Sees a video's frames in order and tells where a scene begins; what it says depends on the last few frames."""

    def __init__(self) -> None:
        self._last: np.ndarray[tuple[int, ...], np.dtype[np.int16]] | None = None
        self._changes: deque[float] = deque(maxlen=HISTORY)

    def pass_over_gap(self) -> None:
        """Frames are missing here: what is different on the next one, time explains."""
        self._last = None

    def begins_scene(self, rgb: UInt8Array) -> bool:
        """Whether ``rgb``, uint8 (height, width, 3), does not follow the frame before."""
        points, last = _points(rgb), self._last
        self._last = points
        if last is None:
            return False
        share = float((np.abs(points - last).max(axis=2) > CHANGED).mean())
        usual = max(self._changes, default=0.0)
        is_known = len(self._changes) == HISTORY
        self._changes.append(share)
        return is_known and share >= max(LEAST_SHARE, TIMES * usual)


class Scenes:
    """Which of a video's frames begin a scene. Frames are seen in order; what was seen may be asked on any thread."""

    def __init__(self) -> None:
        self._cuts, self._starts, self._due = CutFinder(), set[int](), 0

    def see(self, frame: Frame, is_compared: bool = True) -> None:
        """Take in the next frame; one that is not compared only tells that no frame is missing there."""
        if frame.index > self._due:
            self._cuts.pass_over_gap()
        self._due = frame.index + 1
        if is_compared and self._cuts.begins_scene(frame.rgb):
            self._starts.add(frame.index)

    def __contains__(self, frame_index: int) -> bool:
        return frame_index in self._starts

    def marked(self, found: Detections) -> Detections:
        return replace(found, begins_scene=True) if found.frame_index in self else found


def _points(rgb: UInt8Array) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """The middle pixels of a grid laid over the picture, int16 (POINTS, POINTS, 3)."""
    rows, columns = ((np.arange(POINTS) * 2 + 1) * side // (2 * POINTS) for side in rgb.shape[:2])
    return rgb[np.ix_(rows, columns)].astype(np.int16)
