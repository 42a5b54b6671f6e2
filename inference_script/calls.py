"""One streaming call, seen from the driver: an iterator of batches in, an iterator of answers out.

    for boxes in answers(stub.Detect, batches, how):
        ...

What it adds to gRPC: what is under way is bounded by a count of items (gRPC bounds bytes); an error of the input
comes out as it is, after the answers before it (gRPC swallows it); an answer that is overdue ends the call (a deadline
for the whole call would end long videos); every answer is matched with the request it answers; whatever way the
consumer leaves, the call is cancelled and the input closed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import grpc

from mousetal.errors import ServiceError, ServiceUnavailable

Batch = TypeVar("Batch")
Message = TypeVar("Message")
Reply = TypeVar("Reply")
Answer = TypeVar("Answer")

#: How long leaving a call waits for the batch in the making; after that its thread ends by itself, later.
CLOSE_WAIT_S = 2.0

#: Statuses that mean "gone or not there", not "no": the same work may be asked for again.
TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


@dataclass(frozen=True)
class CallSpec(Generic[Batch, Message, Reply, Answer]):
    """How batches become messages and replies become answers, and how patient the caller is.

    ``identity`` names what a batch asks for (frame or window numbers): it is kept while the batch is under way, so that
    the pixels need not be, and given to ``read``, which raises ServiceError when a reply answers something else. Its
    length is what counts: another batch is taken from the input while fewer than ``in_flight`` items are under way.
    """

    service: str
    identity: Callable[[Batch], tuple[int, ...]]
    write: Callable[[Batch], Message]
    read: Callable[[Reply, tuple[int, ...]], Answer]
    in_flight: int
    timeout_s: float


def answers(
    start: Callable[[Iterator[Message]], Any],
    batches: Iterable[Batch],
    how: CallSpec[Batch, Message, Reply, Answer],
) -> Generator[Answer, None, None]:
    """One answer per batch, in order, lazily; under way are less than ``how.in_flight`` items and one batch.

    The input is pulled on a thread of gRPC's. Raises ServiceUnavailable when the service cannot be reached, goes away
    or lets an answer wait longer than ``how.timeout_s``; ServiceError when it refuses; and whatever ``batches`` raises.
    """
    requests = _Requests(batches, how)
    replies: SimpleQueue[Reply | _End] = SimpleQueue()
    call = start(requests)
    reader = threading.Thread(target=_receive, args=(call, replies), name="answer-reader", daemon=True)
    reader.start()
    try:
        while not isinstance(reply := _next_reply(replies, requests, how), _End):
            yield how.read(reply, requests.next_answered())
        requests.check_complete(reply.error)
    finally:
        call.cancel()
        requests.close()
        # The garbage collector may run this on the very thread that is to end.
        if reader is not threading.current_thread():
            reader.join(CLOSE_WAIT_S)


class _End:
    """The end of the replies, with the error if it was not a good one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _receive(call: Iterator[Reply], replies: SimpleQueue[Reply | _End]) -> None:
    """Read the replies on a thread: there are never more than requests under way.

    gRPC's own waiting has no time limit per reply, and can be left locked for good by a Ctrl-C that interrupts it.
    """
    try:
        for reply in call:
            replies.put(reply)
        replies.put(_End())
    except BaseException as error:  # noqa: BLE001  whatever it is, the consumer must not wait for ever
        replies.put(_End(error))


def _next_reply(
    replies: SimpleQueue[Reply | _End],
    requests: _Requests[Batch, Message, Reply, Answer],
    how: CallSpec[Batch, Message, Reply, Answer],
) -> Reply | _End:
    """The next reply; raises ServiceUnavailable when one is owed, and awaited here, for too long."""
    began = time.monotonic()
    while True:
        owed_since = requests.owed_since()
        waited = 0.0 if owed_since is None else time.monotonic() - max(began, owed_since)
        if waited >= how.timeout_s:
            raise ServiceUnavailable(
                f"{how.service} gave no answer within {how.timeout_s:g} s (SERVICE_TIMEOUT_S): hanging or overloaded."
            )
        with suppress(Empty):
            return replies.get(timeout=how.timeout_s - waited)


def error_of(service: str, error: grpc.RpcError) -> ServiceError:
    """Our error for gRPC's: ServiceUnavailable for what may pass, ServiceError for what will not."""
    status, details = error.code(), error.details()
    if status in TRANSIENT:
        return ServiceUnavailable(f"{service} cannot be reached or went away ({details}). Does it run? See its log.")
    return ServiceError(f"{service} refused the request ({status.name}): {details}")


@dataclass(frozen=True)
class _Asked:
    identity: tuple[int, ...]
    at: float


class _Requests(Generic[Batch, Message, Reply, Answer]):
    """The iterator that gRPC pulls: messages made of batches, as long as there is room under way."""

    def __init__(self, batches: Iterable[Batch], how: CallSpec[Batch, Message, Reply, Answer]) -> None:
        self._batches = iter(batches)
        self._how = how
        self._asked: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._pulling = threading.Lock()
        self._is_closed = False
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._under_way() < self._how.in_flight)
        with self._pulling:
            message = None if self._is_closed else self._next_message()
            if self._is_closed:  # perhaps while the batch was in the making
                self._close_batches()
        if message is None:
            raise StopIteration
        return message

    def owed_since(self) -> float | None:
        """When the oldest unanswered request was made; None when every one is answered."""
        with suppress(IndexError):  # gRPC's thread may be just about to add one
            return self._asked[0].at
        return None

    def next_answered(self) -> tuple[int, ...]:
        """What the oldest unanswered request asked for; makes room for another."""
        if not self._asked:
            raise ServiceError(f"{self._how.service} gave more answers than it was asked for.")
        with self._changed:
            self._changed.notify()
            return self._asked.popleft().identity

    def check_complete(self, error: BaseException | None) -> None:
        """After the last answer: raise the input's error, else the call's as ours, else that answers lack."""
        if self._error is not None:
            raise self._error
        if isinstance(error, grpc.RpcError):
            raise error_of(self._how.service, error) from error
        if error is not None:
            raise error
        if self._asked:
            raise ServiceError(f"{self._how.service} ended the call with {len(self._asked)} requests unanswered.")

    def close(self) -> None:
        """Give up: wake gRPC's thread and close the input, on that thread if it is at work there."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._pulling.acquire(timeout=CLOSE_WAIT_S):
            try:
                self._close_batches()
            finally:
                self._pulling.release()

    def _next_message(self) -> Message | None:
        try:
            batch = next(self._batches, None)
            if batch is None:
                return None
            message = self._how.write(batch)
        except BaseException as error:  # noqa: BLE001  gRPC would lose it; it belongs to the consumer
            self._error = error
            return None
        with self._changed:
            self._asked.append(_Asked(self._how.identity(batch), time.monotonic()))
        return message

    def _under_way(self) -> int:
        """How many items are asked for and not answered; hold the condition."""
        return sum(len(asked.identity) for asked in self._asked)

    def _close_batches(self) -> None:
        if isinstance(self._batches, Generator):
            self._batches.close()
