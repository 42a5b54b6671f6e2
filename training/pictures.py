"""What a detector learns from: pictures with boxes, and where they come from.

A source is anything with a length and numbered pictures: COCO data on disk (`training.coco`), rendered films in memory
(`Images`), or several of those in a row (`Joined`).
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np

from mousetal.types import Float32Array, Int64Array, UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """``rgb`` uint8 (height, width, 3); ``boxes_xyxy`` float32 (n, 4) in its pixels; ``labels`` int64 (n,), n >= 0."""

    rgb: UInt8Array
    boxes_xyxy: Float32Array
    labels: Int64Array


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures in memory with one animal each: ``images`` uint8 (n, S, S, 3); ``boxes`` float32 (n, 4): centre x,
    centre y, width, height in 0..1."""

    images: UInt8Array
    boxes: Float32Array

    @classmethod
    def together(cls, parts: Sequence[Images]) -> Images:
        """The pictures of all parts, one part after the other."""
        return cls(np.concatenate([part.images for part in parts]), np.concatenate([part.boxes for part in parts]))

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, number: int) -> Picture:
        """The picture as the detector's training takes it: its one box, of the only class, in pixels."""
        height, width = self.images.shape[1:3]
        cx, cy, w, h = self.boxes[number] * np.array([width, height, width, height], np.float32)
        box = np.array([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]], np.float32)
        return Picture(self.images[number], box, np.zeros(1, np.int64))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.images.tobytes() + self.boxes.tobytes()).hexdigest()[:16]


class Source(Protocol):
    """Numbered pictures. ``digest`` names their content: equal digests, equal pictures."""

    def __len__(self) -> int: ...

    def picture(self, number: int) -> Picture: ...

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Joined:
    """The pictures of several sources, one source after the other."""

    parts: tuple[Source, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def picture(self, number: int) -> Picture:
        ends = list(accumulate(map(len, self.parts)))
        part = bisect.bisect_right(ends, number)
        return self.parts[part].picture(number - (ends[part - 1] if part else 0))

    @property
    def digest(self) -> str:
        return digest_of([part.digest for part in self.parts])


def digest_of(content: Sequence[object]) -> str:
    """A short name of plain data: the same for the same content, on every machine."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
