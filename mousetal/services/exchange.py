"""How a service answers calls: the same for every model.

A call's requests are read a little ahead on a thread of their own, so that the next batch lies with the worker before
this one is answered; answers leave in the order of the requests. What may go wrong is mapped to status codes here, in
one table, and nothing but our own messages crosses the wire.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import grpc

from mousetal.errors import InvalidRequest, ModelError, MousetalError, ServiceUnavailable
from mousetal.services.worker import Worker

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Message = TypeVar("Message")
Reply = TypeVar("Reply")
Part = TypeVar("Part")

#: Requests of one call that may lie with the worker at once: some being answered together, some ready for their turn.
READ_AHEAD = 8

#: Which of our errors the caller sees, and as what. Their messages are written for users; all others stay in the log.
STATUS_OF: dict[type[MousetalError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    ModelError: grpc.StatusCode.FAILED_PRECONDITION,
    ServiceUnavailable: grpc.StatusCode.UNAVAILABLE,
}


@contextmanager
def told_to_caller(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call with the status that any error raised inside maps to."""
    try:
        yield
    except CancelledError:
        context.abort(grpc.StatusCode.CANCELLED, "the call was cancelled")
    except tuple(STATUS_OF) as error:
        context.abort(next(status for kind, status in STATUS_OF.items() if isinstance(error, kind)), str(error))
    except Exception:
        log.exception("a request failed by a defect of the service.")
        context.abort(grpc.StatusCode.INTERNAL, "internal error, see the service log")


def loaded(part: Part | None) -> Part:
    """What exists only once the model is loaded; raises ServiceUnavailable before."""
    if part is None:
        raise ServiceUnavailable("the model is still being loaded; grpc.health.v1 says when it is ready.")
    return part


class _End:
    """The last turn of a call, with the error that ended it, if any."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


class _Call(Generic[Message, Answer]):
    """One open stream: a line of answers to come, filled by the reader thread, emptied by the handler."""

    def __init__(self, ask: Callable[[Message], Future[Answer]]) -> None:
        self._ask = ask
        self._turns: SimpleQueue[Future[Answer] | _End] = SimpleQueue()
        self._asked: deque[Future[Answer]] = deque()
        self._room = threading.Semaphore(READ_AHEAD)
        self._is_over = threading.Event()

    def read(self, requests: Iterator[Message]) -> None:
        """Hand over requests as they come, until the call ends one way or another."""
        end = _End()
        try:
            for request in requests:
                self._room.acquire()
                if self._is_over.is_set():
                    break
                future = self._ask(request)
                self._asked.append(future)
                self._turns.put(future)
                if self._is_over.is_set():  # since the last look, by a thread that could not know of this one
                    future.cancel()
        except grpc.RpcError:  # the caller cancelled, went away or ran out of time: nobody is left to tell
            self.close()
        except Exception as error:  # noqa: BLE001  the handler tells the caller, after the answers before it
            end = _End(error)
        self._turns.put(end)

    def answers(self) -> Iterator[Answer]:
        """The answers in the order of the requests."""
        while isinstance(turn := self._turns.get(), Future):
            answer = turn.result()
            self._asked.popleft()
            self._room.release()
            yield answer
        if turn.error is not None:
            raise turn.error

    def stop(self) -> None:
        """Answer what has been read, then end the call as unavailable."""
        self._turns.put(_End(ServiceUnavailable("the service is stopping; every request it had read is answered.")))

    def close(self) -> None:
        """The call is over: wake whoever waits, withdraw what the model has not begun. Safe to repeat."""
        self._is_over.set()
        self._room.release()
        for future in tuple(self._asked):
            future.cancel()
        self._turns.put(_End())


class Exchange(Generic[Request, Answer]):
    """Carries requests from all open calls to the worker, and the answers back."""

    def __init__(self) -> None:
        self._worker: Worker[Request, Answer] | None = None
        self._calls: set[_Call[Any, Answer]] = set()
        self._lock = threading.Lock()
        self._is_stopping = False

    def open(self, worker: Worker[Request, Answer]) -> None:
        """Accept requests from now on; until then callers are told to come back."""
        self._worker = worker

    def stop(self) -> None:
        """Let every open call finish the requests it has read, and end it; take no new ones."""
        with self._lock:
            self._is_stopping = True
            calls = tuple(self._calls)
        for call in calls:
            call.stop()

    def close(self, timeout_s: float) -> None:
        """End the worker. Calls must be over."""
        if self._worker is not None:
            self._worker.close(timeout_s)

    def answers(
        self,
        requests: Iterator[Message],
        context: grpc.ServicerContext,
        read: Callable[[Message], Request],
        write: Callable[[Answer], Reply],
    ) -> Iterator[Reply]:
        """The handler of a stream: ``read`` turns a message into a request, ``write`` an answer into a message."""
        with told_to_caller(context):
            worker = loaded(self._worker)
            call: _Call[Message, Answer] = _Call(lambda message: worker.submit(read(message)))
            self._enter(call, context)
            threading.Thread(target=call.read, args=(requests,), name="call-reader", daemon=True).start()
            try:
                for answer in call.answers():
                    yield write(answer)
            finally:
                self._leave(call)

    def _enter(self, call: _Call[Message, Answer], context: grpc.ServicerContext) -> None:
        with self._lock:
            if self._is_stopping:
                raise ServiceUnavailable("the service is stopping.")
            self._calls.add(call)
        if not context.add_callback(call.close):  # it had ended before it began
            call.close()

    def _leave(self, call: _Call[Message, Answer]) -> None:
        call.close()
        with self._lock:
            self._calls.discard(call)
