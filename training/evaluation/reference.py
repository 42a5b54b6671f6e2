"""The reference system's own numbers, step for step, so that results can be set beside published ones. Nothing else.

What is odd about them is meant: undefined counts as 0; a labelled range loses its last frame in frame scores, yet
counts it in overlaps; "overall" is no micro average but the mean of classes weighted by true frames; a class without
true bouts shows zeros whatever was found. The numbers to believe are in `frames`, `segments` and `detection`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.comparison import BoolArray, Comparison

THRESHOLDS = (0.3, 0.5, 0.7)
MIN_CONFIDENCE = 0.6


@dataclass(frozen=True, slots=True)
class Item:
    """A range as the reference's files have it: from ``start`` to ``end``, which frame scores leave out."""

    start: int
    end: int
    label: str
    confidence: float = 1.0


def frame_level(
    truth: Sequence[Item], found: Sequence[Item], num_frames: int, classes: Sequence[str]
) -> dict[str, Any]:
    """Per class, ``macro_avg`` and ``weighted_avg`` of one video."""
    scores: dict[str, Any] = {}
    for name in classes:
        scores[name] = _shares(*_counts(truth, found, num_frames, name))
    names = ("precision", "recall", "f1")
    support = sum(scores[name]["support"] for name in classes)
    scores["macro_avg"] = {key: float(np.mean([scores[name][key] for name in classes])) for key in names}
    scores["weighted_avg"] = {
        key: sum(scores[name][key] * scores[name]["support"] for name in classes) / support if support else 0.0
        for key in names
    }
    return scores


