"""The figures of the report, per video and over all videos: counts, durations, shares of the scored time, latencies.

Everything is counted over *scored* time: seconds in which the animal was seen and the frames could be decoded. A video
half of which is damaged then shows the same rate as an intact one, and not half of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.seconds import bout_seconds, seconds_at
from mousetal.types import Float64Array, VideoInfo, VideoResult


@dataclass(frozen=True, slots=True)
class BehaviorNumbers:
    """What a biologist writes down of one behaviour in one video, or in several together.

    ``percent`` and ``per_minute`` relate to the scored time. ``latency_s`` runs from the first frame to the first bout.
    None means that there is nothing to compute it from (no bout, or no scored second).
    """

    behavior: str
    bouts: int
    total_s: float
    percent: float | None
    per_minute: float | None
    mean_s: float | None
    median_s: float | None
    longest_s: float | None
    latency_s: float | None


def frame_edges(info: VideoInfo) -> Float64Array:
    """Seconds at which each frame begins, and where the last one ends: float64 (num_frames + 1,)."""
    return np.append(info.pts_seconds, seconds_at(info, info.num_frames))


def scored_seconds(result: VideoResult) -> float:
    """Seconds of the video for which something can be said: all but the ranges in ``not_scored``."""
    edges = frame_edges(result.info)
    counts = np.ones(len(edges) - 1, dtype=bool)
    for hole in result.not_scored:
        counts[hole.frames.start_frame : hole.frames.end_frame] = False
    return float(np.diff(edges)[counts].sum())


def behaviors(result: VideoResult) -> tuple[str, ...]:
    """The classes that the report speaks of, in the model's order: all but the background.

    The reference's way can make intervals of the background too; it is then shown rather than hidden.
    """
    classifier, found = result.classifier, {bout.behavior for bout in result.bouts}
    return tuple(name for i, name in enumerate(classifier.classes) if i != classifier.background or name in found)


def summarise(behavior: str, durations_s: Sequence[float], latency_s: float | None, scored_s: float) -> BehaviorNumbers:
    """The numbers of one behaviour from the durations of its bouts."""
    total = float(sum(durations_s))
    return BehaviorNumbers(
        behavior=behavior,
        bouts=len(durations_s),
        total_s=total,
        percent=100 * total / scored_s if scored_s > 0 else None,
        per_minute=60 * len(durations_s) / scored_s if scored_s > 0 else None,
        mean_s=statistics.fmean(durations_s) if durations_s else None,
        median_s=statistics.median(durations_s) if durations_s else None,
        longest_s=max(durations_s, default=None),
        latency_s=latency_s,
    )


def of_video(result: VideoResult) -> tuple[BehaviorNumbers, ...]:
    """One entry per behaviour of the model, those without a bout included: a zero is a result."""
    scored_s = scored_seconds(result)
    rows = []
    for behavior in behaviors(result):
        spans = [bout_seconds(result.info, bout) for bout in result.bouts if bout.behavior == behavior]
        latency_s = min((start for start, _ in spans), default=None)
        rows.append(summarise(behavior, [end - start for start, end in spans], latency_s, scored_s))
    return tuple(rows)
