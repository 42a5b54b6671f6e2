"""Several videos at a time, so that cores and models have work while one video begins and another ends.

with closing(finished(work, videos, at_once=2, stop=stop)) as done:
    for video, made in done:
        ...
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from typing import TypeVar

from mousetal.cores import usable_cores
from mousetal.errors import MousetalError, RecordError, VideoError

Item = TypeVar("Item")
Made = TypeVar("Made")
NAP_S = 1.0  # a wait without an end can be begun at the moment that a signal comes, and then sleeps through it


class StoppedError(MousetalError):
    """The work was not wanted any more before it was done."""


class Over:
    """What tells work under way on other threads that it is not wanted any more; ``set`` may be `finished`'s stop."""

    def __init__(self) -> None:
        self._is_over = threading.Event()

    def set(self) -> None:
        self._is_over.set()

    def check(self) -> None:
        """Raises StoppedError once it is over."""
        if self._is_over.is_set():
            raise StoppedError("the run was stopped")

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the next one after it is over raises StoppedError instead."""
        for item in items:
            self.check()
            yield item


def finished(
    work: Callable[[Item], Made], items: Sequence[Item], at_once: int, stop: Callable[[], None]
) -> Generator[tuple[Item, Made], None, None]:
    """Every item with what ``work`` made of it, as soon as it is there; they are begun in order.

    An error of ``work`` comes out here. When it does, or when the caller leaves early, no further item is begun,
    ``stop`` is called, which should make those under way end soon, and they are waited for.
    """
    if at_once == 1:
        for item in items:
            yield item, work(item)
        return
    is_over = threading.Event()

    def guarded(item: Item) -> Made:
        if is_over.is_set():  # since a thread that is free takes the next item before we hear of the error
            raise CancelledError
        try:
            return work(item)
        except BaseException:
            is_over.set()
            raise

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="video")
    try:
        begun = {pool.submit(guarded, item): item for item in items}
        while begun:
            for future in wait(begun, NAP_S, FIRST_COMPLETED).done:
                item = begun.pop(future)
                if not isinstance(future.exception(), CancelledError):  # the error that it follows may come after it
                    yield item, future.result()
    except BaseException:
        is_over.set()
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        raise
    finally:
        pool.shutdown()


def per_core(
    work: Callable[[Item], Made], items: Sequence[Item], over: Over
) -> Generator[tuple[Item, Made | MousetalError], None, None]:
    """`finished` with an item per core at a time, where one bad video or annotation must not cost the others.

    An item whose work raises VideoError or RecordError comes with that error; all else ends the work and comes out.
    """

    def attempt(item: Item) -> Made | MousetalError:
        try:
            return work(item)
        except (VideoError, RecordError) as error:
            return error

    yield from finished(attempt, items, usable_cores(), over.set)
