"""Which boxes of a track are to be doubted: of an odd size, after a jump, unlike their neighbours.

Boxes made without a labeller are many; what matters is that the ones kept are right. Every test looks at a box and at
what was seen just before and after it, so that slow changes (an animal that rears, walks to the far end) pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mousetal.geometry import interpolate, iou
from mousetal.types import Float64Array, FrameBox

AROUND_S = 3.0  # seconds before and after, over which sizes are compared
ODD_SIZE = 1.8  # times larger or smaller than usual around it
NEAR_S = 0.6  # seconds within which a neighbour tells where the animal must be
JUMP_SIDES = 1.5  # of the box's longer side: how far from there it may be
NEIGHBOUR_IOU = 0.35  # with the place between its neighbours


def doubts(boxes: Sequence[FrameBox], pts_seconds: Float64Array) -> tuple[str, ...]:
    """What is odd about each box, in the order of ``boxes`` (by frame); empty for a good one."""
    if not boxes:
        return ()
    corners = np.array([box.box_xyxy for box in boxes], np.float64)
    seconds = np.array([pts_seconds[box.frame_index] for box in boxes])
    areas = np.maximum(1.0, (corners[:, 2:] - corners[:, :2]).prod(axis=1))
    return tuple(_doubt(number, boxes, corners, seconds, areas) for number in range(len(boxes)))


def _doubt(number: int, boxes: Sequence[FrameBox], corners: np.ndarray, seconds: np.ndarray, areas: np.ndarray) -> str:
    if boxes[number].source != "detected":
        return "not seen"
    around = np.abs(seconds - seconds[number]) <= AROUND_S
    usual, whole = np.median(areas[around]), np.median(areas)
    if not usual / ODD_SIZE <= areas[number] <= usual * ODD_SIZE or areas[number] > whole * ODD_SIZE**2:
        return "size"
    near = [other for other in (number - 1, number + 1) if 0 <= other < len(boxes)]
    near = [other for other in near if abs(seconds[other] - seconds[number]) <= NEAR_S]
    if not near:
        return "alone"
    expected = corners[near[0]]
    if len(near) == 2:
        share = (seconds[number] - seconds[near[0]]) / (seconds[near[1]] - seconds[near[0]])
        expected = interpolate(corners[near[0]], corners[near[1]], share)
    moved = np.hypot(*((corners[number, :2] + corners[number, 2:] - expected[:2] - expected[2:]) / 2))
    if moved > JUMP_SIDES * (corners[number, 2:] - corners[number, :2]).max():
        return "jump"
    if len(near) == 2 and iou(corners[number], expected) < NEIGHBOUR_IOU:
        return "neighbours"
    return ""
