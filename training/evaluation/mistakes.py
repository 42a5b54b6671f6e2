"""The worst mistakes, to look at: false bouts that the model was surest of, and true ones it overlooked most surely.

Pictures say more than numbers about what a model has not understood, and about what a person has mislabelled.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mousetal import filmstrip, video
from mousetal.errors import VideoError
from mousetal.intervals import match
from mousetal.types import FrameRange, UInt8Array
from training.evaluation.calibration import RIGHT_IOU
from training.evaluation.comparison import Comparison

MISSED, FALSE = "missed", "false"
MOST = 4  # of each kind and behaviour
CLOSE_UPS = 5


@dataclass(frozen=True, slots=True)
class Mistake:
    """A bout that was missed or is false; ``surprise`` 0..1 is how sure the model was of the contrary.

    ``instead`` is what was found where a bout was missed, or what is true where one is false; "" for nothing.
    ``why`` says of a missed bout that the model did see what became of it.
    """

    video: str
    behavior: str
    kind: str
    frames: FrameRange
    span_s: tuple[float, float]
    surprise: float
    instead: str
    why: str = ""


def of_video(comparison: Comparison, behavior: str) -> list[Mistake]:
    """All mistakes of one behaviour in one video."""
    truth, found = comparison.truth[behavior], comparison.found[behavior]
    pairs = match([one.frames for one in found], truth, RIGHT_IOU)
    right, met = {i for i, _ in pairs}, {j for _, j in pairs}
    ranges = {name: comparison.found_ranges(name) for name in comparison.behaviors}
    false = [
        _mistake(comparison, behavior, FALSE, one.frames, one.confidence, comparison.truth)
        for i, one in enumerate(found)
        if i not in right
    ]
    missed = [
        replace(_mistake(comparison, behavior, MISSED, one, 1 - _highest(comparison, behavior, one), ranges),
                why=_why_missed(comparison, behavior, one))
        for j, one in enumerate(truth)
        if j not in met
    ]  # fmt: skip
    return false + missed


def worst(comparisons: Sequence[Comparison], most: int = MOST) -> list[Mistake]:
    """Per behaviour and kind the most surprising ones, at most so many; ties go to the longer."""
    every: dict[tuple[str, str], list[Mistake]] = {}
    for one in comparisons:
        for behavior in one.behaviors:
            for mistake in of_video(one, behavior):
                every.setdefault((behavior, mistake.kind), []).append(mistake)
    ranked = (sorted(some, key=lambda m: (-round(m.surprise, 3), -len(m.frames))) for some in every.values())
    return [mistake for some in ranked for mistake in some[:most]]


def pictures(
    mistakes: Sequence[Mistake], comparisons: Sequence[Comparison], paths: Mapping[str, Path]
) -> dict[Mistake, str]:
    """Filmstrips as data URIs. Videos that are not there, and frames that can't be decoded, have none."""
    stored = {one.video: one.stored for one in comparisons if one.stored is not None}
    drawn: dict[Mistake, str] = {}
    for name in dict.fromkeys(mistake.video for mistake in mistakes):
        result = stored.get(name)
        if name not in paths or result is None:
            continue
        wanted = {mistake: _moments(mistake.frames) for mistake in mistakes if mistake.video == name}
        numbers = sorted({number for moments in wanted.values() for number in moments})
        crops = filmstrip.crops_at(numbers, result.scores)
        views: dict[int, list[UInt8Array]] = {}
        try:
            for frame in filmstrip.frames_at(video.probe(paths[name]), numbers):
                views[frame.index] = filmstrip.views(frame.rgb, crops.get(frame.index))
        except VideoError:
            continue
        for mistake, moments in wanted.items():
            there = {number: views[number] for number in moments if number in views}
            if there:
                content = filmstrip.jpeg(filmstrip.strip(moments, there))
                drawn[mistake] = "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")
    return drawn


def _moments(frames: FrameRange) -> tuple[int, ...]:
    last = frames.end_frame - 1
    return tuple(np.linspace(frames.start_frame, last, min(CLOSE_UPS, len(frames))).round().astype(int).tolist())


def _mistake(
    comparison: Comparison,
    behavior: str,
    kind: str,
    frames: FrameRange,
    surprise: float,
    others: Mapping[str, Sequence[FrameRange]],
) -> Mistake:
    overlaps = {name: sum(frames.overlap(one) for one in ranges) for name, ranges in others.items() if name != behavior}
    most = max(overlaps, key=overlaps.__getitem__, default="")
    instead = most if most and overlaps[most] else ""
    return Mistake(comparison.video, behavior, kind, frames, comparison.seconds(frames), surprise, instead)


def _why_missed(comparison: Comparison, behavior: str, frames: FrameRange) -> str:
    """What the bout rule made of a bout that the model was sure enough of; "" where it was not."""
    if joined := next((one.frames for one in comparison.found[behavior] if one.frames.overlap(frames)), None):
        start, end = comparison.seconds(joined)
        return f"only a part, or one bout found for several: {start:.2f} to {end:.2f} s was reported"
    stored = comparison.stored
    if stored is None or behavior not in stored.classifier.classes:
        return ""
    rule = stored.classifier.rules[stored.classifier.classes.index(behavior)]
    if rule.min_duration_s and _highest(comparison, behavior, frames) >= rule.threshold:
        return f"sure enough, but for less than the {rule.min_duration_s:g} s that the bout rule asks for"
    return ""


def _highest(comparison: Comparison, behavior: str, frames: FrameRange) -> float:
    """The model's highest probability of the behaviour within the frames; 0 where it said nothing."""
    if behavior not in comparison.posteriors:
        return 0.0
    inside = comparison.posteriors[behavior][frames.start_frame : frames.end_frame]
    return float(np.nan_to_num(inside, nan=0.0).max(initial=0.0))
