"""A table of bouts by several people, without videos: who saw what from when to when. For agreement between people.

    video, rater, behavior, start_s, end_s[, subject]        comma, semicolon or tab; a heading by any of NAMES

`read` takes such a plain table. All else that an import reads (workbooks, START and STOP, 1:02.5, BORIS projects) comes
through the import's own readers, by a mapping: `read_mapped`.

Frames are made of a fixed rate, since there is no video to ask; a video lasts until the last thing that anyone saw.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mousetal.dataset import BACKGROUND
from mousetal.errors import RecordError
from mousetal.types import FrameRange, Label
from training.evaluation import raters
from training.evaluation.comparison import Comparison, of_labels, scored_mask
from training.importing.mapping import Mapping
from training.importing.rows import FRAMES, LabelRow
from training.importing.sources import read_source

NAMES = {
    "video": ("video", "id", "recording", "file"),
    "rater": ("rater", "experimenter", "scorer", "observer", "labeler", "labeller"),
    "behavior": ("behavior", "behaviour", "type", "label"),
    "start_s": ("start_s", "from", "start", "onset"),
    "end_s": ("end_s", "to", "stop", "end", "offset"),
    "subject": ("subject", "animal", "id"),
}
FPS = 25.0


@dataclass(frozen=True, slots=True)
class RaterTable:
    """The labels by video and rater, the animal of each video, and rows that could not be used, with the reason.

    ``scored`` has per video the parts that all raters looked at, where the table tells it; ``notes`` are for people.
    """

    labels: dict[str, dict[str, list[Label]]]
    subjects: dict[str, str]
    fps: float
    unusable: tuple[str, ...]
    scored: dict[str, tuple[FrameRange, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def raters(self) -> tuple[str, ...]:
        return tuple(sorted({rater for by_rater in self.labels.values() for rater in by_rater}))

    @property
    def behaviors(self) -> tuple[str, ...]:
        """In order of how often they were seen."""
        seen: dict[str, int] = {}
        for by_rater in self.labels.values():
            for labels in by_rater.values():
                for label in labels:
                    seen[label.behavior] = seen.get(label.behavior, 0) + 1
        return tuple(sorted(seen, key=lambda name: (-seen[name], name)))


def read(path: Path, fps: float = FPS) -> RaterTable:
    """The table in a file; raises RecordError when columns are missing or no row can be used."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: a table in UTF-8 expected ({error})") from error
    heading = text.split("\n", 1)[0]
    rows = list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=heading.count)))
    columns = _columns(rows[0] if rows else [], path)
    labels: dict[str, dict[str, list[Label]]] = {}
    subjects: dict[str, str] = {}
    unusable = []
    for number, row in enumerate(rows[1:], start=2):
        values = {name: row[place].strip() for name, place in columns.items() if place < len(row)}
        try:
            start, end = (float(values[name].replace(",", ".")) for name in ("start_s", "end_s"))
            frames = FrameRange(round(start * fps), max(round(end * fps), round(start * fps) + 1))
            if not (
                math.isfinite(end) and 0 <= start <= end and all(values[n] for n in ("video", "rater", "behavior"))
            ):
                raise ValueError("start and end in order and no empty cell expected")
        except (KeyError, ValueError, OverflowError) as error:
            unusable.append(f"row {number}: {error}")
            continue
        video, origin = values["video"], f"{path.name}!{number}"
        label = Label(values["behavior"], frames, 1, values["rater"], origin)
        labels.setdefault(video, {}).setdefault(label.rater, []).append(label)
        subjects.setdefault(video, values.get("subject") or video)
    if not labels:
        raise RecordError(f"{path}: no row could be used ({'; '.join(unusable[:3]) or 'there is none'}).")
    return RaterTable(labels, subjects, fps, tuple(unusable))


def read_mapped(path: Path, mapping: Mapping | None, fps: float = FPS) -> RaterTable:
    """Labels of several people in whatever an import reads; raises RecordError, or SettingsError without a mapping that
    is needed.

    Seconds are laid on frames of ``fps``; frame numbers stay what they are, and count at ``fps``. An instant lasts a
    frame.
    """
    table = read_source(path, mapping)
    aliases = mapping.video.aliases if mapping else {}
    labels: dict[str, dict[str, list[Label]]] = {}
    subjects: dict[str, str] = {}
    unusable = [f"{one.origin}: {one.message}" for one in table.troubles if one.is_loss]
    for row in table.rows:
        if not row.rater or row.behavior == BACKGROUND:
            why = f"{BACKGROUND} is no behaviour" if row.rater else "who scored it is not said; see columns.rater"
            unusable.append(f"{row.origin}: {why}")
            continue
        video = aliases.get(row.video, row.video)
        label = Label(row.behavior, _frames(row, fps), row.count, row.rater, row.origin)
        labels.setdefault(video, {}).setdefault(row.rater, []).append(label)
        subjects.setdefault(video, table.facts[row.video].subject or video)
    if not labels:
        raise RecordError(f"{path}: no row could be used ({'; '.join(unusable[:3]) or 'there is none'}).")
    scored = {
        aliases.get(video, video): tuple(_frames(part, fps) for part in parts) for video, parts in table.scored.items()
    }
    notes = tuple(f"{one.origin}: {one.message}" for one in table.troubles if not one.is_loss)
    return RaterTable(labels, subjects, fps, tuple(unusable), scored, notes)


def _frames(row: LabelRow, fps: float) -> FrameRange:
    rate = 1.0 if row.unit == FRAMES else fps
    start = round(row.start * rate)
    return FrameRange(start, start + 1 if row.end is None else max(round(row.end * rate), start + 1))


def compare(table: RaterTable, first: str, second: str, behaviors: Sequence[str]) -> list[Comparison]:
    """The videos that both labelled, the first taken as the truth."""
    return [
        of_labels(video, table.subjects[video], _edges(by_rater.values(), table.fps), behaviors, by_rater[first],
                  by_rater[second], table.scored.get(video))
        for video, by_rater in table.labels.items()
        if first in by_rater and second in by_rater
    ]  # fmt: skip


def alpha(table: RaterTable, behavior: str) -> float | None:
    """Krippendorff's alpha of all raters on the frames of all videos; who did not label a video is missing there."""
    parts = []
    for video, by_rater in table.labels.items():
        is_scored = scored_mask(table.scored.get(video), len(_edges(by_rater.values(), table.fps)) - 1)
        parts.append(raters.ratings(by_rater, table.raters, behavior, is_scored))
    return raters.krippendorff_alpha(np.concatenate(parts, axis=1))


def _edges(labels: Iterable[Sequence[Label]], fps: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    end = max(label.frames.end_frame for some in labels for label in some)
    return np.arange(end + 1, dtype=np.float64) / fps


def _columns(heading: Sequence[str], path: Path) -> dict[str, int]:
    known = [name.strip().lower() for name in heading]
    columns = {}
    for name, spellings in NAMES.items():
        place = next((known.index(one) for one in spellings if one in known), None)
        if place is not None:
            columns[name] = place
        elif name != "subject":
            raise RecordError(
                f"{path}: no column for {name} ({', '.join(spellings)} expected; there are {', '.join(heading)})."
            )
    return columns
