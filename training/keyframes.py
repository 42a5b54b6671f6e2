"""Which frames the detector looks at where boxes are stored: every n-th, and others where the way is not plain.

    frames    . . . . . . . . . . . .
    keys      A           B         C       every n-th, and the last
    A to B    the boxes agree: the frames between are interpolated, unseen
    B to C    they don't: the middle is looked at, too. Where it lies on the way from B to C the rest is interpolated;
              where it doesn't, each half is treated like A to B

A hard cut ends a stretch: the frames on both sides of it are keys, and nothing is interpolated across.

So an animal that rests or walks straight costs one look in n frames, and one that turns, rears or is hard to tell from
a second box costs as many as it takes. What is promised: wherever it was checked, an interpolated box is off by at most
``MAX_ERROR`` of the box's longer side on each edge; where it was more, every half was looked into in turn, down to
single frames. What cannot be known is what the animal did between two looks that agree.

Stored boxes may be asked for any window, so it is each box that must be right. The driver, which knows its windows,
looks where a crop may hinge on it (`mousetal.looks`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mousetal.geometry import interpolate
from mousetal.types import Detections, Float64Array

MAX_ERROR = 0.03  # of the longer side of the box, on each edge


@dataclass
class _Stretch:
    """The frames after the key ``start`` (None: the video's or a scene's first) up to and including the next key.

    ``open`` counts looks at its frames that are asked for and not answered; ``halves`` maps a middle that was asked for
    to the ends between which it lies.
    """

    start: int | None
    frames: list[int] = field(default_factory=list)
    is_complete: bool = False
    open: int = 0
    halves: dict[int, tuple[int, int]] = field(default_factory=dict)


class KeyFrames:
    """The state of one video; ``spacing`` is the distance of keys in frames, ``pts_seconds`` (frames,) tells times."""

    def __init__(self, spacing: int, pts_seconds: Float64Array, score_threshold: float) -> None:
        self._spacing, self._pts, self._threshold = spacing, pts_seconds, score_threshold
        self._answers: dict[int, Detections] = {}
        self._stretches = deque([_Stretch(None)])
        self._stretch_of: dict[int, _Stretch] = {}  # frames asked for and not answered
        self._wanted: deque[int] = deque()

    def add(self, frame: int, begins_scene: bool = False) -> list[int]:
        """Take the next frame in; keys to be looked at in any case: none, it, or with it the last one of a scene."""
        keys = self._end_scene() if begins_scene else []
        stretch = self._stretches[-1]
        stretch.frames.append(frame)
        if stretch.start is None or self._block(frame) != self._block(stretch.start):
            self._complete(stretch)
            keys.append(frame)
        return keys

    def end(self) -> list[int]:
        """No frame follows: the last one is a key if it was none yet."""
        return self._end_stretch()

    def wanted(self, most: int) -> list[int]:
        """Frames between keys that must be looked at, taken off the list."""
        return [self._wanted.popleft() for _ in range(min(most, len(self._wanted)))]

    def answer(self, found: Detections) -> None:
        """What the detector says of a frame that was asked for; answers come in the order of asking."""
        frame = found.frame_index
        self._answers[frame] = found
        stretch = self._stretch_of.pop(frame)
        stretch.open -= 1
        if frame in stretch.halves:
            start, end = stretch.halves.pop(frame)
            if not self._lies_between(start, frame, end):
                self._look_between(stretch, start, frame)
                self._look_between(stretch, frame, end)
        elif stretch.start is not None:
            self._look_between(stretch, stretch.start, frame)

    def settled(self) -> list[Detections]:
        """One entry per frame of the next stretch that is decided; empty when there is none yet.

        Frames that were not looked at have no boxes, and say so.
        """
        stretch = self._stretches[0]
        if not stretch.is_complete or stretch.open:
            return []
        self._stretches.popleft()
        if stretch.start is not None:
            del self._answers[stretch.start]
        last = stretch.frames.pop()
        is_left = self._stretches[0].start is None
        between = [
            self._answers.pop(frame) if frame in self._answers else Detections.skipped(frame)
            for frame in stretch.frames
        ]
        # It stays where the next stretch begins there.
        return [*between, self._answers.pop(last) if is_left else self._answers[last]]

    def _block(self, frame: int) -> int:
        return frame // self._spacing

    def _end_stretch(self) -> list[int]:
        """Make the last frame a key if it is none yet."""
        stretch = self._stretches[-1]
        if not stretch.frames:
            return []
        self._complete(stretch)
        return stretch.frames[-1:]

    def _end_scene(self) -> list[int]:
        """The same, and what follows does not begin there."""
        keys = self._end_stretch()
        start = self._stretches.pop().start
        if not self._stretches and start is not None:  # nobody waits for the answer any more
            del self._answers[start]
        self._stretches.append(_Stretch(None))
        return keys

    def _complete(self, stretch: _Stretch) -> None:
        stretch.is_complete = True
        self._ask(stretch, stretch.frames[-1])
        self._stretches.append(_Stretch(stretch.frames[-1]))

    def _ask(self, stretch: _Stretch, frame: int) -> None:
        stretch.open += 1
        self._stretch_of[frame] = stretch

    def _look_between(self, stretch: _Stretch, start: int, end: int) -> None:
        """Ask for the middle between two answered frames, unless they agree or nothing lies between."""
        first, last = bisect_right(stretch.frames, start), bisect_left(stretch.frames, end)
        if first == last or self._agree(start, end):
            return
        middle = stretch.frames[(first + last) // 2]
        stretch.halves[middle] = (start, end)
        self._ask(stretch, middle)
        self._wanted.append(middle)

    def _agree(self, start: int, end: int) -> bool:
        a, b = self._box(start), self._box(end)
        if a is None or b is None:
            return a is b  # no animal on either: none between; on one alone: where does it come from?
        return _is_close(a, b)

    def _lies_between(self, start: int, middle: int, end: int) -> bool:
        a, m, b = (self._box(frame) for frame in (start, middle, end))
        if a is None or m is None or b is None:
            return a is m is b
        share = (self._pts[middle] - self._pts[start]) / (self._pts[end] - self._pts[start])
        return _is_close(interpolate(a, b, float(share)), m)

    def _box(self, frame: int) -> Float64Array | None:
        return self._answers[frame].best_box(self._threshold)


def _is_close(a_xyxy: Float64Array, b_xyxy: Float64Array) -> bool:
    side = max(*(a_xyxy[2:] - a_xyxy[:2]), *(b_xyxy[2:] - b_xyxy[:2]), 1.0)
    return bool(np.abs(a_xyxy - b_xyxy).max() <= MAX_ERROR * side)
