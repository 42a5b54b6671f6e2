"""The reference system's predictions file: a JSON array of `frame_range`, `label`, `confidence`, `bbox`, indent 4.

The bytes are what that system's `json.dump` gives: no newline at the end. A frame range there ends one past the last
frame, though it is called inclusive, so ours are written as they are. With `REFERENCE_COMPAT` the content is that
system's too, made from the windows by its rules; otherwise it is our bouts.
"""

from __future__ import annotations

import json
from typing import Any

from mousetal.reference import segments_of
from mousetal.types import VideoResult

INDENT = 4


def records(result: VideoResult) -> list[dict[str, Any]]:
    """The array of one video, in order of time. A bout without any box gets the whole frame, as it did there."""
    whole = (0, 0, result.info.width, result.info.height)
    if result.reference_compat:
        return [
            _record(found.start_frame, found.end_frame, found.label, found.confidence, found.box_xyxy or whole)
            for found in segments_of(result.scores)
        ]
    label = {name: number for number, name in enumerate(result.classifier.classes)}
    return [
        _record(bout.start_frame, bout.end_frame, label[bout.behavior], bout.confidence, bout.box_xyxy or whole)
        for bout in sorted(result.bouts, key=lambda bout: (bout.start_frame, bout.end_frame))
    ]


def text(result: VideoResult) -> str:
    """The file of one video."""
    return json.dumps(records(result), indent=INDENT)


def _record(start: int, end: int, label: int, confidence: float, box: tuple[int, int, int, int]) -> dict[str, Any]:
    return {"frame_range": [start, end], "label": label, "confidence": confidence, "bbox": list(box)}
