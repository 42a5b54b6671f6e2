"""Which frames of a video a classification sees.

Frames are sampled on a grid, and a window is ``num_frames`` neighbours on it, ``stride`` grid points after the one
before (here 4 frames, every 2nd, stride 2):

    frame    0 1 2 3 4 5 6 7 8 9 10 11 12 13
    grid     x   x   x   x   x   x     x
    window 0 x---x---x---x                       speaks for [0, 8)
    window 1         x---x---x---x               speaks for [4, 12)
    last                   x---x---x-----x       ends at the last frame, speaks for [7, 14)

The tail: when the last regular window leaves frames over, one more window is laid so that it ends exactly at the last
frame, off the grid if need be. A video too short for one window gets one all the same, its last frame repeated. The
reference system does neither (``cover_tail=False``): it leaves the tail and short videos out, and its windows speak
for ``[first, last + sampling_rate)`` even where that is past the end.

    >>> plan = WindowPlan(num_frames=16, step=Fraction(2), stride=8, cover_tail=True)
    >>> [window.frames for window in plan.windows(50)]
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mousetal.types import ClassifierSpec, FrameRange, Int64Array, Window

SAME_RATE = Fraction(1, 20)  # frame rates that differ by no more than this share count as equal (25 and 24, say)


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The rule by which windows are laid over a video.

    ``num_frames`` and ``stride`` count grid points, ``step`` is the distance between grid points in source frames.
    """

    num_frames: int
    step: Fraction
    stride: int
    cover_tail: bool

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.stride < 1 or self.step <= 0:
            raise ValueError(
                f"a window plan needs num_frames >= 1, stride >= 1 and step > 0, "
                f"got {self.num_frames}, {self.stride} and {self.step}"
            )

    @classmethod
    def for_video(cls, classifier: ClassifierSpec, fps: Fraction, reference_compat: bool) -> WindowPlan:
        """The plan by which ``classifier`` sees a video of ``fps`` at the speed that it was trained at.

        A 60 fps video is sampled twice as sparsely as a 30 fps one. Without a ``trained_fps``, and always for the
        reference system, every ``sampling_rate``-th frame is taken whatever the frame rate.
        """
        step = Fraction(classifier.sampling_rate)
        if classifier.trained_fps is not None and not reference_compat:
            ratio = fps / Fraction(classifier.trained_fps).limit_denominator(10_000)
            if abs(ratio - 1) > SAME_RATE:
                step = (step * ratio).limit_denominator(10_000)
        return cls(classifier.num_frames, step, classifier.stride, cover_tail=not reference_compat)

    def grid(self, i: int) -> int:
        """Frame number of the ``i``-th grid point: ``i * step``, rounded half up."""
        numerator, denominator = self.step.as_integer_ratio()
        return (2 * i * numerator + denominator) // (2 * denominator)

    @property
    def span(self) -> int:
        """Most frames from the first to the last one of a window, both counted: 31 for 16 frames, every 2nd."""
        reach = (self.num_frames - 1) * self.step
        return math.ceil(reach) + 1

    def windows(self, total_frames: int) -> list[Window]:
        """All windows of a video of ``total_frames``, in order of their last frame; see `iter_windows`."""
        return list(self.iter_windows(total_frames))

    def iter_windows(self, total_frames: int) -> Iterator[Window]:
        """The windows of a video of ``total_frames`` one by one; their first and last frames never decrease."""
        count = self._regular_count(total_frames)
        for index in range(count):
            yield self._regular(index, total_frames)
        if self._leaves_a_tail(total_frames):
            yield self._last(count, total_frames)

    def sampled_frames(self, total_frames: int) -> Int64Array:
        """The frames that the detector should see, ascending: the grid up to the last window, and that one's frames."""
        count = self._regular_count(total_frames)
        end = (count - 1) * self.stride + self.num_frames if count else 0
        points = range(self._grid_points(total_frames) if self.cover_tail else end)
        grid = np.fromiter(map(self.grid, points), np.int64)
        last = self._last(0, total_frames).frame_indices if self._leaves_a_tail(total_frames) else ()
        return np.union1d(grid, np.array(last, np.int64))

    def _grid_points(self, total_frames: int) -> int:
        """How many grid points lie on frames 0 to ``total_frames`` - 1."""
        return max(0, math.ceil((total_frames - Fraction(1, 2)) / self.step))

    def _regular_count(self, total_frames: int) -> int:
        return max(0, (self._grid_points(total_frames) - self.num_frames) // self.stride + 1)

    def _leaves_a_tail(self, total_frames: int) -> bool:
        count = self._regular_count(total_frames)
        covered = self._regular(count - 1, total_frames).frames.end_frame if count else 0
        return self.cover_tail and covered < total_frames

    def _regular(self, index: int, total_frames: int) -> Window:
        first = index * self.stride
        indices = tuple(self.grid(i) for i in range(first, first + self.num_frames))
        end = max(indices[-1] + 1, self.grid(first + self.num_frames))
        return Window(index, indices, FrameRange(indices[0], min(end, total_frames) if self.cover_tail else end))

    def _last(self, index: int, total_frames: int) -> Window:
        last = total_frames - 1
        offsets = [self.grid(k) for k in range(self.num_frames)]
        if offsets[-1] > last:  # too short for a window: play to the end, then hold the last frame
            indices = tuple(min(offset, last) for offset in offsets)
        else:
            indices = tuple(last - offset for offset in reversed(offsets))
        return Window(index, indices, FrameRange(indices[0], total_frames))
