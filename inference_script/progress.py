"""What the user sees while it runs: on a terminal bars on stderr, otherwise one log line per video.

The upper bars count the frames of the videos at hand and show each stage's frames per second; the last one counts all
videos, weighed by their size on disk, which is known before any of them is opened.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

Snapshot = Callable[[], Mapping[str, tuple[int, float]]]
Reach = Callable[[int], None]

STAGES = ("decode", "detect", "crop", "classify")
OVERALL_FORMAT = "{desc}{percentage:3.0f}% |{bar}| ETA {remaining}"


class Progress:
    """Bars for a batch of which ``at_once`` videos are worked on at a time; use it as a context manager.

    Without a terminal it shows nothing. Its methods may be called from any thread.
    """

    def __init__(self, num_videos: int, total_bytes: int, at_once: int = 1, is_shown: bool | None = None) -> None:
        self._is_shown = sys.stderr.isatty() if is_shown is None else is_shown
        self._num_videos = num_videos
        self._total_bytes = max(total_bytes, 1)
        self._at_once = at_once
        self._lock = threading.Lock()
        self._free_lines = list(reversed(range(at_once)))
        self._videos_done = 0
        self._bytes_done = 0
        self._bytes_under_way: dict[str, float] = {}
        self._stack = contextlib.ExitStack()
        self._overall: tqdm[NoReturn] | None = None

    def __enter__(self) -> Progress:
        if self._is_shown:
            self._stack.enter_context(logging_redirect_tqdm())
            self._overall = tqdm(
                desc=self._described(), total=self._total_bytes, position=self._at_once, bar_format=OVERALL_FORMAT
            )
            self._stack.callback(self._overall.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def video(self, name: str, num_frames: int, size: int, snapshot: Snapshot) -> Iterator[Reach]:
        """A bar for one video; call what it yields with the number of frames that are finished."""
        if not self._is_shown:
            yield lambda frames_done: None
            return
        with self._lock:
            line = self._free_lines.pop()
        try:
            with tqdm(total=num_frames, desc=_short(name), unit="fr", position=line, leave=False) as bar:

                def reach(frames_done: int) -> None:
                    frames_done = min(max(frames_done, int(bar.n)), num_frames)
                    bar.set_postfix_str(stage_rates(snapshot()), refresh=False)
                    bar.update(frames_done - bar.n)
                    with self._lock:
                        self._bytes_under_way[name] = size * frames_done / max(num_frames, 1)
                        self._show()

                yield reach
        finally:
            with self._lock:
                self._free_lines.append(line)

    def finish(self, name: str, size: int) -> None:
        """One more video is through, whatever became of it."""
        with self._lock:
            self._videos_done += 1
            self._bytes_done += size
            self._bytes_under_way.pop(name, None)
            self._show()

    def _show(self) -> None:
        if self._overall is not None:
            done = self._bytes_done + sum(self._bytes_under_way.values())
            self._overall.set_description(self._described(), refresh=False)
            self._overall.update(min(done, self._total_bytes) - self._overall.n)

    def _described(self) -> str:
        return f"{self._videos_done} of {self._num_videos} videos"


def stage_rates(snapshot: Mapping[str, tuple[int, float]]) -> str:
    """Frames (windows, for the last two) per second of each stage's own time: "decode 210/s, detect 38/s"."""
    rates = [
        f"{stage} {snapshot[stage][0] / snapshot[stage][1]:.0f}/s"
        for stage in STAGES
        if stage in snapshot and snapshot[stage][1] > 0
    ]
    return ", ".join(rates)


def _short(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else "…" + name[1 - longest :]
