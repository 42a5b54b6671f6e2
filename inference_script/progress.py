"""What the user sees while it runs: on a terminal two bars on stderr, otherwise one log line per video.

The upper bar counts the frames of the video at hand and shows each stage's frames per second; the lower one counts
all videos, weighed by their size on disk, which is known before any of them is opened.
"""

from __future__ import annotations

import contextlib
import sys
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
    """Bars for a batch; use it as a context manager. Without a terminal it shows nothing."""

    def __init__(self, num_videos: int, total_bytes: int, is_shown: bool | None = None) -> None:
        self._is_shown = sys.stderr.isatty() if is_shown is None else is_shown
        self._num_videos = num_videos
        self._total_bytes = max(total_bytes, 1)
        self._videos_done = 0
        self._bytes_done = 0
        self._stack = contextlib.ExitStack()
        self._overall: tqdm[NoReturn] | None = None

    def __enter__(self) -> Progress:
        if self._is_shown:
            self._stack.enter_context(logging_redirect_tqdm())
            self._overall = tqdm(desc=self._described(), total=self._total_bytes, position=1, bar_format=OVERALL_FORMAT)
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
        with tqdm(total=num_frames, desc=_short(name), unit="fr", position=0, leave=False) as bar:

            def reach(frames_done: int) -> None:
                frames_done = min(max(frames_done, int(bar.n)), num_frames)
                bar.set_postfix_str(stage_rates(snapshot()), refresh=False)
                bar.update(frames_done - bar.n)
                self._move(size * frames_done / max(num_frames, 1))

            yield reach

    def finish(self, size: int) -> None:
        """One more video is through, whatever became of it."""
        self._videos_done += 1
        self._bytes_done += size
        self._move(0)

    def _move(self, bytes_of_this_video: float) -> None:
        if self._overall is not None:
            self._overall.set_description(self._described(), refresh=False)
            self._overall.update(min(self._bytes_done + bytes_of_this_video, self._total_bytes) - self._overall.n)

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
