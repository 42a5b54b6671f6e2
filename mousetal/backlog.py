"""The results of a video's windows while more are coming: a sequence that keeps all but the newest packed.

    results = Backlog()
    results.append(result)
    found = finish(name, results, plan)

As objects the results of an hour are some 150 MB; packed they are about 10. Reading them unpacks one chunk at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from mousetal.arrays import Arrays, pack_results, unpack_results
from mousetal.plan import WindowResult

CHUNK = 256  # results


class Backlog(Sequence[WindowResult]):
    """Results in the order of their windows; they can be added at the end, and read as often as one likes."""

    def __init__(self, results: Iterable[WindowResult] = ()) -> None:
        self._packed: list[Arrays] = []
        self._newest: list[WindowResult] = []
        for result in results:
            self.append(result)

    def append(self, result: WindowResult) -> None:
        self._newest.append(result)
        if len(self._newest) == CHUNK:
            self._packed.append(pack_results(self._newest))
            self._newest = []

    def __len__(self) -> int:
        return CHUNK * len(self._packed) + len(self._newest)

    def __iter__(self) -> Iterator[WindowResult]:
        for arrays in self._packed:
            yield from unpack_results(arrays)
        yield from self._newest

    @overload
    def __getitem__(self, place: int) -> WindowResult: ...
    @overload
    def __getitem__(self, place: slice) -> list[WindowResult]: ...

    def __getitem__(self, place: int | slice) -> WindowResult | list[WindowResult]:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                raise ValueError("a backlog is read forwards")
            return self._between(start, stop)
        index = range(len(self))[place]
        return self._between(index, index + 1)[0]

    def _between(self, start: int, stop: int) -> list[WindowResult]:
        """Results ``start`` to ``stop``, unpacking no other chunks than theirs."""
        found: list[WindowResult] = []
        for number, arrays in enumerate(self._packed):
            first = CHUNK * number
            if first < stop and start < first + CHUNK:
                found += unpack_results(arrays)[max(0, start - first) : stop - first]
        first = CHUNK * len(self._packed)
        return found + self._newest[max(0, start - first) : max(0, stop - first)]
