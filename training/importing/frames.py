"""Rows to labels: seconds to the frames that were shown, by the video's own times, and never by time * fps.

frame    0     1     2     3     4          a frame is shown from its time on until the next one
time     0    .04   .08   .12   .16  .20
bout             [.07 ------- .13)          starts with the frame shown at .07, ends with the last begun before .13
label         [1 ------------- 4)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mousetal.types import Float64Array, FrameRange, Label, VideoInfo
from training.importing.rows import FRAMES, LabelRow

ROUNDING_S = 0.001  # tables are written to the millisecond, rounded or cut off


@dataclass(frozen=True, slots=True)
class Placed:
    """A row's frames; ``clipped`` says how far it went on after the video's end, in frames or seconds, else 0."""

    frames: FrameRange
    clipped: float = 0.0


def place(row: LabelRow, info: VideoInfo) -> Placed | None:
    """The frames of a row, at least one; None where it begins after the video's end."""
    if row.unit == FRAMES:
        start = int(row.start)
        end = start + 1 if row.end is None else max(int(row.end), start + 1)
        if start >= info.num_frames:
            return None
        return Placed(FrameRange(start, min(end, info.num_frames)), max(0.0, float(end - info.num_frames)))
    usual = float(info.pts_seconds[-1]) / max(1, info.num_frames - 1)
    over = max(info.duration_seconds, float(info.pts_seconds[-1]))
    if row.start >= over + ROUNDING_S:
        return None
    start = frame_at(info.pts_seconds, row.start)
    end = start + 1 if row.end is None else max(start + 1, end_frame(info.pts_seconds, row.end))
    # A table's length of the video may be a frame more than ours; that is no bout beyond the end.
    late = 0.0 if row.end is None else row.end - over
    return Placed(FrameRange(start, end), late if late > usual + ROUNDING_S else 0.0)


def frame_at(pts_seconds: Float64Array, seconds: float) -> int:
    """The frame shown at ``seconds``, allowing for rounding."""
    return max(0, int(np.searchsorted(pts_seconds, seconds + _slack(pts_seconds), side="right")) - 1)


def end_frame(pts_seconds: Float64Array, seconds: float) -> int:
    """The first frame that is not shown before ``seconds``; the number of frames where all are."""
    return int(np.searchsorted(pts_seconds, seconds - _slack(pts_seconds), side="left"))


def _slack(pts_seconds: Float64Array) -> float:
    """A millisecond, but never so much that the next frame of a fast camera is meant."""
    if len(pts_seconds) < 2:
        return ROUNDING_S
    return min(ROUNDING_S, 0.25 * float(np.median(np.diff(pts_seconds))))


def label_of(row: LabelRow, frames: FrameRange) -> Label:
    return Label(row.behavior, frames, row.count, row.rater, row.origin)
