"""Partial results of a video that is being processed, so that a crash or a stop costs minutes and not the night.

    .parts/<video>/key.txt      what the parts were made from; parts with another key are thrown away
    .parts/<video>/000000.npz   the results since the part before, in order
    .parts/<video>/...

A part holds window scores and the raw detections that came with them, from which the pipeline goes on.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mousetal import atomic
from mousetal.arrays import pack_detections, pack_scores, unpack_detections, unpack_scores
from mousetal.errors import RecordError
from mousetal.types import Detections, WindowScore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One window's score, and the detections that arrived between the score before it and this one."""

    score: WindowScore
    detections: tuple[Detections, ...]


class PartFolder:
    """The parts of one video. Only one process may use it at a time: hold the output's lock."""

    def __init__(self, output: Path, video: str, key: str) -> None:
        self.folder = output / ".parts" / video
        self._key = key
        self._count = 0

    def load(self) -> list[Part]:
        """The parts that are there and fit the key, up to the first that can't be read; others are removed."""
        try:
            is_ours = (self.folder / "key.txt").read_text("utf-8") == self._key
        except (OSError, ValueError):
            is_ours = False
        if not is_ours:
            self.remove()
            return []
        found: list[Part] = []
        for path in sorted(self.folder.glob("*.npz")):
            try:
                found += _read(path)
            except RecordError as error:
                log.warning("A partial result is damaged; the video goes on from before it. %s", error)
                break
            self._count += 1
        return found

    def append(self, parts: Sequence[Part], num_classes: int) -> None:
        """Write the results since the last call as one more part; raises OutputError."""
        if not parts:
            return
        if self._count == 0:
            atomic.write_text(self.folder / "key.txt", self._key)
        scores = pack_scores([part.score for part in parts], num_classes)
        detections = pack_detections([found for part in parts for found in part.detections])
        counts = {"detections_per_window": np.array([len(part.detections) for part in parts], np.int64)}
        atomic.write_arrays(self.folder / f"{self._count:06d}.npz", {**scores, **detections, **counts})
        self._count += 1

    def remove(self) -> None:
        """Forget the parts, and the folders that are left empty by it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._count = 0
        for parent in self.folder.parents:
            if parent.name == ".parts" and not any(parent.glob("*")):
                parent.rmdir()
            if parent.name == ".parts" or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def _read(path: Path) -> list[Part]:
    arrays = atomic.read_arrays(path)
    try:
        scores = unpack_scores(arrays)
        every = unpack_detections(arrays)
        ends = np.cumsum(arrays["detections_per_window"]).tolist()
        return [
            Part(score, every[start:end]) for score, start, end in zip(scores, [0, *ends[:-1]], ends, strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: not a part as this version writes it ({error!r}).") from error
