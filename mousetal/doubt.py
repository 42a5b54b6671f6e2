"""Which frames nobody looked at leave a window's crop in doubt.

Between two looks the animal is taken to be where a straight way leads from one to the other (`track`), and as far out
as anything reaches that has moved there (`motion`), less what moved beside it on those looks. A frame on which that
would change the crop by more than ``MAX_LOSS`` is in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from mousetal.geometry import interpolate, ious, union
from mousetal.motion import Neighbourhood, Pictures, longer_side
from mousetal.plan import Plan
from mousetal.types import Float64Array

MAX_LOSS = 0.03  # of a crop, as one minus its overlap (IoU)
OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])  # edges times this grow as they move out
NOTHING = np.zeros(4)


def in_doubt(
    frames: Sequence[int],
    boxes: Mapping[int, Float64Array | None],
    plan: Plan,
    pictures: Pictures,
    scene_starts: set[int],
) -> set[int]:
    """Which of a window's frames must be looked at before its crop is to be trusted, at most one between any two looks.

    ``boxes`` are those of the looks so far, in the order of frames: on the window's frames, and one before and after
    them. Where the animal is on one of two looks only, the frame in the middle is asked for, whatever the crop.
    ``scene_starts`` are frames that begin a scene; a look lies on either side of each.
    """
    asked: set[int] = set()
    ways: dict[tuple[int, int], tuple[list[int], Float64Array]] = {}  # between two looks: the frames, boxes (n, 4)
    for start, end in pairwise(boxes):
        skipped, a, b = [frame for frame in frames if start < frame < end], boxes[start], boxes[end]
        if not skipped or (a is None and b is None):
            continue
        if a is None or b is None:
            asked.add(skipped[len(skipped) // 2])
            continue
        times = plan.info.pts_seconds[[start, *skipped, end]]
        ways[start, end] = skipped, interpolate(a, b, (times[1:-1, None] - times[0]) / (times[-1] - times[0]))
    if not ways:
        return asked
    passed = np.concatenate([way for _, way in ways.values()])
    seen = [box for frame in frames if (box := boxes.get(frame)) is not None]
    known = union(seen or passed)
    looks = {look: box for look, box in boxes.items() if box is not None}
    around = Neighbourhood(union([known, *passed]), looks, pictures)
    beside = _besides(boxes, around, scene_starts)
    for (start, end), (skipped, way) in ways.items():
        else_moves = np.maximum(beside.get(start, NOTHING), beside.get(end, NOTHING))
        out = np.maximum(way * OUTWARD, known * OUTWARD)
        for place, frame in enumerate(skipped):
            moved = around.moved(frame, start, end)
            if moved is not None:
                out[place] = np.maximum(out[place], moved * OUTWARD - else_moves)
        losses = 1 - ious(_squares(out * OUTWARD, plan), _squares(known[None], plan))
        worst = int(losses.argmax())
        if losses[worst] > MAX_LOSS:
            asked.add(skipped[worst])
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


def _squares(boxes_xyxy: Float64Array, plan: Plan) -> Float64Array:
    """`geometry.square` of boxes (n, 4) before it is rounded to whole pixels, which would pass for movement where
    animals are small.
    """
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    half = longer_side(boxes_xyxy)[:, None] * (0.5 + plan.classifier.crop_padding)
    return np.concatenate([centre - half, centre + half], axis=1)
