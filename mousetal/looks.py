"""Which frames the detector looks at when it need not see all: those on which a window's crop may hinge.

    sampled   . . . . . . . . . . . . . . .
    keys      A             B             C      every n-th, and a scene's first and last
    window          [-----------------]

A window is cut out along the outermost edges of the animal's boxes on its frames. What lies between two looks matters
only where it may stick out of all that was seen, and such a frame is looked at, too (`doubt`), one between any two
looks; then the question is put again, with what was found.

So an animal that rests, walks or turns about within its crop costs one look in n frames, and one that darts or
stretches out as many as it takes, down to single frames. What is promised: on every frame of a window the animal was
seen, or neither its way nor its movement would change the crop by more than ``doubt.MAX_LOSS``. What cannot be known is
what the detector would have said of a frame without a cause to be seen.

A window asks on the ground of the keys and of the looks that it asked for itself, never of another window's. So what is
looked at depends neither on the order of answers nor on whether a run was interrupted.

One thread adds frames and asks, another brings the answers.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from mousetal.doubt import in_doubt
from mousetal.motion import Pictures
from mousetal.plan import Plan, first_look
from mousetal.types import Detections, UInt8Array, Window


@dataclass
class _Open:
    """A window all of whose frames are there, the looks that it asked for, and those of them without an answer yet."""

    window: Window
    looks: set[int] = field(default_factory=set)
    awaited: set[int] = field(default_factory=set)


class Looks:
    """The state of one video, whose windows are decided in turn.

    ``image_of`` gives the pixels of a frame that was added, from `needed_from` on. ``known`` are the answers of a run
    that is resumed, skipped frames among them; what was settled in it is not handed out again.
    """

    def __init__(
        self, plan: Plan, image_of: Callable[[int], UInt8Array], known: Sequence[Detections] = (), num_done: int = 0
    ) -> None:
        self._plan = plan
        self._pictures = Pictures(image_of, (plan.info.width, plan.info.height))
        self._spacing, self._most_undecided = plan.key_spacing, most_undecided(plan)
        self._sampled = plan.sampled_frames
        self._news = threading.Condition()
        self._is_closed = self._is_over = False
        self._frames: list[int] = []  # that came, from `needed_from` on
        self._keys: list[int] = []
        self._scene_starts: set[int] = set()
        self._answers: dict[int, Detections] = {}
        self._asked: set[int] = set()
        self._wanted: deque[int] = deque()
        self._told_through = known[-1].frame_index if known else -1
        # What was settled, windows that end there had decided; the others that reach into it decide the same again.
        windows = islice(plan.windows.iter_windows(plan.info.num_frames), num_done, None)
        self._ahead = (one for one in windows if one.frame_indices[-1] > self._told_through)
        self._next = next(self._ahead, None)
        self._open: list[_Open] = []
        for found in known:
            if found.frame_index >= self.needed_from:
                self._take(found.frame_index, found.begins_scene)
                if not found.is_skipped:
                    self._answers[found.frame_index] = found

    @property
    def needed_from(self) -> int:
        """The first frame whose pixels may still be asked for: a key at or before the first undecided window."""
        with self._news:
            window = self._first_undecided
            return self._plan.info.num_frames if window is None else first_look(window, self._sampled, self._spacing)

    def add(self, frame: int, begins_scene: bool = False) -> list[int]:
        """Take the next frame in; keys to be looked at in any case: none, it, or with it the last one of a scene."""
        with self._news:
            keys = [key for key in self._take(frame, begins_scene) if key not in self._answers]
            self._asked.update(keys)
            self._decide()
            return keys

    def end(self) -> list[int]:
        """No frame follows: the last one is a key if it was none yet."""
        with self._news:
            self._is_over = True
            keys = [frame for frame in self._make_keys(self._frames[-1:]) if frame not in self._answers]
            self._asked.update(keys)
            self._decide()
            self._news.notify_all()
            return keys

    def wanted(self, most: int) -> list[int]:
        """Frames between keys that must be looked at, taken off the list."""
        with self._news:
            return [self._wanted.popleft() for _ in range(min(most, len(self._wanted)))]

    def wait_for_room(self) -> None:
        """Before another frame: wait until one is wanted that is there, or few enough are undecided."""
        with self._news:
            self._news.wait_for(lambda: bool(self._wanted) or self._is_closed or not self._asked or self._has_room())

    def wait(self) -> bool:
        """After the last frame: wait until more are wanted; False when nothing is under way that could want more."""
        with self._news:
            self._news.wait_for(lambda: bool(self._wanted) or self._is_closed or not self._asked)
            return bool(self._wanted) and not self._is_closed

    def close(self) -> None:
        """Nothing will be answered any more: end a `wait`."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()

    def answer(self, found: Detections) -> None:
        """What the detector says of a frame that was asked for."""
        with self._news:
            self._asked.discard(found.frame_index)
            self._answers[found.frame_index] = found
            self._decide()
            self._news.notify_all()

    def settled(self) -> list[Detections]:
        """One entry per frame about which no window can ask any more, in order; empty when there is none yet.

        Frames that were not looked at have no boxes, and say so.
        """
        with self._news:
            window = self._first_undecided
            end = min([self._plan.info.num_frames if window is None else window.frame_indices[0], *self._asked])
            first, last = bisect_right(self._frames, self._told_through), bisect_left(self._frames, end)
            told = [self._told(frame) for frame in self._frames[first:last]]
            if told:
                self._told_through = told[-1].frame_index
            self._forget()
            return told

    def _take(self, frame: int, begins_scene: bool) -> list[int]:
        """Note a frame; those that become keys with it."""
        last = self._frames[-1:]
        self._frames.append(frame)
        if begins_scene:
            self._scene_starts.add(frame)
            return self._make_keys([*last, frame])
        is_first = not last or self._block(frame) != self._block(last[0])
        return self._make_keys([frame] if is_first else [])

    def _make_keys(self, frames: Iterable[int]) -> list[int]:
        keys = [frame for frame in frames if not self._keys or frame > self._keys[-1]]
        self._keys += keys
        return keys

    def _block(self, frame: int) -> int:
        return int(np.searchsorted(self._sampled, frame)) // self._spacing

    def _has_room(self) -> bool:
        """Whether fewer frames than `most_undecided` came that may still be asked about."""
        undecided = len(self._frames) - bisect_left(self._frames, self.needed_from)
        return undecided < self._most_undecided

    @property
    def _first_undecided(self) -> Window | None:
        return self._open[0].window if self._open else self._next

    def _told(self, frame: int) -> Detections:
        answer = self._answers.get(frame)
        return Detections.skipped(frame) if answer is None else answer

    def _decide(self) -> None:
        """Go on with every window all of whose frames are there, with their keys answered."""
        while self._next is not None and self._is_there(self._next):
            self._open.append(_Open(self._next))
            self._next = next(self._ahead, None)
        self._open = [one for one in self._open if not self._is_content(one)]

    def _is_content(self, one: _Open) -> bool:
        """Whether a window has seen all that it must; if not, what it must see is asked for."""
        one.awaited -= self._answers.keys()
        while not one.awaited:
            asked = self._asks_for(one)
            if not asked:
                return True
            one.looks |= asked
            one.awaited = asked - self._answers.keys()
            new = sorted(one.awaited - self._asked)
            self._asked.update(new)
            self._wanted += new
        return False

    def _is_there(self, window: Window) -> bool:
        if not self._is_over and (not self._frames or self._frames[-1] < window.frame_indices[-1]):
            return False
        around = self._around(window)
        is_shut = self._is_over or (bool(around) and around[-1] >= window.frame_indices[-1])
        return is_shut and all(frame in self._answers for frame in around)

    def _around(self, window: Window) -> list[int]:
        """The keys on a window's frames, with one before and one after them."""
        first = first_look(window, self._sampled, self._spacing)  # the key of frames after it is there, or later
        return self._keys[bisect_left(self._keys, first) : bisect_left(self._keys, window.frame_indices[-1]) + 1]

    def _asks_for(self, one: _Open) -> set[int]:
        """Frames that a window must have seen, at most one between any two looks; empty when it is content."""
        looks = sorted({*self._around(one.window), *one.looks})
        boxes = {frame: self._answers[frame].best_box(self._plan.detector.score_threshold) for frame in looks}
        frames = [frame for frame in sorted({*one.window.frame_indices}) if self._came(frame)]
        return in_doubt(frames, boxes, self._plan, self._pictures, self._scene_starts)

    def _came(self, frame: int) -> bool:
        place = bisect_left(self._frames, frame)
        return place < len(self._frames) and self._frames[place] == frame

    def _forget(self) -> None:
        """Let go of what no window needs, and what was told."""
        first = min(self.needed_from, self._told_through + 1)
        del self._frames[: bisect_left(self._frames, first)]
        del self._keys[: bisect_left(self._keys, first)]
        for frame in [frame for frame in self._answers if frame < first]:
            del self._answers[frame]
        self._pictures.forget_before(first)


def most_undecided(plan: Plan) -> int:
    """How many frames may be under way at once: those of two windows, and what a key lies beyond."""
    return 2 * plan.classifier.num_frames + plan.key_spacing
