"""Long sequences in little memory: an hour's results, boxes or window scores, all but the newest as flat arrays.

    results = packed_results()
    results.append(result)
    found = finish(name, results, plan)             # found.boxes and found.scores are packed, too

As objects the results of an hour are some 150 MB; packed they are about 10. Reading unpacks one chunk at a time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar, overload

import numpy as np

from mousetal.arrays import (
    Arrays,
    pack_boxes,
    pack_results,
    pack_scores,
    unpack_boxes,
    unpack_results,
    unpack_scores,
)
from mousetal.plan import WindowResult
from mousetal.types import FrameBox, WindowScore

CHUNK = 256  # items

T = TypeVar("T")


class Packed(Sequence[T]):
    """Items in their order; they can be added at the end, and read as often as one likes.

    ``pack`` makes arrays of at least one item, ``unpack`` gives the items back.
    """

    def __init__(
        self, pack: Callable[[Sequence[T]], Arrays], unpack: Callable[[Arrays], Sequence[T]], items: Iterable[T] = ()
    ) -> None:
        self._pack, self._unpack = pack, unpack
        self._chunks: list[Arrays] = []
        self._newest: list[T] = []
        for item in items:
            self.append(item)

    def append(self, item: T) -> None:
        self._newest.append(item)
        if len(self._newest) == CHUNK:
            self._chunks.append(self._pack(self._newest))
            self._newest = []

    @classmethod
    def of_arrays(
        cls, pack: Callable[[Sequence[T]], Arrays], unpack: Callable[[Arrays], Sequence[T]], arrays: Arrays
    ) -> Packed[T]:
        """Arrays of one row per item as a sequence of the items, most of them not unpacked yet.

        Raises ValueError when the arrays differ in their rows.
        """
        found = cls(pack, unpack)
        count = len(next(iter(arrays.values())))
        if any(len(array) != count for array in arrays.values()):
            raise ValueError(f"arrays of {count} rows expected, got {[len(array) for array in arrays.values()]}")
        whole = count // CHUNK * CHUNK
        found._chunks = [_rows(arrays, start, start + CHUNK) for start in range(0, whole, CHUNK)]
        found._newest = list(unpack(_rows(arrays, whole, count)))
        return found

    def arrays(self) -> Arrays:
        """All items as arrays of one row per item; for what `pack` makes of a longer sequence."""
        parts = list(self._chunks)
        if self._newest or not parts:
            parts.append(self._pack(self._newest))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[-1]}

    def __len__(self) -> int:
        return CHUNK * len(self._chunks) + len(self._newest)

    def __iter__(self) -> Iterator[T]:
        for arrays in self._chunks:
            yield from self._unpack(arrays)
        yield from self._newest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # it changes

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            return self._between(start, stop)[::step] if step > 0 else list(self)[place]
        index = range(len(self))[place]
        return self._between(index, index + 1)[0]

    def _between(self, start: int, stop: int) -> list[T]:
        """Items ``start`` to ``stop``, unpacking no other chunks than theirs."""
        found: list[T] = []
        for number, arrays in enumerate(self._chunks):
            first = CHUNK * number
            if first < stop and start < first + CHUNK:
                found += self._unpack(arrays)[max(0, start - first) : stop - first]
        first = CHUNK * len(self._chunks)
        return found + self._newest[max(0, start - first) : max(0, stop - first)]


def packed_results(results: Iterable[WindowResult] = ()) -> Packed[WindowResult]:
    """Results of windows."""
    return Packed(pack_results, unpack_results, results)


def packed_boxes(boxes: Iterable[FrameBox]) -> Packed[FrameBox]:
    """Boxes of frames."""
    return boxes if isinstance(boxes, Packed) else Packed(pack_boxes, unpack_boxes, boxes)


def packed_scores(scores: Iterable[WindowScore], num_classes: int) -> Packed[WindowScore]:
    """What the classifier said of windows."""
    pack = partial(pack_scores, num_classes=num_classes)
    return scores if isinstance(scores, Packed) else Packed(pack, unpack_scores, scores)


def boxes_of_arrays(arrays: Arrays) -> Packed[FrameBox]:
    """The boxes behind `Packed.arrays`, from arrays that may hold others, too."""
    return Packed.of_arrays(pack_boxes, unpack_boxes, {name: arrays[name] for name in pack_boxes([])})


def scores_of_arrays(arrays: Arrays, num_classes: int) -> Packed[WindowScore]:
    """The window scores behind `Packed.arrays`, from arrays that may hold others, too."""
    pack = partial(pack_scores, num_classes=num_classes)
    return Packed.of_arrays(pack, unpack_scores, {name: arrays[name] for name in pack([])})


def _rows(arrays: Arrays, start: int, end: int) -> Arrays:
    return {name: array[start:end] for name, array in arrays.items()}
