"""Window scores, boxes and detections as flat named arrays, the shape in which they go to disk, and back.

The names are those of an npz: one row per window, box or detection. A window without a crop has ``has_crop`` False and
zeros in ``crop_xyxy``; flags are joined by semicolons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mousetal.plan import WindowResult
from mousetal.types import BoxInt, Detections, FrameBox, FrameRange, Window, WindowScore

Arrays = dict[str, npt.NDArray[Any]]
FLAG_SEPARATOR = ";"

Rows = TypeVar("Rows", tuple[Any, ...], npt.NDArray[Any])


def pack_scores(scores: Sequence[WindowScore], num_classes: int) -> Arrays:
    """Arrays of one row per window: ranges, sampled frames, probabilities (windows, classes), crop boxes, flags."""
    windows = [score.window for score in scores]
    span = max((len(window.frame_indices) for window in windows), default=0)
    return {
        "window_index": np.array([window.index for window in windows], np.int64),
        "start_frame": np.array([window.frames.start_frame for window in windows], np.int64),
        "end_frame": np.array([window.frames.end_frame for window in windows], np.int64),
        "frame_indices": np.array([window.frame_indices for window in windows], np.int64).reshape(len(windows), span),
        "probabilities": np.array([score.probabilities for score in scores], np.float32).reshape(-1, num_classes),
        "has_crop": np.array([score.crop_xyxy is not None for score in scores], np.bool_),
        "crop_xyxy": np.array([score.crop_xyxy or (0, 0, 0, 0) for score in scores], np.int64).reshape(-1, 4),
        "flags": _texts([FLAG_SEPARATOR.join(score.flags) for score in scores]),
    }


def unpack_scores(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[WindowScore, ...]:
    """The window scores that `pack_scores` was given."""
    columns = (
        arrays["window_index"].tolist(),
        arrays["frame_indices"].tolist(),
        arrays["start_frame"].tolist(),
        arrays["end_frame"].tolist(),
        arrays["has_crop"].tolist(),
        arrays["crop_xyxy"].tolist(),
        arrays["flags"].tolist(),
        arrays["probabilities"],
    )
    return tuple(
        WindowScore(
            window=Window(index, tuple(frames), FrameRange(start, end)),
            crop_xyxy=_box(crop) if has_crop else None,
            probabilities=np.array(probabilities, np.float32),
            flags=tuple(flags.split(FLAG_SEPARATOR)) if flags else (),
        )
        for index, frames, start, end, has_crop, crop, flags, probabilities in zip(*columns, strict=True)
    )


def pack_boxes(boxes: Sequence[FrameBox]) -> Arrays:
    """Arrays of one row per sampled frame on which the animal's place is known."""
    return {
        "box_frame": np.array([box.frame_index for box in boxes], np.int64),
        "box_xyxy": np.array([box.box_xyxy for box in boxes], np.float64).reshape(-1, 4),
        "box_score": np.array([box.score for box in boxes], np.float64),
        "box_source": _texts([box.source for box in boxes]),
    }


def unpack_boxes(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[FrameBox, ...]:
    """The boxes that `pack_boxes` was given."""
    columns = (arrays[name].tolist() for name in ("box_frame", "box_xyxy", "box_score", "box_source"))
    return tuple(
        FrameBox(frame, (box[0], box[1], box[2], box[3]), score, source)
        for frame, box, score, source in zip(*columns, strict=True)
    )


def pack_detections(detections: Sequence[Detections]) -> Arrays:
    """Arrays of one row per frame (how many boxes it has) and one row per box, in the same order."""
    none = Detections.empty(0)
    every = [*detections, none]  # concatenate wants at least one
    return {
        "detection_frame": np.array([found.frame_index for found in detections], np.int64),
        "detection_count": np.array([len(found) for found in detections], np.int64),
        "detection_skipped": np.array([found.is_skipped for found in detections], np.bool_),
        "detection_begins_scene": np.array([found.begins_scene for found in detections], np.bool_),
        "detection_xyxy": np.concatenate([found.boxes_xyxy for found in every]),
        "detection_score": np.concatenate([found.scores for found in every]),
        "detection_label": np.concatenate([found.labels for found in every]),
    }


def unpack_detections(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Detections, ...]:
    """The detections that `pack_detections` was given."""
    boxes, scores, labels = (
        _shared_out(arrays[name], arrays["detection_count"])
        for name in ("detection_xyxy", "detection_score", "detection_label")
    )
    frames, skipped, starts = (
        arrays[name].tolist() for name in ("detection_frame", "detection_skipped", "detection_begins_scene")
    )
    return tuple(Detections(*found) for found in zip(frames, boxes, scores, labels, skipped, starts, strict=True))


def pack_results(results: Sequence[WindowResult]) -> Arrays:
    """Arrays of windows with what became known with each: scores, detections, missing frames. At least one result."""
    scores = [result.score for result in results]
    gaps = [gap for result in results for gap in result.missing]
    return {
        **pack_scores(scores, len(scores[0].probabilities)),
        **pack_detections([found for result in results for found in result.detections]),
        "detections_per_window": np.array([len(result.detections) for result in results], np.int64),
        "missing": np.array([(gap.start_frame, gap.end_frame) for gap in gaps], np.int64).reshape(-1, 2),
        "missing_per_window": np.array([len(result.missing) for result in results], np.int64),
    }


def unpack_results(arrays: Mapping[str, npt.NDArray[Any]]) -> list[WindowResult]:
    """The results that `pack_results` was given. Raises KeyError, TypeError or ValueError for other arrays."""
    scores = unpack_scores(arrays)
    gaps = tuple(FrameRange(start, end) for start, end in arrays["missing"].tolist())
    detections = _shared_out(unpack_detections(arrays), arrays["detections_per_window"])
    missing = _shared_out(gaps, arrays["missing_per_window"])
    return [WindowResult(*parts) for parts in zip(scores, detections, missing, strict=True)]


def _shared_out(items: Rows, counts: npt.NDArray[np.int64]) -> list[Rows]:
    """The first ``counts[0]`` items, or rows of an array, then the next ``counts[1]``, and so on."""
    ends: list[int] = np.cumsum(counts).tolist()
    return [items[start:end] for start, end in pairwise([0, *ends])]


def _texts(texts: list[str]) -> npt.NDArray[np.str_]:
    return np.array(texts, np.str_) if texts else np.zeros(0, "<U1")


def _box(values: Sequence[int]) -> BoxInt:
    return (int(values[0]), int(values[1]), int(values[2]), int(values[3]))
