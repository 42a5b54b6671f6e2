"""Streams: what goes in comes out, errors too, and no thread outlives its consumer."""

from __future__ import annotations

import gc
import threading
import traceback
import weakref
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.streams import batched, prefetch

WAIT_SECONDS = 20  # only ever spent in full by a failing test


class BrokenError(Exception):
    pass


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in prefetch_threads():
        thread.join(WAIT_SECONDS)
    assert not prefetch_threads()


@given(st.lists(st.integers()), st.integers(1, 7))
def test_batches_hold_all_items_in_order_and_only_the_last_is_short(items: list[int], n: int) -> None:
    batches = list(batched(items, n))

    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == n for batch in batches[:-1])
    assert all(batches)


@given(st.lists(st.integers(), max_size=20), st.integers(1, 5))
def test_prefetch_gives_the_same_items_in_order(items: list[int], depth: int) -> None:
    assert list(prefetch(items, depth)) == items


def test_sizes_below_one_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="n=0"):
        batched([], 0)
    with pytest.raises(ValueError, match="depth=0"):
        prefetch([], 0)


def test_a_batch_is_lazy() -> None:
    assert next(batched(count(), 3)) == [0, 1, 2]


def test_prefetch_runs_ahead_by_no_more_than_its_depth() -> None:
    started = [threading.Event() for _ in range(10)]

    def items() -> Iterator[int]:
        for number, event in enumerate(started):
            event.set()
            yield number

    stream = prefetch(items(), depth=3)
    assert next(stream) == 0

    # One item is with the consumer, three may wait: the making of number 3 starts, that of number 4 does not.
    assert started[3].wait(WAIT_SECONDS)
    assert not started[4].is_set()
    assert next(stream) == 1
    assert started[4].wait(WAIT_SECONDS)
    stream.close()


def test_nothing_is_pulled_before_the_first_item_is_asked_for() -> None:
    pulled: list[int] = []
    stream = prefetch(map(pulled.append, range(3)), depth=2)

    assert not prefetch_threads()
    stream.close()
    assert pulled == []


def test_an_error_comes_out_after_the_items_before_it_with_its_traceback() -> None:
    def breaks_half_way() -> Iterator[int]:
        yield 1
        yield 2
        raise BrokenError("frame 3")

    stream = prefetch(breaks_half_way(), depth=5)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(BrokenError, match="frame 3") as caught:
        next(stream)

    assert "breaks_half_way" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_the_very_same_error_object_is_raised() -> None:
    error = BrokenError()

    def broken() -> Iterator[int]:
        raise error
        yield

    with pytest.raises(BrokenError) as caught:
        list(prefetch(broken(), depth=1))
    assert caught.value is error


def test_something_that_cannot_be_iterated_is_an_error_in_the_consumer() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(prefetch(7, depth=1))  # type: ignore[arg-type]


def test_closing_the_stream_closes_its_source_on_the_thread_that_ran_it() -> None:
    closed_on: list[threading.Thread] = []

    def endless() -> Iterator[int]:
        try:
            yield from count()
        finally:
            closed_on.append(threading.current_thread())

    stream = prefetch(endless(), depth=1)
    next(stream)
    (thread,) = prefetch_threads()
    stream.close()

    assert closed_on == [thread]
    assert not thread.is_alive()


def test_a_consumer_that_raises_ends_the_thread() -> None:
    def consume() -> None:
        for item in prefetch(count(), depth=4):
            if item == 2:
                raise BrokenError

    with pytest.raises(BrokenError) as caught:
        consume()
    caught.value.__traceback__ = None
    del caught
    gc.collect()

    assert not prefetch_threads()


def test_a_forgotten_stream_ends_its_thread_when_it_is_collected() -> None:
    stream = prefetch(count(), depth=2)
    next(stream)
    (thread,) = prefetch_threads()

    del stream
    gc.collect()

    assert not thread.is_alive()


def test_a_stream_collected_on_its_own_thread_does_not_wait_for_itself() -> None:
    """The garbage collector runs wherever it likes, so also on the thread that it is about to stop."""
    may_collect = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert may_collect.wait(WAIT_SECONDS)
        gc.collect()
        yield from count(1)

    class Cycle:
        stream: Iterator[int]
        itself: Cycle

    gc.disable()
    try:
        cycle = Cycle()
        cycle.itself, cycle.stream = cycle, prefetch(items(), depth=1)
        next(cycle.stream)
        (thread,) = prefetch_threads()
        del cycle
        may_collect.set()
        thread.join(WAIT_SECONDS)
    finally:
        gc.enable()

    assert not thread.is_alive()


def test_items_are_dropped_as_soon_as_the_consumer_drops_them() -> None:
    class Item:
        pass

    stream = prefetch((Item() for _ in range(3)), depth=1)
    first = next(stream)
    gone = weakref.ref(first)
    del first
    next(stream)

    assert gone() is None
    stream.close()
