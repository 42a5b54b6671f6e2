"""One thread that owns the model and works through everybody's requests.

Handler threads submit and wait; the worker takes whatever has queued up while it was busy, as far as it fits one batch,
and asks the model once. Nothing waits for a batch to fill. A request whose caller has gone is dropped before it costs
anything, and a request that breaks the batch fails alone:

    with Worker(run=answers, size=len, max_batch=8) as worker:
        boxes = worker.submit(batch).result()
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar

from mousetal.errors import ServiceUnavailable

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(eq=False)
class _Job(Generic[Request, Answer]):
    request: Request
    future: Future[Answer] = field(default_factory=Future)


def _any_together(_request: object) -> Hashable:
    return None


class Worker(Generic[Request, Answer]):
    """Answers requests with ``run`` on a thread of its own, several at a time.

    ``run`` takes a list of requests and returns one answer for each, in order. ``size`` says how many items a request
    holds; requests are put together, in the order of arrival, up to ``max_batch`` items (a larger one goes alone), and
    only while their ``kind`` is equal.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Request]], Sequence[Answer]],
        size: Callable[[Request], int],
        max_batch: int,
        kind: Callable[[Request], Hashable] = _any_together,
    ) -> None:
        self._run = run
        self._size = size
        self._max_batch = max_batch
        self._kind = kind
        self._jobs: deque[_Job[Request, Answer]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="model-worker", daemon=True)
        self._thread.start()

    def __enter__(self) -> Worker[Request, Answer]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def submit(self, request: Request) -> Future[Answer]:
        """Queue a request. Cancelling the future takes it out again, unless the model is already at it."""
        job: _Job[Request, Answer] = _Job(request)
        with self._changed:
            if self._is_closed:
                raise ServiceUnavailable("the service is stopping.")
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self, timeout_s: float | None = None) -> None:
        """Finish what is queued, then end the thread; leave a model that hangs behind after ``timeout_s``."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while jobs := self._next_jobs():
            self._answer(jobs)

    def _next_jobs(self) -> list[_Job[Request, Answer]]:
        """Wait for work, then take as many jobs as fit one batch; none when the worker is closed and idle."""
        with self._changed:
            while True:
                if jobs := self._take():
                    return jobs
                if self._is_closed:
                    return []
                self._changed.wait()

    def _take(self) -> list[_Job[Request, Answer]]:
        taken: list[_Job[Request, Answer]] = []
        room = self._max_batch
        while self._jobs:
            job = self._jobs[0]
            fits = not taken or (
                self._size(job.request) <= room and self._kind(job.request) == self._kind(taken[0].request)
            )
            if not fits:
                break
            self._jobs.popleft()
            if job.future.set_running_or_notify_cancel():
                taken.append(job)
                room -= self._size(job.request)
        return taken

    def _answer(self, jobs: Sequence[_Job[Request, Answer]]) -> None:
        """Ask the model once; when a batch of several fails, ask for each alone, so that only the culprit fails."""
        try:
            answers = self._run([job.request for job in jobs])
            if len(answers) != len(jobs):
                raise RuntimeError(f"the model gave {len(answers)} answers to {len(jobs)} requests")
        except Exception as error:  # noqa: BLE001  it belongs to the caller, and the thread must live on
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            log.warning("a batch of several requests failed, trying each alone. error=%s", type(error).__name__)
            for job in jobs:
                self._answer([job])
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.future.set_result(answer)
