"""Ending iterators that another thread may be pulling."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mousetal.closing import Relay, close


class Source:
    """Counts up; can be held inside an item, and knows whether it was closed."""

    def __init__(self) -> None:
        self.is_pulling, self.may_go_on, self.is_closed = (threading.Event() for _ in range(3))
        self.may_go_on.set()

    def items(self) -> Iterator[int]:
        try:
            for number in range(1000):
                self.is_pulling.set()
                assert self.may_go_on.wait(20)
                yield number
        finally:
            self.is_closed.set()


def test_a_relay_passes_everything_on() -> None:
    assert list(Relay(iter([1, 2, 3]))) == [1, 2, 3]


def test_a_closed_relay_has_ended_and_so_has_its_source() -> None:
    source = Source()
    relay = Relay(source.items())
    assert next(relay) == 0
    relay.close()
    assert source.is_closed.is_set()
    assert list(relay) == []


def test_closing_while_another_thread_pulls_neither_waits_nor_fails() -> None:
    source, pulled = Source(), []
    relay = Relay(source.items())
    source.may_go_on.clear()
    puller = threading.Thread(target=lambda: pulled.extend(relay))
    puller.start()
    assert source.is_pulling.wait(20)
    relay.close()  # a plain generator would raise "generator already executing"
    assert not source.is_closed.is_set()
    source.may_go_on.set()
    puller.join(20)
    assert pulled == []
    assert source.is_closed.is_set()


def test_an_error_passes_through_a_relay() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    relay = Relay(failing())
    assert next(relay) == 1
    with pytest.raises(OSError, match="gone"):
        next(relay)


def test_what_cannot_be_closed_is_left_alone() -> None:
    items = iter([1, 2])
    close(items)
    assert next(items) == 1
