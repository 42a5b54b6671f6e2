"""The worker: one thread, batches from everybody, and nobody harmed by somebody else's request."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from mousetal.errors import ModelError, ServiceUnavailable
from mousetal.services.worker import Worker
from tests.fixtures.toys import Gate


class Echo:
    """Answers each request with its sum; fails when asked for a 13."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.seen: list[list[tuple[int, ...]]] = []
        self.threads: set[int] = set()

    def run(self, requests: Sequence[tuple[int, ...]]) -> list[int]:
        self.gate.pass_through()
        self.seen.append(list(requests))
        self.threads.add(threading.get_ident())
        if any(13 in request for request in requests):
            raise ModelError("thirteen")
        return [sum(request) for request in requests]


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def worker(echo: Echo) -> Iterator[Worker[tuple[int, ...], int]]:
    with Worker(run=echo.run, size=len, max_batch=4, kind=lambda request: request[0] < 0) as worker:
        yield worker
        echo.gate.open()


def busy(worker: Worker[tuple[int, ...], int], echo: Echo) -> None:
    """Keep the worker at a first request, so that what comes next queues up."""
    echo.gate.close()
    worker.submit((0,))
    echo.gate.wait_for_arrival()


def test_requests_that_queue_up_are_answered_together_in_order(worker, echo) -> None:
    busy(worker, echo)
    futures = [worker.submit(request) for request in [(1,), (2, 3), (4,), (5,)]]
    echo.gate.open()
    assert [future.result(20) for future in futures] == [1, 5, 4, 5]
    assert echo.seen == [[(0,)], [(1,), (2, 3), (4,)], [(5,)]]


def test_a_request_larger_than_a_batch_goes_alone(worker, echo) -> None:
    busy(worker, echo)
    futures = [worker.submit(request) for request in [(1,), (2,) * 9, (3,)]]
    echo.gate.open()
    assert [future.result(20) for future in futures] == [1, 18, 3]
    assert [len(requests) for requests in echo.seen] == [1, 1, 1, 1]


def test_requests_of_different_kinds_do_not_share_a_batch(worker, echo) -> None:
    busy(worker, echo)
    futures = [worker.submit(request) for request in [(1,), (-1,), (-2,), (2,)]]
    echo.gate.open()
    assert [future.result(20) for future in futures] == [1, -1, -2, 2]
    assert echo.seen[1:] == [[(1,)], [(-1,), (-2,)], [(2,)]]


def test_a_cancelled_request_never_reaches_the_model(worker, echo) -> None:
    busy(worker, echo)
    dropped, kept = worker.submit((1,)), worker.submit((2,))
    assert dropped.cancel()
    echo.gate.open()
    assert kept.result(20) == 2
    assert echo.seen == [[(0,)], [(2,)]]


def test_a_failing_request_fails_alone_and_the_worker_lives_on(worker, echo) -> None:
    busy(worker, echo)
    futures = [worker.submit(request) for request in [(1,), (13,), (2,)]]
    echo.gate.open()
    assert (futures[0].result(20), futures[2].result(20)) == (1, 2)
    with pytest.raises(ModelError, match="thirteen"):
        futures[1].result(20)
    assert worker.submit((7,)).result(20) == 7
    assert len(echo.threads) == 1


def test_a_model_that_answers_too_few_is_found_out() -> None:
    with Worker(run=lambda requests: [], size=len, max_batch=4) as worker:
        future = worker.submit((1,))
        with pytest.raises(RuntimeError, match="0 answers to 1 requests"):
            future.result(20)


def test_closing_finishes_what_is_queued_and_refuses_more(echo) -> None:
    worker = Worker(run=echo.run, size=len, max_batch=4)
    busy(worker, echo)
    last = worker.submit((1, 2))
    echo.gate.open()
    worker.close()
    assert last.result(0) == 3
    with pytest.raises(ServiceUnavailable):
        worker.submit((1,))
