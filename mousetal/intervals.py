"""From window scores to bouts: pure functions over frame ranges, one visible line of steps.

    scores     [--.1--)   [--.9--)            windows overlap; each speaks loudest for its middle
                   [--.8--)   [--.2--)
    posterior  .1 .2 .4 .6 .8 .9 .9 .6 .3 .2  one probability per class and frame
    bout                [--------------)      starts at `threshold`, lasts down to `low_threshold`

Because a window's say falls off towards its edges, the posterior moves smoothly from one window's score to the next and
crosses a threshold between window centres: boundaries are not tied to the window grid.

Runs of frames are int64 arrays (n, 2) of half-open ``[start, end)``, sorted and disjoint. NaN posteriors (frames that
no scored window covers) belong to no bout, and no gap over them is bridged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mousetal.geometry import union
from mousetal.types import (
    Bout,
    BoxInt,
    ClassifierSpec,
    Float32Array,
    Float64Array,
    FrameBox,
    FrameRange,
    Int64Array,
    WindowScore,
)

BoolArray = npt.NDArray[np.bool_]

SLACK_S = 1e-6  # what times may be off in floating point: three frames of 0.1 s last 0.3 s


def frame_posteriors(scores: Sequence[WindowScore], num_frames: int, num_classes: int) -> Float32Array:
    """Each class's probability at each source frame: float32 (num_frames, num_classes), NaN where nothing was scored.

    The mean of the windows that speak for a frame, weighted by how near the frame is to the window's centre: the
    weight falls linearly from the middle to just above zero at the window's first and last frame.
    """
    weighted = np.zeros((num_frames, num_classes), np.float64)
    weights = np.zeros(num_frames, np.float64)
    for score in scores:
        frames = score.window.frames
        if not score.is_scored or frames.start_frame >= num_frames:
            continue
        weight = _triangle(len(frames))[: num_frames - frames.start_frame]
        covered = slice(frames.start_frame, frames.start_frame + len(weight))
        weighted[covered] += weight[:, None] * score.probabilities
        weights[covered] += weight
    weighted[weights == 0] = np.nan
    weights[weights == 0] = 1
    return (weighted / weights[:, None]).astype(np.float32)


def find_bouts(
    posteriors: Float32Array,
    classifier: ClassifierSpec,
    pts_seconds: Float64Array,
    boxes: Sequence[FrameBox] = (),
) -> tuple[Bout, ...]:
    """The bouts of every class but the background, sorted by start, by the classifier's rules.

    ``posteriors`` is (frames, classes), ``pts_seconds`` (frames,) the time of each frame. Bouts of different classes do
    not overlap unless the classifier is multi-label: a frame that two claim goes to the likelier one.
    """
    edges = frame_edges(pts_seconds)
    rules = {label: rule for label, rule in enumerate(classifier.rules) if label != classifier.background}
    runs = {
        label: bridge_gaps(hysteresis(p, rule.threshold, rule.low_threshold), edges, rule.bridge_gap_s, ~np.isnan(p))
        for (label, rule), p in zip(rules.items(), posteriors[:, list(rules)].T, strict=True)
    }
    if not classifier.is_multi_label:
        runs = resolve_overlaps(runs, posteriors)
    box_frames = np.array([box.frame_index for box in boxes], np.int64)
    bouts = []
    for label, rule in rules.items():
        posterior = posteriors[:, label]
        kept = drop_short(keep_reaching(runs[label], posterior, rule.threshold), edges, rule.min_duration_s)
        for start, end in kept.tolist():
            first, last = np.searchsorted(box_frames, [start, end])
            bouts.append(_bout(classifier.classes[label], posterior, start, end, boxes[first:last]))
    return tuple(sorted(bouts, key=lambda bout: (bout.start_frame, bout.end_frame, bout.behavior)))


def hysteresis(posterior: Float32Array, threshold: float, low_threshold: float) -> Int64Array:
    """Runs where the posterior stays at or above ``low_threshold`` and somewhere reaches ``threshold``."""
    return keep_reaching(runs_of(posterior >= min(threshold, low_threshold)), posterior, threshold)


def keep_reaching(runs: Int64Array, posterior: Float32Array, threshold: float) -> Int64Array:
    """Only the runs in which the posterior reaches ``threshold`` on at least one frame."""
    reached = np.concatenate([[0], np.cumsum(posterior >= threshold)])
    return runs[reached[runs[:, 1]] > reached[runs[:, 0]]]


def bridge_gaps(runs: Int64Array, edges_seconds: Float64Array, max_gap_s: float, is_scored: BoolArray) -> Int64Array:
    """Neighbouring runs as one where the gap between them lasts at most ``max_gap_s`` and was scored throughout."""
    if len(runs) < 2:
        return runs
    gap_starts, gap_ends = runs[:-1, 1], runs[1:, 0]
    unscored = np.concatenate([[0], np.cumsum(~is_scored)])
    is_long = edges_seconds[gap_ends] - edges_seconds[gap_starts] > max_gap_s + SLACK_S
    is_open = is_long | (unscored[gap_ends] > unscored[gap_starts])
    return np.stack([runs[np.append(True, is_open), 0], runs[np.append(is_open, True), 1]], axis=1)


def resolve_overlaps(runs: dict[int, Int64Array], posteriors: Float32Array) -> dict[int, Int64Array]:
    """The same runs, disjoint between classes: a frame that several claim goes to the one with the highest posterior.

    Ties go to the class that comes first. A run inside which another class wins is split in two.
    """
    labels = list(runs)
    claims = np.full((len(posteriors), len(labels)), -1.0, np.float32)
    for column, label in enumerate(labels):
        mask = mask_of(runs[label], len(posteriors))
        claims[mask, column] = posteriors[mask, label]
    if not labels:
        return {}
    winner = np.where(claims.max(axis=1) >= 0, claims.argmax(axis=1), -1)
    return {label: runs_of(winner == column) for column, label in enumerate(labels)}


def drop_short(runs: Int64Array, edges_seconds: Float64Array, min_duration_s: float) -> Int64Array:
    """Only the runs that last at least ``min_duration_s``."""
    return runs[edges_seconds[runs[:, 1]] - edges_seconds[runs[:, 0]] >= min_duration_s - SLACK_S]


def frame_edges(pts_seconds: Float64Array) -> Float64Array:
    """When each frame begins, and when the last one ends, (frames + 1,); the last is taken to last as long as most."""
    if len(pts_seconds) == 0:
        return np.zeros(1, np.float64)
    usual = float(np.median(np.diff(pts_seconds))) if len(pts_seconds) > 1 else 0.0
    return np.append(pts_seconds, pts_seconds[-1] + usual)


def runs_of(mask: BoolArray) -> Int64Array:
    """The runs of True in ``mask``, int64 (n, 2)."""
    padded = np.concatenate([[False], mask, [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).astype(np.int64).reshape(-1, 2)


def mask_of(runs: Int64Array, num_frames: int) -> BoolArray:
    """True on the frames that ``runs`` cover, the inverse of `runs_of`; what is past the end is cut off."""
    depth = np.zeros(num_frames + 1, np.int64)
    np.add.at(depth, np.minimum(runs[:, 0], num_frames), 1)
    np.add.at(depth, np.minimum(runs[:, 1], num_frames), -1)
    return np.cumsum(depth[:-1]) > 0


def merge(ranges: Iterable[FrameRange]) -> list[FrameRange]:
    """The frames that any of the ranges holds, as few ranges as possible, sorted.

    [----)   [---)         [--------)[---)
       [--)      [---)  ->  [----)   [-------)
    """
    merged: list[FrameRange] = []
    for one in sorted(ranges, key=lambda one: one.start_frame):
        if merged and one.start_frame <= merged[-1].end_frame:
            merged[-1] = FrameRange(merged[-1].start_frame, max(merged[-1].end_frame, one.end_frame))
        else:
            merged.append(one)
    return merged


def temporal_iou(a: FrameRange, b: FrameRange) -> float:
    """Frames that both hold over frames that either holds, 0..1."""
    shared = a.overlap(b)
    return shared / (len(a) + len(b) - shared)


def match(found: Sequence[FrameRange], truth: Sequence[FrameRange], min_iou: float) -> list[tuple[int, int]]:
    """Pairs (place in ``found``, place in ``truth``), one to one, best temporal IoU first, none below ``min_iou``.

    Ranges that share no frame are never paired.
    """
    pairs = [(temporal_iou(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(truth) if a.overlap(b)]
    matched: list[tuple[int, int]] = []
    free_found, free_truth = set(range(len(found))), set(range(len(truth)))
    for overlap, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if overlap >= min_iou and i in free_found and j in free_truth:
            matched.append((i, j))
            free_found.remove(i)
            free_truth.remove(j)
    return matched


def inherit_flags(bouts: Iterable[Bout], scores: Sequence[WindowScore]) -> tuple[Bout, ...]:
    """The bouts, each with the flags of the scored windows that speak for its frames added."""
    flagged = [score for score in scores if score.flags and score.is_scored]
    starts = np.array([score.window.frames.start_frame for score in flagged], np.int64)
    ends = np.array([score.window.frames.end_frame for score in flagged], np.int64)
    inherited = []
    for bout in bouts:
        within = np.flatnonzero((starts < bout.end_frame) & (ends > bout.start_frame)).tolist()
        flags = sorted({flag for place in within for flag in flagged[place].flags} - {*bout.flags})
        inherited.append(replace(bout, flags=(*bout.flags, *flags)))
    return tuple(inherited)


def _triangle(length: int) -> Float64Array:
    from_centre = np.abs(np.arange(length, dtype=np.float64) - (length - 1) / 2)
    weight: Float64Array = 1 - from_centre / (length / 2 + 0.5)
    return weight


def _bout(behavior: str, posterior: Float32Array, start: int, end: int, boxes: Sequence[FrameBox]) -> Bout:
    inside = posterior[start:end]
    return Bout(
        behavior,
        start,
        end,
        confidence=float(inside.max()),
        mean_probability=float(inside.mean()),
        box_xyxy=_outer_box(boxes),
        flags=_edge_flags(posterior, start, end),
    )


def _edge_flags(posterior: Float32Array, start: int, end: int) -> tuple[str, ...]:
    """What may have cut the bout short: the video's start or end, or frames that were not scored."""
    flags = {
        "touches_start": start == 0,
        "touches_end": end == len(posterior),
        "near_not_scored": bool(np.isnan(posterior[max(0, start - 1) : end + 1]).any()),
    }
    return tuple(flag for flag, holds in flags.items() if holds)


def _outer_box(boxes: Sequence[FrameBox]) -> BoxInt | None:
    if not boxes:
        return None
    whole = union([box.box_xyxy for box in boxes])
    x1, y1 = np.floor(whole[:2]).astype(int).tolist()
    x2, y2 = np.ceil(whole[2:]).astype(int).tolist()
    return x1, y1, x2, y2
