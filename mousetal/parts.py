"""Partial results of a video that is being processed, so that a crash or a stop costs minutes and not the night.

    .parts/<video>/key.txt      what the parts were made from; parts with another key are thrown away
    .parts/<video>/000000.npz   the results since the part before, in order
    .parts/<video>/...

A part holds window scores and what came with them (raw detections, missing frames), from which the pipeline goes on.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from mousetal import atomic
from mousetal.arrays import pack_results, unpack_results
from mousetal.errors import RecordError
from mousetal.plan import WindowResult

log = logging.getLogger(__name__)


class PartFolder:
    """The parts of one video. Only one process may use it at a time: hold the output's lock."""

    def __init__(self, output: Path, video: str, key: str) -> None:
        self._top = output / ".parts"
        self.folder = self._top / video
        self._key = key
        self._count = 0

    def load(self) -> list[WindowResult]:
        """The parts that are there and fit the key, up to the first that can't be read; others are removed."""
        try:
            is_ours = (self.folder / "key.txt").read_text("utf-8") == self._key
        except (OSError, ValueError):
            is_ours = False
        if not is_ours:
            self.remove()
            return []
        found: list[WindowResult] = []
        paths = sorted(self.folder.glob("*.npz"))
        for self._count, path in enumerate(paths):
            try:
                found += _read(path)
            except RecordError as error:
                log.warning("A partial result is damaged; the video goes on from before it. %s", error)
                for useless in paths[self._count :]:
                    useless.unlink()
                return found
        self._count = len(paths)
        return found

    def append(self, results: Sequence[WindowResult]) -> None:
        """Write the results since the last call as one more part; raises OutputError."""
        if not results:
            return
        if self._count == 0:
            atomic.write_text(self.folder / "key.txt", self._key)
        atomic.write_arrays(self.folder / f"{self._count:06d}.npz", pack_results(results))
        self._count += 1

    def remove(self) -> None:
        """Forget the parts, and the folders that are left empty by it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._count = 0
        top = len(self.folder.relative_to(self._top).parts)
        with contextlib.suppress(OSError):  # a folder that is not empty belongs to another video's parts
            for folder in self.folder.parents[:top]:
                folder.rmdir()


def _read(path: Path) -> list[WindowResult]:
    arrays = atomic.read_arrays(path)
    try:
        return unpack_results(arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: not a part as this version writes it ({error!r}).") from error
