"""Several items at a time: begun in order, given as they are finished, and ended early."""

from __future__ import annotations

import threading

import pytest

from mousetal.sidebyside import Over, StoppedError, finished

WAIT_S = 20.0


def test_items_are_begun_in_order_and_come_as_they_are_finished() -> None:
    second_is_through = threading.Event()
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            assert second_is_through.wait(WAIT_S)
        return item * 10

    came = []
    for item, made in finished(work, [1, 2, 3], 2, lambda: None):
        second_is_through.set()
        came.append((item, made))
    assert begun[:2] == [1, 2]
    assert came[0] == (2, 20)
    assert sorted(came) == [(1, 10), (2, 20), (3, 30)]


def test_leaving_early_begins_nothing_more() -> None:
    stopped = threading.Event()
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item > 0:
            assert stopped.wait(WAIT_S)
        return item

    through = finished(work, range(50), 2, stopped.set)
    assert next(through) == (0, 0)
    through.close()
    assert stopped.is_set()
    assert len(begun) <= 4


def test_what_is_under_way_hears_of_an_error_and_ends() -> None:
    over, others = Over(), threading.Barrier(2)
    ended = []

    def work(item: int) -> None:
        others.wait(WAIT_S)
        if item == 0:
            raise ValueError("no room")
        with pytest.raises(StoppedError):
            for _ in over.until(iter(int, 1)):  # an endless stream of zeros
                pass
        ended.append(item)

    with pytest.raises(ValueError, match="no room"):
        list(finished(work, [0, 1, 2, 3], 2, over.set))
    assert ended == [1]
