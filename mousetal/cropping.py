"""Where a window is cut out of its frames, and what is said about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mousetal.geometry import reference_crop, square, union
from mousetal.plan import Plan
from mousetal.track import Sighting
from mousetal.types import BoxInt, Detections, Int64Array, UInt8Array

MAX_MISSING = 1 / 4  # of a window's frames; with more of them undecodable the window is not scored


def place(sightings: Sequence[Sighting], plan: Plan) -> tuple[BoxInt | None, tuple[str, ...]]:
    """The square around the animal over all frames of a window, None when it was on none; and flags.

    In the reference's way it is the oblong around every box of every frame, the whole frame where there is none.
    """
    if plan.reference_compat:
        threshold, padding = plan.detector.score_threshold, plan.classifier.crop_padding
        found = [box for one in sightings for box in _reference_boxes(one.detections, threshold)]
        return reference_crop(found, plan.info.width, plan.info.height, padding), ()
    boxes = [one.box for one in sightings if one.box is not None]
    if not boxes:
        return None, ("no_animal",)
    holds = {
        "borrowed_box": any(one.is_borrowed for one in sightings),
        "missing_box": len(boxes) < len(sightings),
        "ignored_box": any(one.num_ignored for one in sightings),
        "scene_cut": any(one.detections.begins_scene for one in sightings[1:]),
    }
    crop = square(union([box.box_xyxy for box in boxes]), plan.classifier.crop_padding)
    return crop, tuple(flag for flag in holds if holds[flag])


def fill_missing(images: Sequence[UInt8Array | None]) -> list[UInt8Array] | None:
    """All images, a missing one repeating the one before (or the first there is); None when too many are missing."""
    there = [image for image in images if image is not None]
    if len(images) - len(there) > MAX_MISSING * len(images):
        return None
    filled, last = [], there[0]
    for image in images:
        last = last if image is None else image
        filled.append(last)
    return filled


def _reference_boxes(found: Detections, score_threshold: float) -> Int64Array:
    """A frame's boxes as the reference system's detector returns them: whole pixels, half to even, none below 0."""
    kept = found.boxes_xyxy[found.scores >= np.float32(score_threshold)]
    return np.rint(kept).clip(min=0).astype(np.int64)
