"""How much each stage of the pipeline did, and how long that took."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from mousetal.closing import close

T = TypeVar("T")
Batch = TypeVar("Batch")
Answer = TypeVar("Answer", bound=Sized)


class StageMeter:
    """Counts items and busy seconds by stage; any thread may add, any thread may look.

    Stages and items: "decode" frames, "detect" frames, "crop" windows, "classify" windows. Of decode and crop the
    seconds are those spent working; of detect and classify those for which the pipeline stood waiting while they had
    work in hand, so that a stage hidden behind a slower one shows little.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[str, tuple[int, float]] = {}

    def add(self, stage: str, items: int, seconds: float) -> None:
        with self._lock:
            done, busy = self._sums.get(stage, (0, 0.0))
            self._sums[stage] = (done + items, busy + seconds)

    def snapshot(self) -> dict[str, tuple[int, float]]:
        """Stage -> (items, busy seconds) so far."""
        with self._lock:
            return dict(self._sums)

    @contextmanager
    def busy(self, stage: str, items: int) -> Iterator[None]:
        """Adds ``items``, and the time that the block takes."""
        start = time.perf_counter()
        yield
        self.add(stage, items, time.perf_counter() - start)

    def timed(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The same items, the time that each takes to come counted."""
        iterator = iter(items)
        try:
            while True:
                start = time.perf_counter()
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                self.add(stage, 1, time.perf_counter() - start)
                yield item
        finally:
            close(iterator)

    def answered(
        self, stage: str, ask: Callable[[Iterable[Batch]], Iterator[Answer]], batches: Iterable[Batch]
    ) -> Generator[Answer, None, None]:
        """What ``ask`` answers to ``batches``, one by one. It may pull them on another thread, and ahead of time."""
        handed_over: deque[float] = deque()

        def outgoing() -> Iterator[Batch]:
            for batch in batches:
                handed_over.append(time.perf_counter())
                yield batch

        answers = iter(ask(outgoing()))
        try:
            while True:
                asked = time.perf_counter()
                try:
                    answer = next(answers)
                except StopIteration:
                    return
                had_work_since = max(asked, handed_over.popleft())
                self.add(stage, len(answer), time.perf_counter() - had_work_since)
                yield answer
        finally:
            close(answers)
