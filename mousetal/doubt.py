"""Which frames nobody looked at leave a window's crop in doubt.

Between two looks the animal is taken to be where a straight way leads from one to the other (`track`), and as far out
as anything reaches that has moved there (`motion`), less what moved beside it on those looks. A frame on which that
would change the crop by more than ``MAX_LOSS`` is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from mousetal.geometry import interpolate, iou
from mousetal.motion import Neighbourhood, longer_side
from mousetal.plan import Plan
from mousetal.types import Float64Array, UInt8Array

MAX_LOSS = 0.03  # of a crop, as one minus its overlap (IoU)
OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])  # edges times this grow as they move out
NOTHING = np.zeros(4)


def in_doubt(
    frames: Sequence[int],
    boxes: Mapping[int, Float64Array | None],
    plan: Plan,
    image_of: Callable[[int], UInt8Array],
    scene_starts: set[int],
) -> set[int]:
    """Which of a window's frames must be looked at before its crop is to be trusted, at most one between any two looks.

    ``boxes`` are those of the looks so far, in the order of frames: on the window's frames, and one before and after
    them. Where the animal is on one of two looks only, the frame in the middle is asked for, whatever the crop.
    ``scene_starts`` are frames that begin a scene; a look lies on either side of each.
    """
    asked: set[int] = set()
    between: dict[tuple[int, int], list[int]] = {}
    ways: dict[int, Float64Array] = {}
    for start, end in pairwise(boxes):
        skipped, a, b = [frame for frame in frames if start < frame < end], boxes[start], boxes[end]
        if not skipped or (a is None and b is None):
            continue
        if a is None or b is None:
            asked.add(skipped[len(skipped) // 2])
            continue
        times = plan.info.pts_seconds[[start, *skipped, end]]
        for frame, share in zip(skipped, (times[1:-1] - times[0]) / (times[-1] - times[0]), strict=True):
            ways[frame] = interpolate(a, b, float(share))
        between[start, end] = skipped
    if not between:
        return asked
    seen = [box for frame in frames if (box := boxes.get(frame)) is not None]
    known = _outermost(seen or list(ways.values()))
    looks = {look: box for look, box in boxes.items() if box is not None}
    whole = _outermost([known, *ways.values()])
    around = Neighbourhood(whole, looks, (plan.info.width, plan.info.height), image_of)
    beside = _besides(boxes, around, scene_starts)
    for (start, end), skipped in between.items():
        else_moves = np.maximum(beside.get(start, NOTHING), beside.get(end, NOTHING))
        losses = {}
        for frame in skipped:
            moved = around.moved(frame, start, end)
            there = [known, ways[frame]] if moved is None else [known, ways[frame], moved - else_moves * OUTWARD]
            losses[frame] = 1 - iou(*(_square(box, plan.classifier.crop_padding) for box in (known, _outermost(there))))
        worst = max(losses, key=lambda frame: losses[frame])
        if losses[worst] > MAX_LOSS:
            asked.add(worst)
    return asked


def _besides(
    boxes: Mapping[int, Float64Array | None], around: Neighbourhood, scene_starts: set[int]
) -> dict[int, Float64Array]:
    """How far beyond the animal's box, on each edge, something moves on frames that were looked at: a tail, a mirror
    image in the wall. On the frames beside it as much of what moves is taken for that.
    """
    looks, found = list(boxes), {}
    for before, frame, after in zip(looks, looks[1:], looks[2:], strict=False):
        box = boxes[frame]
        if box is not None and not any(before < start <= after for start in scene_starts):
            moved = around.moved(frame, before, after)
            found[frame] = NOTHING if moved is None else np.maximum(0, (moved - box) * OUTWARD)
    return found


def _outermost(boxes_xyxy: Sequence[Float64Array]) -> Float64Array:
    edges: Float64Array = np.max(np.asarray(boxes_xyxy) * OUTWARD, axis=0) * OUTWARD
    return edges


def _square(box_xyxy: Float64Array, padding: float) -> Float64Array:
    """`geometry.square` before it is rounded to whole pixels, which would pass for movement where animals are small."""
    centre, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, longer_side(box_xyxy) * (0.5 + padding)
    return np.concatenate([centre - half, centre + half])