def micro_average(
    truth: Mapping[str, Sequence[Item]],
    found: Mapping[str, Sequence[Item]],
    num_frames: Mapping[str, int],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Per class over all videos, and ``overall``."""
    scores: dict[str, Any] = {}
    for name in classes:
        counts = [_counts(truth[video], found.get(video, ()), frames, name) for video, frames in num_frames.items()]
        scores[name] = _shares(*(sum(column) for column in zip(*counts, strict=True)))
    support = sum(scores[name]["support"] for name in classes)
    scores["overall"] = {
        key: sum(scores[name][key] * scores[name]["support"] for name in classes) / support if support else 0.0
        for key in ("precision", "recall", "f1")
    } | {"support": support}
    return scores


def temporal_iou(a: Item, b: Item) -> float:
    """Overlap of two ranges, both ends counted in."""
    shared = max(0, min(a.end, b.end) - max(a.start, b.start) + 1)
    return shared / ((a.end - a.start + 1) + (b.end - b.start + 1) - shared)


def matches(
    truth: Sequence[Item], found: Sequence[Item], min_iou: float, class_wise: bool = True
) -> list[tuple[int, int, float]]:
    """(place in ``found``, place in ``truth``, overlap), best overlap first, one to one."""
    pairs = [
        (temporal_iou(one, true), i, j)
        for i, one in enumerate(found)
        for j, true in enumerate(truth)
        if not class_wise or one.label == true.label
    ]
    chosen: list[tuple[int, int, float]] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for overlap, i, j in sorted((pair for pair in pairs if pair[0] >= min_iou), key=lambda pair: -pair[0]):
        if i not in used[0] and j not in used[1]:
            chosen.append((i, j, overlap))
            used[0].add(i)
            used[1].add(j)
    return chosen


def average_precision(truth: Sequence[Item], found: Sequence[Item], min_iou: float, class_wise: bool = True) -> float:
    """Classes pooled; 0 when there is nothing true or nothing found."""
    if not truth or not found:
        return 0.0
    free = set(range(len(truth)))
    hits = []
    for one in sorted(found, key=lambda item: -item.confidence):
        overlaps = [(temporal_iou(one, truth[j]), -j) for j in free if not class_wise or truth[j].label == one.label]
        overlap, place = max(overlaps, default=(-1.0, 0))
        is_hit = overlap >= min_iou
        if is_hit:
            free.remove(-place)
        hits.append(is_hit)
    true = np.cumsum(hits)
    recall = np.concatenate([[0.0], true / len(truth), [1.0]])
    precision = np.concatenate([[0.0], true / np.arange(1, len(hits) + 1), [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def temporal(
    truth: Sequence[Item], found: Sequence[Item], thresholds: Sequence[float] = THRESHOLDS, class_wise: bool = True
) -> dict[str, Any]:
    """``AP@t``, ``Precision@t``, ``Recall@t``, ``F1@t`` and ``class_metrics@t`` per threshold, ``mAP`` over them."""
    scores: dict[str, Any] = {}
    for threshold in thresholds:
        scores[f"AP@{threshold}"] = average_precision(truth, found, threshold, class_wise)
        hits = len(matches(truth, found, threshold, class_wise))
        precision, recall, f1 = _precision_recall_f1(hits, len(found), len(truth))
        scores |= {f"Precision@{threshold}": precision, f"Recall@{threshold}": recall, f"F1@{threshold}": f1}
        if class_wise:
            scores[f"class_metrics@{threshold}"] = _per_class(truth, found, threshold)
    scores["mAP"] = float(np.mean([scores[f"AP@{threshold}"] for threshold in thresholds]))
    return scores


def of_comparisons(comparisons: Sequence[Comparison], classes: Sequence[str]) -> dict[str, Any]:
    """What the reference would report of these videos: bouts of at least MIN_CONFIDENCE, frames and overlaps.

    Its label files count the last frame in and its predictions do not, and it reads both alike: kept here.
    """
    truth = {
        one.video: [Item(r.start_frame, r.end_frame - 1, n) for n in one.behaviors for r in one.truth[n]]
        for one in comparisons
    }
    found = {
        one.video: [
            Item(f.frames.start_frame, f.frames.end_frame, n, f.confidence)
            for n in one.behaviors
            for f in one.found[n]
            if f.confidence >= MIN_CONFIDENCE
        ]
        for one in comparisons
    }
    frames = {one.video: one.num_frames for one in comparisons}
    return {
        "micro_average": micro_average(truth, found, frames, classes),
        "videos": {video: frame_level(truth[video], found[video], frames[video], classes) for video in frames},
        "temporal": {video: temporal(truth[video], found[video]) for video in frames},
    }


def _per_class(truth: Sequence[Item], found: Sequence[Item], threshold: float) -> dict[str, Any]:
    scores = {}
    for name in dict.fromkeys(item.label for item in (*truth, *found)):
        true = [item for item in truth if item.label == name]
        seen = [item for item in found if item.label == name]
        if not true:
            scores[name] = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "ap": 0.0, "support": 0}
            continue
        precision, recall, f1 = _precision_recall_f1(len(matches(true, seen, threshold)), len(seen), len(true))
        ap = average_precision(true, seen, threshold)
        scores[name] = {"precision": precision, "recall": recall, "f1": f1, "ap": ap, "support": len(true)}
    return scores


def _counts(truth: Sequence[Item], found: Sequence[Item], num_frames: int, label: str) -> tuple[int, int, int]:
    true, seen = _mask(truth, num_frames, label), _mask(found, num_frames, label)
    return int((true & seen).sum()), int((~true & seen).sum()), int((true & ~seen).sum())


def _mask(items: Sequence[Item], num_frames: int, label: str) -> BoolArray:
    mask = np.zeros(num_frames, np.bool_)
    for item in items:
        if item.label == label:
            mask[item.start : item.end] = True
    return mask


def _shares(hits: int, false: int, missed: int) -> dict[str, float]:
    precision, recall, f1 = _precision_recall_f1(hits, hits + false, hits + missed)
    return {"precision": precision, "recall": recall, "f1": f1, "support": hits + missed}


def _precision_recall_f1(hits: int, found: int, true: int) -> tuple[float, float, float]:
    precision, recall = hits / found if found else 0.0, hits / true if true else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0
