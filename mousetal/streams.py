"""Moving items between stages: in batches, and ahead of time on a thread.

`prefetch` is the only code of the library that starts a thread. It holds at most ``depth`` items between producer and
consumer, however long the stream is:

    for batch in batched(prefetch(video.decode(info), depth=8), 4):
        ...
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread, current_thread
from typing import Generic, TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], n: int) -> Iterator[list[T]]:
    """Lists of ``n`` items in order; the last one may be shorter, none is empty.

    An error of ``items`` comes out at once, without the batch that was being filled.
    """
    if n < 1:
        raise ValueError(f"a batch needs at least one item, got n={n}")
    return _batches(items, n)


def _batches(items: Iterable[T], n: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == n:
            yield batch
            batch = []
    if batch:
        yield batch


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same items, pulled on a thread of their own up to ``depth`` ahead of the consumer.

    An error raised by ``items`` is raised again in the consumer, after the items before it, with the traceback of the
    thread. The thread starts with the first item asked for. It is told to stop, and waited for, when the returned
    generator ends, is closed, or is collected as garbage (which is what happens when the consumer raises); if
    ``items`` is a generator, it is closed on the thread that ran it. Stopping waits for the one item in the making.
    """
    if depth < 1:
        raise ValueError(f"prefetch needs room for at least one item, got depth={depth}")
    return _prefetched(items, depth)


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def _prefetched(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    made: SimpleQueue[_Item[T] | _End] = SimpleQueue()
    room = Semaphore(depth)
    stop = Event()
    # A daemon: a consumer that forgets an unfinished stream must not keep the process from ending.
    thread = Thread(target=_produce, args=(items, made, room, stop), name="prefetch", daemon=True)
    del items  # the thread owns them now, and drops them when it ends
    thread.start()
    try:
        while isinstance(got := made.get(), _Item):
            room.release()
            yield got.value
        if got.error is not None:
            raise got.error
    finally:
        got = _End(None)  # an error must not hold the frame that raises it
        stop.set()
        room.release()
        # The garbage collector may run this on the very thread that is to end.
        if current_thread() is not thread:
            thread.join()


def _produce(items: Iterable[T], made: SimpleQueue[_Item[T] | _End], room: Semaphore, stop: Event) -> None:
    error: BaseException | None = None
    try:
        iterator = iter(items)
        try:
            while _has_room(room, stop):
                made.put(_Item(next(iterator)))
        except StopIteration:
            pass
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
    except BaseException as raised:  # noqa: BLE001  whatever it is, it belongs to the consumer
        error = raised
    made.put(_End(error))


def _has_room(room: Semaphore, stop: Event) -> bool:
    """Wait for room in front of the consumer; False when the consumer has gone."""
    room.acquire()
    return not stop.is_set()
