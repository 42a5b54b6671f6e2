"""START and STOP rows to bouts: the one place where they are paired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

START, STOP, POINT = "START", "STOP", "POINT"
Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Event(Generic[Source]):
    """A moment at which something began, ended, or happened. ``source`` is whatever the caller needs to find again.

    Only events of one ``key`` (video, animal, behaviour, rater) are paired.
    """

    key: tuple[str, ...]
    kind: str
    time: float
    source: Source


@dataclass(frozen=True, slots=True)
class Pairing(Generic[Source]):
    """``pairs`` are (start, stop), the stop None for a point event; ``alone`` are events left over, with the reason."""

    pairs: tuple[tuple[Event[Source], Event[Source] | None], ...]
    alone: tuple[tuple[Event[Source], str], ...]


def pair(events: Iterable[Event[Source]]) -> Pairing[Source]:
    """Pair each START with the next STOP of its key, by time; rows at one moment may stand in either order.

    A START that another START follows has lost its STOP and is left over, as is a STOP with nothing begun.
    """
    pairs: list[tuple[Event[Source], Event[Source] | None]] = []
    alone: list[tuple[Event[Source], str]] = []
    by_key: dict[tuple[str, ...], list[Event[Source]]] = {}
    for event in events:
        if event.kind == POINT:
            pairs.append((event, None))
        else:
            by_key.setdefault(event.key, []).append(event)
    for same in by_key.values():
        begun: Event[Source] | None = None
        waiting = sorted(same, key=lambda event: event.time)
        while waiting:
            event = waiting.pop(0)
            if event.kind == START and begun is not None:
                if waiting and waiting[0].kind == STOP and waiting[0].time == event.time:
                    event, waiting[0] = waiting[0], event
                else:
                    alone.append((begun, "START without a STOP"))
                    begun = event
                    continue
            if event.kind == START:
                begun = event
            elif begun is None:
                alone.append((event, "STOP without a START"))
            else:
                pairs.append((begun, event))
                begun = None
        if begun is not None:
            alone.append((begun, "START without a STOP"))
    return Pairing(tuple(sorted(pairs, key=lambda pair: pair[0].time)), tuple(alone))


def kinds_by_order(count: int) -> list[str]:
    """What ``count`` events of one key are where the file says it by their order alone."""
    return [START if number % 2 == 0 else STOP for number in range(count)]
