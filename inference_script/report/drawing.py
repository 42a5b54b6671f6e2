"""The geometry of the report's own figures: where the animal was, how long bouts last. See `mousetal.svg` for the rest.

Positions are percentages, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.types import FrameBox

MAP_CELLS = 32


@dataclass(frozen=True, slots=True)
class Cell:
    """A square of the map and how much of the time the animal's centre was in it (0..1, the busiest cell is 1)."""

    x: int
    y: int
    share: float


def occupancy(boxes: Sequence[FrameBox], width: int, height: int) -> tuple[list[Cell], int, int]:
    """Where the animal spent its time: cells of a grid over the picture, and the grid's columns and rows."""
    side = max(width, height) / MAP_CELLS
    columns, rows = max(1, math.ceil(width / side)), max(1, math.ceil(height / side))
    if not boxes:
        return [], columns, rows
    corners = np.asarray([box.box_xyxy for box in boxes], np.float64)
    x = np.clip((corners[:, 0] + corners[:, 2]) / 2 / side, 0, columns - 1).astype(int)
    y = np.clip((corners[:, 1] + corners[:, 3]) / 2 / side, 0, rows - 1).astype(int)
    visits = np.zeros((rows, columns), np.int64)
    np.add.at(visits, (y, x), 1)
    # The root keeps rare visits visible beside the corner where the animal slept.
    shares = np.sqrt(visits / visits.max())
    return [Cell(int(c), int(r), round(float(shares[r, c]), 2)) for r, c in np.argwhere(visits)], columns, rows


def log_percent(seconds: float, low_s: float, high_s: float) -> float:
    """Where a duration lies on a logarithmic axis from ``low_s`` to ``high_s``, in percent."""
    inside = min(max(seconds, low_s), high_s)
    return 100 * math.log(inside / low_s) / math.log(high_s / low_s)
