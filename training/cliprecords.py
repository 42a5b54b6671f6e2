"""What the clips' folder remembers of each video, so that an interrupted run goes on and only what changed is done.

    clips/records/<hash of the video's path>/
      record.json              the video, the key of all that its clips depend on, whether they are all there, what
                               storing them cost, and size and date of the file that they were cut from
      clips.csv, clips.npz     its rows of the clips' table, without weights

A record is begun before the first clip is written: what an interrupted run leaves behind is found, and taken away.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mousetal import atomic
from mousetal.dataset import VideoEntry
from mousetal.errors import RecordError
from mousetal.types import FrameBox, Label
from training.clipping import Loss, Shape, prefix_of
from training.clips import Clip, ClipTable, read_table, write_table
from training.cutting import CutRules

VERSION = 2
FOLDER = "records"
NAME = "record.json"


@dataclass(frozen=True, slots=True)
class Record:
    """The record at ``path`` of a video whose clips lie in ``clips``."""

    clips: Path
    path: Path

    @classmethod
    def of(cls, clips: Path, entry: VideoEntry) -> Record:
        return cls(clips, clips / FOLDER / slug(entry))

    def read(self, key: str) -> list[Clip] | None:
        """The clips, if the record is complete, has this key, and all its files are there."""
        document = self._document()
        if document.get("key") != key or not document.get("is_complete"):
            return None
        try:
            found = list(read_table(self.clips, self.path).clips)
        except RecordError:
            return None
        return found if all(clip.path.is_file() for clip in found) else None

    def begin(self, entry: VideoEntry, key: str) -> None:
        document = {"video": entry.path, "prefix": prefix_of(entry), "key": key, "is_complete": False}
        atomic.write_json(self.path / NAME, document)

    def finish(self, classes: tuple[str, ...], clips: Sequence[Clip], loss: Loss, source: Path) -> None:
        write_table(ClipTable(self.clips, classes, tuple(clips)), self.path)
        cost = {"psnr": [round(one, 3) for one in loss.psnr], "bytes": loss.bytes, "seconds": loss.seconds}
        atomic.write_json(
            self.path / NAME, {**self._document(), "is_complete": True, "loss": cost, "source": _looks(source)}
        )

    @property
    def loss(self) -> Loss:
        """What storing the clips cost."""
        return Loss(**self._document().get("loss", {}))

    def is_of(self, source: Path) -> bool:
        """Whether the file has size and date of the one that the clips were cut from; also where there is none now."""
        return _looks(source) in (None, self._document().get("source"))

    def now_of(self, source: Path) -> None:
        """Note that the file is the same for all its other date."""
        atomic.write_json(self.path / NAME, {**self._document(), "source": _looks(source)})

    def forget(self) -> None:
        """Take away the video's clips, finished or not, and the record."""
        if prefix := self._document().get("prefix"):
            for path in self.clips.glob(f"*/{prefix}*_clip_*.avi"):
                path.unlink()
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def video(self) -> str:
        """The path of the video in the data set; the record's own name where that cannot be read."""
        return str(self._document().get("video", self.path.name))

    @property
    def has_clips(self) -> bool:
        return (self.path / "clips.csv").exists()

    def _document(self) -> dict[str, Any]:
        try:
            document = atomic.read_json(self.path / NAME)
        except RecordError:
            return {}
        return document if isinstance(document, dict) else {}


def _looks(path: Path) -> list[int] | None:
    """Size and date of a file, without which its content would have to be read every time."""
    try:
        about = path.stat()
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns]


def slug(entry: VideoEntry) -> str:
    """A video's name among the records: 16 hexadecimal digits."""
    return hashlib.sha256(entry.path.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def records(clips: Path) -> Iterator[Record]:
    """All records in the clips' folder, by name."""
    for path in sorted((clips / FOLDER).glob("*")):
        yield Record(clips, path)


def key_of(
    entry: VideoEntry,
    labels: Sequence[Label],
    boxes: Sequence[FrameBox],
    classes: tuple[str, ...],
    seed: int,
    cut: CutRules,
    shape: Shape,
    doubt: str,
) -> str:
    """A hash of all that a video's clips depend on; ``doubt`` names an earlier model's results, if they count."""
    told = [(one.behavior, one.frames) for one in labels]
    facts = [entry.sha256, entry.subject, entry.session, entry.split, entry.scored, entry.behaviors]
    shown = [VERSION, facts, told, tuple(boxes), classes, seed, cut, shape, doubt]
    return hashlib.sha256(repr(shown).encode("utf-8", "backslashreplace")).hexdigest()
