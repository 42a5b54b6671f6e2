"""One video: what a person saw beside what was found, on one timeline. All scores are made from these.

Only frames that the person looked at count. Bouts are cut to them, those of the person and those found alike: a bout
that is under way when the scored time begins counts from there, one that lies outside does not count at all.

    scored     [---------------)      [------)
    bouts   [------)       [-------------)            [---)
    count      [---)       [---)      [--)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mousetal.intervals import frame_edges, mask_of, runs_of
from mousetal.types import Bout, Float32Array, Float64Array, FrameRange, Label, VideoResult

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """A bout that was found, and how sure of it the finder was (1 for a person)."""

    frames: FrameRange
    confidence: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Truth and findings in one video, both sorted by start and cut to the scored frames.

    ``subject`` is the animal, by whom numbers are resampled. ``edges_seconds`` float64 (frames + 1,) is when each frame
    begins, ``is_scored`` bool (frames,). The keys of ``truth`` are the behaviours that the person looked for, no others
    count. ``posteriors`` float32 (frames,) per behaviour that the model knows, NaN where it said nothing; empty where
    there is no model. ``stored`` is the model's result, for what shows pictures.
    """

    video: str
    subject: str
    edges_seconds: Float64Array
    is_scored: BoolArray
    truth: Mapping[str, tuple[FrameRange, ...]]
    found: Mapping[str, tuple[Found, ...]]
    posteriors: Mapping[str, Float32Array] = field(default_factory=dict)
    stored: VideoResult | None = None

    @property
    def behaviors(self) -> tuple[str, ...]:
        return tuple(self.truth)

    @property
    def num_frames(self) -> int:
        return len(self.is_scored)

    @property
    def scored_seconds(self) -> float:
        return float(np.diff(self.edges_seconds)[self.is_scored].sum())

    @property
    def unscored_ranges(self) -> tuple[FrameRange, ...]:
        """What the person did not look at."""
        return tuple(FrameRange(start, end) for start, end in runs_of(~self.is_scored).tolist())

    def found_ranges(self, behavior: str) -> tuple[FrameRange, ...]:
        return tuple(one.frames for one in self.found[behavior])

    def true_mask(self, behavior: str) -> BoolArray:
        """bool (frames,): where the person saw it."""
        return _mask(self.truth[behavior], self.num_frames)

    def found_mask(self, behavior: str) -> BoolArray:
        """bool (frames,): where it was found."""
        return _mask(self.found_ranges(behavior), self.num_frames)

    def seconds(self, frames: FrameRange) -> tuple[float, float]:
        """When a range begins and ends."""
        return float(self.edges_seconds[frames.start_frame]), float(self.edges_seconds[frames.end_frame])


def of_labels(
    video: str,
    subject: str,
    edges_seconds: Float64Array,
    behaviors: Sequence[str],
    truth: Iterable[Label],
    found: Iterable[Label],
    scored: Iterable[FrameRange] | None = None,
) -> Comparison:
    """Two people's labels of one video, one taken as the truth; ``scored`` None means that all frames count."""
    is_scored = scored_mask(scored, len(edges_seconds) - 1)
    return Comparison(
        video,
        subject or video,
        edges_seconds,
        is_scored,
        {name: _truth(truth, name, is_scored) for name in behaviors},
        {name: tuple(map(Found, _truth(found, name, is_scored))) for name in behaviors},
    )


def of_result(
    result: VideoResult,
    truth: Iterable[Label],
    behaviors: Sequence[str],
    subject: str = "",
    scored: Iterable[FrameRange] | None = None,
) -> Comparison:
    """A model's result beside a person's labels. Behaviours that the model doesn't know are never found."""
    is_scored = scored_mask(scored, result.info.num_frames)
    classes = result.classifier.classes
    columns = {name: result.posteriors[:, classes.index(name)] for name in behaviors if name in classes}
    return Comparison(
        result.video,
        subject or result.video,
        frame_edges(result.info.pts_seconds),
        is_scored,
        {name: _truth(truth, name, is_scored) for name in behaviors},
        {name: _found(result.bouts, name, is_scored) for name in behaviors},
        columns,
        result,
    )


def with_bouts(comparison: Comparison, bouts: Iterable[Bout]) -> Comparison:
    """The same video, had these bouts been found in it."""
    bouts = tuple(bouts)
    found = {name: _found(bouts, name, comparison.is_scored) for name in comparison.truth}
    return replace(comparison, found=found)


def swapped(comparison: Comparison) -> Comparison:
    """The same with the roles of truth and findings changed, for two people neither of whom is the truth."""
    truth = {name: comparison.found_ranges(name) for name in comparison.truth}
    found = {name: tuple(map(Found, ranges)) for name, ranges in comparison.truth.items()}
    return replace(comparison, truth=truth, found=found, posteriors={}, stored=None)


def cut(ranges: Iterable[FrameRange], is_scored: BoolArray) -> list[FrameRange]:
    """The ranges' parts on scored frames, in order; a range across a hole becomes two."""
    total, parts = len(is_scored), []
    holes = np.concatenate([[0], np.cumsum(~is_scored)])
    for one in ranges:
        start, end = one.start_frame, min(one.end_frame, total)
        if start >= end:
            continue
        if holes[end] == holes[start]:
            parts.append(FrameRange(start, end))
        else:
            runs = runs_of(is_scored[start:end]) + start
            parts += [FrameRange(first, last) for first, last in runs.tolist()]
    return sorted(parts, key=lambda part: (part.start_frame, part.end_frame))


def disjoint(ranges: Iterable[FrameRange]) -> list[FrameRange]:
    """Ranges that share frames as one; those that only touch stay two, a person who ends a bout means it."""
    joined: list[FrameRange] = []
    for one in sorted(ranges, key=lambda one: (one.start_frame, one.end_frame)):
        if joined and one.start_frame < joined[-1].end_frame:
            joined[-1] = FrameRange(joined[-1].start_frame, max(joined[-1].end_frame, one.end_frame))
        else:
            joined.append(one)
    return joined


def behaviors_of(comparisons: Iterable[Comparison]) -> tuple[str, ...]:
    """The behaviours that were looked for in any of the videos, in order of appearance."""
    return tuple(dict.fromkeys(name for one in comparisons for name in one.behaviors))


def scored_mask(scored: Iterable[FrameRange] | None, num_frames: int) -> BoolArray:
    """bool (frames,): within the ranges, everywhere for None."""
    return np.ones(num_frames, np.bool_) if scored is None else _mask(scored, num_frames)


def _truth(labels: Iterable[Label], behavior: str, is_scored: BoolArray) -> tuple[FrameRange, ...]:
    return tuple(disjoint(cut((one.frames for one in labels if one.behavior == behavior), is_scored)))


def _found(bouts: Iterable[Bout], behavior: str, is_scored: BoolArray) -> tuple[Found, ...]:
    return tuple(
        Found(part, bout.confidence)
        for bout in sorted(bouts, key=lambda bout: (bout.start_frame, bout.end_frame))
        if bout.behavior == behavior and bout.start_frame < bout.end_frame
        for part in cut([FrameRange(bout.start_frame, bout.end_frame)], is_scored)
    )


def _mask(ranges: Iterable[FrameRange], num_frames: int) -> BoolArray:
    runs = np.array([(one.start_frame, one.end_frame) for one in ranges], np.int64).reshape(-1, 2)
    return mask_of(runs, num_frames)
