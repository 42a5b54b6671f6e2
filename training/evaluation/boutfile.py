"""Bouts that were found by whatever means, in a file: `intervals.csv` as it is or corrected, another program's table.

    told = boutfile.read(Path("intervals.csv"), None, [entry.path for entry in dataset.videos])
    bouts = told.bouts("lab/video/m1.mp4", video.probe(path))

Any table that an import reads will do, with a mapping where an import needs one. Videos are found by what the table
calls them, times are laid on the video's own frames. ``columns.confidence`` says how sure each bout is; without it all
bouts are alike, and what sorts by confidence (mAP) is not defined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mousetal.dataset import BACKGROUND
from mousetal.errors import RecordError
from mousetal.types import Bout, VideoInfo
from training.importing.frames import place
from training.importing.mapping import Mapping as ColumnMapping
from training.importing.match import Matcher
from training.importing.rows import LabelRow
from training.importing.sources import read_source


@dataclass(frozen=True, slots=True)
class BoutFile:
    """The rows by video; ``notes`` says what of the file is of no use."""

    rows: Mapping[str, Sequence[LabelRow]]
    notes: tuple[str, ...] = ()

    def bouts(self, video: str, info: VideoInfo) -> tuple[Bout, ...]:
        """What was found in one video; rows that begin after its end are left out."""
        made = []
        for row in self.rows.get(video, ()):
            placed = place(row, info)
            if placed is not None:
                confidence = 1.0 if row.confidence is None else row.confidence
                made.append(
                    Bout(row.behavior, placed.frames.start_frame, placed.frames.end_frame, confidence, confidence)
                )
        return tuple(made)

    def behaviors(self) -> Counter[str]:
        """How often each was found."""
        return Counter(row.behavior for rows in self.rows.values() for row in rows)


def read(path: Path, mapping: ColumnMapping | None, videos: Sequence[str]) -> BoutFile:
    """The bouts of those of ``videos`` that the file names; raises RecordError when it names none of them."""
    table = read_source(path, mapping)
    matcher = Matcher(videos, mapping.video.aliases if mapping else {})
    meant = {name: matcher.find(name) for name in dict.fromkeys([*table.facts, *(row.video for row in table.rows)])}
    rows: dict[str, list[LabelRow]] = {found.video: [] for found in meant.values() if found.video}
    if not rows:
        named = ", ".join(list(meant)[:3]) or "none"
        raise RecordError(f"{path}: no video of the data set is named there (it names {named}; see video.aliases).")
    for row in table.rows:
        if meant[row.video].video and row.behavior != BACKGROUND:
            rows[meant[row.video].video].append(row)
    notes = [f"{one.origin}: {one.message}" for one in table.troubles if one.is_loss]
    for name, found in meant.items():
        if not found.video:
            why = f"may be {' or '.join(found.candidates)}" if found.is_ambiguous else "is no video of the data set"
            notes.append(f"{path.name}: {name} {why}, so its bouts are left out")
    return BoutFile(rows, tuple(notes))
