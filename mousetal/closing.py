"""Ending iterators early, also those that another thread is pulling."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def close(items: Iterator[T]) -> None:
    """Close ``items`` where it is a generator or anything else that can be closed."""
    closer = getattr(items, "close", None)
    if closer is not None:
        closer()


class Relay(Iterator[T], Generic[T]):
    """An iterator that one thread pulls and another may end.

    `close` never waits: where ``items`` is being pulled just then, it is closed by the thread that pulls it, as soon as
    it has its item. (A plain generator can only be closed between two items, and says so with a ValueError.)
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self._is_closed = False

    def __next__(self) -> T:
        with self._lock:
            try:
                if not self._is_closed:
                    item = next(self._items)
                    if not self._is_closed:
                        return item
            finally:
                if self._is_closed:
                    close(self._items)
            raise StopIteration

    def close(self) -> None:
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                close(self._items)
            finally:
                self._lock.release()
