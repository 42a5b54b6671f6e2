"""Generators of random plain data for property tests."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mousetal.reference import Segment
from mousetal.types import FrameRange
from mousetal.windows import WindowPlan


@st.composite
def frame_ranges(draw: st.DrawFn, max_frame: int = 200) -> FrameRange:
    start = draw(st.integers(0, max_frame - 1))
    return FrameRange(start, draw(st.integers(start + 1, max_frame)))


@st.composite
def boxes_xyxy(draw: st.DrawFn, max_side: float = 500.0) -> tuple[float, float, float, float]:
    """A box that is not empty, corners anywhere in -max_side..2 * max_side."""
    x1, y1 = draw(st.floats(-max_side, max_side)), draw(st.floats(-max_side, max_side))
    return x1, y1, x1 + draw(st.floats(1, max_side)), y1 + draw(st.floats(1, max_side))


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """A window as the reference system sees it: 32 frames, starting on a grid of 16."""
    start = 16 * draw(st.integers(0, 12))
    box = draw(st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(51, 99)] * 2))
    return Segment(start, start + 32, draw(st.integers(0, 2)), draw(st.floats(0.34, 1)), box)


@st.composite
def window_plans(draw: st.DrawFn) -> WindowPlan:
    """Plans of every kind: steps below, at and above one frame, whole and broken, any stride."""
    step = Fraction(draw(st.integers(1, 12)), draw(st.integers(1, 4)))
    return WindowPlan(draw(st.integers(1, 8)), step, draw(st.integers(1, 10)), draw(st.booleans()))


def posteriors(max_frames: int = 120, classes: int = 3) -> st.SearchStrategy[np.ndarray]:
    """float32 (frames, classes), rows that sum to one, some of them NaN."""

    def normalised(values: np.ndarray) -> np.ndarray:
        rows = values / values.sum(axis=1, keepdims=True)
        rows[values[:, 0] < 0.02] = np.nan
        return rows.astype(np.float32)

    shapes = st.tuples(st.integers(1, max_frames), st.just(classes))
    return hnp.arrays(np.float64, shapes, elements=st.floats(0.01, 1)).map(normalised)
