"""What a window teaches: the class of what happens in its middle.

Frame posteriors weigh the windows around a frame by how near the frame is to their middles, so a window speaks for its
middle. A long behaviour counts when it holds the middle itself; a short one, such as a twitch, when it happens anywhere
within the middle three eighths, for it would otherwise hardly ever be seen. Short is a class whose usual bout is no
longer than half a window.

    frame      0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
    middle               [----------------)               three eighths, where a short behaviour counts
    the middle itself          ^                          frame 8, whose class it is otherwise
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from mousetal.intervals import runs_of
from mousetal.types import ClassifierSpec, Int64Array
from mousetal.windows import WindowPlan
from training.clips import UNSCORED, Clip

SHORT_SHARE = 0.5  # of a window's span: classes whose median bout is no longer are short


def offsets(spec: ClassifierSpec, fps: Fraction) -> Int64Array:
    """Which frames a window that starts at 0 takes of a video of ``fps``: int64 (num_frames,), by inference's rule."""
    plan = WindowPlan.for_video(spec, fps, reference_compat=False)
    return np.array([plan.grid(i) for i in range(plan.num_frames)], np.int64)


def window_frames(start: int, steps: Int64Array, length: int) -> Int64Array:
    """The frames of the window at ``start`` in a clip of ``length``; past the end the last one is held."""
    return np.minimum(start + steps, length - 1)


def window_label(labels: np.ndarray, frames: Int64Array, is_short: Sequence[bool]) -> int:
    """The class of a window that takes ``frames``; UNSCORED where its middle was not looked at.

    ``labels`` holds the class of every frame of the clip, ``is_short`` says of every class whether it is short.
    """
    n = len(frames)
    first, last = n * 5 // 16, n - n * 5 // 16 - 1
    middle = int(frames[n // 2])
    around = np.arange(int(frames[first]), int(frames[last]) + 1)
    near = labels[around]
    short = np.isin(near, np.flatnonzero(is_short))
    if short.any():
        places = np.flatnonzero(short)
        return int(near[places[np.argmin(np.abs(around[places] - middle))]])
    return UNSCORED if (near == UNSCORED).any() else int(labels[middle])


def start_labels(labels: np.ndarray, steps: Int64Array, is_short: Sequence[bool]) -> np.ndarray:
    """The class of the window at every start in a clip, int8; one start where the clip is shorter than a window."""
    starts = max(1, len(labels) - int(steps[-1]))
    frames = [window_frames(start, steps, len(labels)) for start in range(starts)]
    return np.array([window_label(labels, one, is_short) for one in frames], np.int8)


def short_classes(clips: Iterable[Clip], spec: ClassifierSpec) -> tuple[bool, ...]:
    """Whether each class is short, by the median length of its bouts in ``clips`` against a window's span.

    A bout that a clip's edge cuts off is left out, unless what is left is long already, or there is nothing else. The
    background is never short, and a class without bouts is taken to be long.
    """
    shares: list[list[float]] = [[] for _ in spec.classes]
    cut_off: list[list[float]] = [[] for _ in spec.classes]
    for clip in clips:
        plan = WindowPlan.for_video(spec, clip.fps, reference_compat=False)
        span = float(plan.num_frames * plan.step)
        for label in np.unique(clip.frame_labels).tolist():
            if label in (UNSCORED, spec.background):
                continue
            for start, end in runs_of(clip.frame_labels == label).tolist():
                share = (end - start) / span
                is_whole = start > 0 and end < len(clip)
                (shares if is_whole or share > SHORT_SHARE else cut_off)[label].append(share)
    found = [whole or parts for whole, parts in zip(shares, cut_off, strict=True)]
    return tuple(bool(one) and float(np.median(one)) <= SHORT_SHARE for one in found)
