"""Where something moves around an animal, from the pixels alone: how far it may reach on frames nobody looked at.

    around = Neighbourhood(box_xyxy, {frame: box}, (width, height), image_of)
    around.moved(frame, before, after)        # the box of what is there and on neither of the two other frames

Outside the animal's boxes on two frames lies the ground on both. What differs from both of them on a frame between is
therefore something that has come and gone: the animal, put further out than on either. Frames are compared as small
grey pictures, on which a longer side of the animal is `POINTS` wide. What is less than three points wide is left out (a
thin tail, noise), and what differs little from the ground compared with the animal (a shadow, a mirror image).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from mousetal.types import Float64Array, UInt8Array

POINTS = 24  # to the animal's longer side: its outline to 4 % of it
DIFFERENT = 10  # grey levels; the noise of a camera is well below, once it is averaged over a point
LIKE_THE_ANIMAL = 0.15  # of the animal's own contrast to the ground, below which it is a shadow or a mirror image
REACH = 0.75  # of the animal's longer side: how far from the box anything is looked for
SPARE = 4  # pixels a side that are averaged to a point at most: more would tell no more and cost as much as a look
OPENING = np.ones((3, 3), np.uint8)


class Neighbourhood:
    """What surrounds ``box_xyxy`` (4,) in pixels, which holds boxes of one animal.

    ``looks`` are its boxes on the frames that the detector looked at, one or more, ``frame_size`` is (width, height) of
    the video, and ``image_of`` gives a frame's pixels, uint8 (height, width, 3). Each frame is made small when it is
    first asked for.
    """

    def __init__(
        self,
        box_xyxy: Float64Array,
        looks: Mapping[int, Float64Array],
        frame_size: tuple[int, int],
        image_of: Callable[[int], UInt8Array],
    ) -> None:
        side = float(np.median([longer_side(box) for box in looks.values()]))
        reach = REACH * side
        last = np.array(frame_size) - 1
        start = np.floor(box_xyxy[:2] - reach).astype(int).clip(0, last)
        end = np.ceil(box_xyxy[2:] + reach).astype(int).clip(start + 1, last + 1)
        scale = max(1.0, side / POINTS)  # pixels to a point
        step = max(1, int(scale) // SPARE)
        self._rows, self._columns = (slice(start[axis], end[axis], step) for axis in (1, 0))
        points = np.maximum(1, np.rint((end - start) / scale)).astype(int)
        self._size: tuple[int, int] = tuple(points.tolist())
        self._corner, self._pixels = np.tile(start, 2), np.tile((end - start) / points, 2)
        self._image_of = image_of
        self._small: dict[int, UInt8Array] = {}
        contrast = float(np.median([self._contrast(frame, box) for frame, box in looks.items()]))
        self._least = max(DIFFERENT, LIKE_THE_ANIMAL * contrast)

    def moved(self, frame: int, before: int, after: int) -> Float64Array | None:
        """The box, float64 (4,) in pixels, of what differs on ``frame`` from both others; None when nothing does."""
        picture = self._picture(frame)
        apart = np.minimum(cv2.absdiff(picture, self._picture(before)), cv2.absdiff(picture, self._picture(after)))
        moved = cv2.morphologyEx((apart > self._least).astype(np.uint8), cv2.MORPH_OPEN, OPENING)
        columns, rows = np.flatnonzero(moved.any(axis=0)), np.flatnonzero(moved.any(axis=1))
        if not len(columns):
            return None
        box: Float64Array = self._corner + self._pixels * [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        return box

    def _picture(self, frame: int) -> UInt8Array:
        if frame not in self._small:
            cut = np.ascontiguousarray(self._image_of(frame)[self._rows, self._columns])
            small = cv2.resize(cut, self._size, interpolation=cv2.INTER_AREA)
            self._small[frame] = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        return self._small[frame]

    def _contrast(self, frame: int, box_xyxy: Float64Array) -> float:
        """Grey levels between the middle of an animal's box and what surrounds the box."""
        picture = self._picture(frame)
        x1, y1, x2, y2 = ((box_xyxy - self._corner) / self._pixels).round().astype(int).tolist()
        third = max(1, (x2 - x1) // 3), max(1, (y2 - y1) // 3)
        inside = picture[max(0, y1 + third[1]) : max(0, y2 - third[1]), max(0, x1 + third[0]) : max(0, x2 - third[0])]
        outside = np.ones(picture.shape, bool)
        outside[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = False
        if not inside.size or not outside.any():
            return 0.0
        return abs(float(np.median(inside)) - float(np.median(picture[outside])))


def longer_side(box_xyxy: Float64Array) -> float:
    """In pixels, at least 1."""
    return float(max(*(box_xyxy[2:] - box_xyxy[:2]), 1.0))
