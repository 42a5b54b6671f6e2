"""What the reference system makes of its windows, step for step, for people who must reproduce old results.

Each window counts as its likeliest class over ``[first frame, last frame + sampling_rate)``. Windows of one class that
overlap or touch are merged, whatever other classes lie between, and the best window gives the segment its confidence:

    windows    [--1--)
                  [--2--)          ->   [-----1-----)   one segment of class 1, from two windows that touch,
                     [--1--)               [--2--)      and one of class 2 inside it

Class 0 is then dropped. Segments of different classes may overlap and may end after the video's last frame. The
default way from windows to bouts is in `mousetal.intervals`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mousetal.types import BoxInt, WindowScore

IDLE = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames ``[start_frame, end_frame)`` of class number ``label``, and the union of its windows' crops if known."""

    start_frame: int
    end_frame: int
    label: int
    confidence: float
    box_xyxy: BoxInt | None


def predictions(scores: Iterable[WindowScore]) -> list[Segment]:
    """One segment per window that was scored: its likeliest class, at that class's probability."""
    segments = []
    for score in scores:
        if score.is_scored:
            label = int(np.argmax(score.probabilities))
            frames, confidence = score.window.frames, float(score.probabilities[label])
            segments.append(Segment(frames.start_frame, frames.end_frame, label, confidence, score.crop_xyxy))
    return segments


def merge_predictions(segments: Iterable[Segment]) -> list[Segment]:
    """Chains of segments of one class, each beginning no later than the ones before it end, as one; sorted by start."""
    merged: list[Segment] = []
    open_chain: dict[int, int] = {}  # label -> place of its last chain in `merged`
    for segment in sorted(segments, key=lambda segment: (segment.start_frame, segment.label)):
        place = open_chain.get(segment.label)
        if place is not None and segment.start_frame <= merged[place].end_frame:
            merged[place] = _join(merged[place], segment)
        else:
            open_chain[segment.label] = len(merged)
            merged.append(segment)
    return merged


def postprocess(segments: Iterable[Segment], min_confidence: float | None = None) -> list[Segment]:
    """Merged segments without the idle class and, where asked, without those below ``min_confidence``."""
    merged = merge_predictions(segments)
    return [s for s in merged if s.label != IDLE and (min_confidence is None or s.confidence >= min_confidence)]


def segments_of(scores: Sequence[WindowScore]) -> list[Segment]:
    """The segments that the reference system writes to its predictions file."""
    return postprocess(predictions(scores))


def _join(chain: Segment, segment: Segment) -> Segment:
    return replace(
        chain,
        end_frame=max(chain.end_frame, segment.end_frame),
        confidence=max(chain.confidence, segment.confidence),
        box_xyxy=_outer(chain.box_xyxy, segment.box_xyxy),
    )


def _outer(a: BoxInt | None, b: BoxInt | None) -> BoxInt | None:
    if a is None or b is None:
        return a or b
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
