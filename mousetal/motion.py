"""Where something moves around an animal, from the pixels alone: how far it may reach on frames nobody looked at.

    pictures = Pictures(image_of, (width, height))
    around = Neighbourhood(box_xyxy, {frame: box}, pictures)
    around.moved(frame, before, after)        # the box of what is there and on neither of the two other frames

Outside the animal's boxes on two frames lies the ground on both. What differs from both of them on a frame between is
therefore something that has come and gone: the animal, put further out than on either. Frames are compared as small
grey pictures, on which a longer side of the animal is about `POINTS` wide. What is less than three points wide is left
out (a thin tail, noise), and what differs little from the ground compared with the animal (a shadow, a mirror image).
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from mousetal.types import Float64Array, UInt8Array

POINTS = 24  # to the animal's longer side: its outline to 4 % of it
DIFFERENT = 10  # grey levels; the noise of a camera is well below, once it is averaged over a point
LIKE_THE_ANIMAL = 0.15  # of the animal's own contrast to the ground, below which it is a shadow or a mirror image
REACH = 0.75  # of the animal's longer side: how far from the box anything is looked for
SPARE = 4  # pixels a side that are averaged to a point at most: more would tell no more and cost as much as a look
GRID = 16  # points: parts begin and end at multiples, so that windows near each other ask for the same
OPENING = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Part:
    """``x1, y1, x2, y2`` of a frame, in pixels, of which ``step * averaged`` a side make a point.

    Whole pixels and whole points: three times as fast to make small as any other size is.
    """

    xyxy: tuple[int, int, int, int]
    step: int
    averaged: int

    @property
    def pixels_per_point(self) -> int:
        return self.step * self.averaged

    @classmethod
    def around(cls, box_xyxy: Float64Array, side: float, frame_size: tuple[int, int]) -> Part:
        """What surrounds a box, in which an animal is ``side`` pixels long."""
        scale = max(1, round(side / POINTS))
        step = max(1, scale // SPARE)
        averaged = round(scale / step)
        cell, reach, last = GRID * step * averaged, REACH * side, np.array(frame_size) - 1
        start = np.floor(box_xyxy[:2] - reach).astype(int).clip(0, last) // cell * cell
        end = -(np.ceil(box_xyxy[2:] + reach).astype(int).clip(start + 1, last + 1) // -cell) * cell
        x1, y1, x2, y2 = (int(edge) for edge in (*start, *end.clip(None, last + 1)))
        return cls((x1, y1, x2, y2), step, averaged)


class Pictures:
    """Parts of a video's frames as small grey pictures, each made when it is first asked for.

    ``image_of`` gives a frame's pixels, uint8 (height, width, 3), ``frame_size`` is (width, height) of the video.
    """

    def __init__(self, image_of: Callable[[int], UInt8Array], frame_size: tuple[int, int]) -> None:
        self.frame_size = frame_size
        self._image_of = image_of
        self._made: defaultdict[int, dict[Part, UInt8Array]] = defaultdict(dict)

    def of(self, frame: int, part: Part) -> UInt8Array:
        """Grey, uint8 (points, points)."""
        made = self._made[frame]
        if part not in made:
            made[part] = _small(self._image_of(frame), part)
        return made[part]

    def forget_before(self, frame: int) -> None:
        for old in [one for one in self._made if one < frame]:
            del self._made[old]


def _small(rgb: UInt8Array, part: Part) -> UInt8Array:
    x1, y1, x2, y2 = part.xyxy
    cut = rgb[y1 : y2 : part.step, x1 : x2 : part.step]
    grey = cv2.cvtColor(cut if part.step == 1 else np.ascontiguousarray(cut), cv2.COLOR_RGB2GRAY)
    height, width = (-(-length // part.averaged) for length in grey.shape)
    below, right = height * part.averaged - grey.shape[0], width * part.averaged - grey.shape[1]
    if below or right:  # the frame ends within a point
        grey = cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class Neighbourhood:
    """What surrounds ``box_xyxy`` (4,) in pixels, which holds boxes of one animal.

    ``looks`` are its boxes on the frames that the detector looked at, one or more.
    """

    def __init__(self, box_xyxy: Float64Array, looks: Mapping[int, Float64Array], pictures: Pictures) -> None:
        side = float(np.median(longer_side(np.stack([*looks.values()]))))
        self._pictures, self._part = pictures, Part.around(box_xyxy, side, pictures.frame_size)
        self._corner = np.array(self._part.xyxy[:2] * 2)
        contrast = statistics.median(self._contrast(frame, box) for frame, box in looks.items())
        self._least = max(DIFFERENT, LIKE_THE_ANIMAL * contrast)

    def moved(self, frame: int, before: int, after: int) -> Float64Array | None:
        """The box, float64 (4,) in pixels, of what differs on ``frame`` from both others; None when nothing does."""
        now, earlier, later = (self._pictures.of(one, self._part) for one in (frame, before, after))
        apart = cv2.min(cv2.absdiff(now, earlier), cv2.absdiff(now, later))
        _, differs = cv2.threshold(apart, self._least, 1, cv2.THRESH_BINARY)
        left, top, width, height = cv2.boundingRect(cv2.morphologyEx(differs, cv2.MORPH_OPEN, OPENING))
        if not width:
            return None
        edges = np.array([left, top, left + width, top + height])
        box: Float64Array = np.minimum(self._corner + edges * self._part.pixels_per_point, self._part.xyxy[2:] * 2)
        return box.astype(np.float64)

    def _contrast(self, frame: int, box_xyxy: Float64Array) -> float:
        """Grey levels between the middle of an animal's box and what surrounds the box."""
        picture = self._pictures.of(frame, self._part)
        x1, y1, x2, y2 = ((box_xyxy - self._corner) / self._part.pixels_per_point).round().astype(int).tolist()
        third = max(1, (x2 - x1) // 3), max(1, (y2 - y1) // 3)
        inside = picture[max(0, y1 + third[1]) : max(0, y2 - third[1]), max(0, x1 + third[0]) : max(0, x2 - third[0])]
        outside = np.ones(picture.shape, bool)
        outside[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = False
        if not inside.size or not outside.any():
            return 0.0
        return abs(float(np.median(inside)) - float(np.median(picture[outside])))


def longer_side(boxes_xyxy: Float64Array) -> Float64Array:
    """Of boxes (..., 4), float64 (...) in pixels, at least 1."""
    longer: Float64Array = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).max(axis=-1)
    return np.maximum(longer, 1.0)
