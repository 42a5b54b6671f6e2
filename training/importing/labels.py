"""Rows that belong to a video become labels on its frames; what is odd about them is said row by row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mousetal.intervals import merge
from mousetal.types import FrameRange, Label, VideoInfo
from training.importing.rows import LabelRow, Problem

SLACK_S = 5e-4  # half of the millisecond to which tables are usually written


def to_labels(
    rows: Sequence[LabelRow], info: VideoInfo, behaviors: Sequence[str]
) -> tuple[list[Label], list[FrameRange], list[Problem]]:
    """Labels, scored ranges (empty: none were named) and problems of one video's rows.

    A time becomes the frame shown then, by the video's own time stamps; a bout is at least one frame long. Rows for
    other behaviours, and rows that end before they start or begin after the video, are dropped; one that reaches past
    the end is cut there. Overlaps of a behaviour with itself and repeated rows are told; repeats are dropped.
    """
    labels: list[Label] = []
    scored: list[FrameRange] = []
    problems: list[Problem] = []
    for row in rows:
        if not row.is_scored and row.behavior not in behaviors:
            problems.append(Problem(row.origin, f"behaviour {row.behavior!r} is none of {', '.join(behaviors)}"))
            continue
        frames = _frames(row, info, problems)
        if frames is None:
            continue
        if row.is_scored:
            scored.append(frames)
            continue
        label = Label(row.behavior, frames, row.count, row.rater, row.origin)
        if any((one.behavior, one.frames, one.rater) == (label.behavior, frames, label.rater) for one in labels):
            problems.append(Problem(row.origin, f"{row.behavior}: the same bout as in another row"))
            continue
        labels.append(label)
    problems += _overlaps(labels)
    return labels, merge(scored), problems


def _frames(row: LabelRow, info: VideoInfo, problems: list[Problem]) -> FrameRange | None:
    what = f"{row.behavior} {row.start:g} to {'a point' if row.end is None else f'{row.end:g}'}"
    if row.end is not None and row.end < row.start:
        problems.append(Problem(row.origin, f"{what}: ends before it starts"))
        return None
    start, end = _span(row, info)
    if row.start < 0 or start >= info.num_frames:
        where = f"{info.num_frames} frames" if row.is_frames else f"{info.duration_seconds:.2f} s"
        problems.append(Problem(row.origin, f"{what}: outside the video, which has {where}"))
        return None
    if end > info.num_frames:
        problems.append(Problem(row.origin, f"{what}: reaches past the video's end and is cut there", is_dropped=False))
    return FrameRange(start, min(max(end, start + 1), info.num_frames))


def _span(row: LabelRow, info: VideoInfo) -> tuple[int, int]:
    """First frame and the one after the last; the end may lie past the video."""
    if row.is_frames:
        return int(row.start), int(row.start) + 1 if row.end is None else int(row.end)
    times = info.pts_seconds
    if row.start > info.duration_seconds + SLACK_S:
        return info.num_frames, info.num_frames + 1
    start = max(0, int(np.searchsorted(times, row.start + SLACK_S, side="right")) - 1)
    if row.end is None:
        return start, start + 1
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    is_past = row.end > info.duration_seconds + usual + SLACK_S
    return start, info.num_frames + 1 if is_past else int(np.searchsorted(times, row.end - SLACK_S, side="left"))


def _overlaps(labels: Sequence[Label]) -> list[Problem]:
    problems = []
    for key in {(label.behavior, label.rater) for label in labels}:
        mine = sorted(
            (one for one in labels if (one.behavior, one.rater) == key), key=lambda one: one.frames.start_frame
        )
        for before, after in pairwise(mine):
            if after.frames.start_frame < before.frames.end_frame:
                text = f"{key[0]}: overlaps the bout of {before.origin}"
                problems.append(Problem(after.origin, text, is_dropped=False))
    return sorted(problems, key=lambda one: one.origin)
