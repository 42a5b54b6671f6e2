"""What a table has told so far: `Reading`, which the layouts fill row by row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mousetal.dataset import BACKGROUND
from mousetal.formats.boris import NO_MODIFIER, NO_SUBJECT
from mousetal.formats.tables import Cell, join_origins
from training.importing.grid import Grid, plain
from training.importing.mapping import BehaviorRule, Mapping, TimeRule
from training.importing.media import ObservedFiles, Playlist
from training.importing.rows import (
    FACTS,
    FRAMES,
    SECONDS,
    LabelRow,
    LabelTable,
    Trouble,
    VideoFacts,
    contradictions,
)  # fmt: skip
from training.importing.times import TimeError, parse_cell

Row = tuple[Cell, ...]


class Names:
    """The behaviours' own names by their spellings; `of` gives None for one that is to be left out in silence."""

    def __init__(self, rule: BehaviorRule) -> None:
        self.by_spelling = {plain(spelling): name for name, all_ in rule.names.items() for spelling in (*all_, name)}
        self.ignored = {plain(name) for name in rule.ignore}
        self.markers = {plain(name) for name in rule.markers}

    def of(self, text: str) -> str | None:
        """Raises KeyError for a behaviour that is not among the names, where there are names."""
        key = plain(text)
        if key in self.ignored:
            return None
        if key == BACKGROUND:  # no behaviour in any data set; the plan says what becomes of it
            return BACKGROUND
        return self.by_spelling[key] if self.by_spelling else " ".join(text.split())

    def is_marker(self, text: str) -> bool:
        return plain(text) in self.markers


def moment(cell: Cell, is_end: bool, rule: TimeRule, fps: float) -> tuple[float, str]:
    """The time in a cell and its unit; an end is where the bout is over (after its last frame). Raises TimeError.

    ``fps`` is the rate at which frame numbers were counted; 0: they are the video's own.
    """
    time = parse_cell(cell, rule.unit, rule.decimal)
    if rule.unit != "frame":
        return time + rule.offset_s, SECONDS
    frame = time - rule.first_frame + (1 if is_end and rule.end == "inclusive" else 0)
    if frame < 0:
        raise TimeError(f"a frame number from {rule.first_frame} on expected, got {cell.text}")
    return (frame / fps + rule.offset_s, SECONDS) if fps else (frame, FRAMES)


@dataclass
class Reading:
    """What has been read so far."""

    mapping: Mapping
    source: str
    troubles: list[Trouble]
    rows: list[LabelRow] = field(default_factory=list)
    facts: dict[str, VideoFacts] = field(default_factory=dict)
    markers: dict[tuple[str, str], list[LabelRow]] = field(default_factory=dict)
    last_video: str = ""

    def __post_init__(self) -> None:
        self.names = Names(self.mapping.behaviors)
        self.points = {plain(name) for name in self.mapping.behaviors.points}

    def lose(self, kind: str, message: str, *cells: Cell) -> None:
        self.troubles.append(Trouble(kind, join_origins(*cells), message))

    def note(self, kind: str, message: str, *cells: Cell) -> None:
        self.troubles.append(Trouble(kind, join_origins(*cells), message, is_loss=False))

    def played(self, observed: ObservedFiles | None, row: Row) -> Playlist | None:
        """The files through which the row's times count, None where they are one file's own; raises MediaError.

        Frame numbers are a file's own in any case.
        """
        if observed is None or self.mapping.time.unit == "frame":
            return None
        played = observed.playlist(row, self.mapping.time.decimal)
        if played and (note := observed.note_of(row, played)):
            self.note("about the file", note, row[0])
        return played

    def video_of(self, grid: Grid, row: Row, played: Playlist | None = None) -> str:
        """The video that the row is about, "" where none is named; remembers what the row says of it.

        Of several files that are ``played`` it is all of them: their bouts find their own file in `add`.
        """
        rule, columns = self.mapping.video, self.mapping.columns
        if rule.source == "sheet":
            video = grid.sheet.name
        elif rule.source == "file":
            video = grid.sheet.path.stem
        else:
            video = grid.text(row, columns.video) or (self.last_video if rule.fill_down else "")
        self.last_video = video
        for name in played.files if played else (video,):
            if name:
                self._remember(name, grid, row)
        return " + ".join(played.files) if played else video

    def _remember(self, video: str, grid: Grid, row: Row) -> None:
        texts = {name: grid.text(row, getattr(self.mapping.columns, name)) for name in FACTS}
        if texts["subject"] == NO_SUBJECT:
            texts["subject"] = ""
        said = VideoFacts(**texts)
        known = self.facts.get(video, VideoFacts())
        if known != said:
            self.troubles += contradictions(video, known, said, grid.origin(row))
        self.facts[video] = known.completed_by(said)

    def rater_of(self, grid: Grid, row: Row) -> str:
        return grid.text(row, self.mapping.columns.rater) or self.mapping.rater

    def behavior_of(self, text: str, cell: Cell) -> str | None:
        """The behaviour's own name, None (and a trouble) when it is none of those that are known."""
        try:
            return self.names.of(text)
        except KeyError:
            known = ", ".join(self.mapping.behaviors.names)
            self.lose("unmatched behaviour", f"{text!r} is none of {known}; add it to behaviors.names or ignore", cell)
            return None

    def fps_of(self, grid: Grid, row: Row) -> float:
        cell = grid.cell(row, self.mapping.columns.fps)
        if cell is None or cell.is_empty:
            return self.mapping.time.fps
        rate = parse_cell(cell, "seconds", self.mapping.time.decimal)
        if rate <= 0:
            raise TimeError(f"a frame rate expected, got {cell.text}")
        return rate

    def count_of(self, grid: Grid, row: Row, column: str) -> int | None:
        """Repeats; None (and a trouble) for zero: that nothing was seen is no bout."""
        cell = grid.cell(row, column)
        if cell is None or cell.is_empty or cell.text in NO_MODIFIER:
            return 1
        try:
            number = float(cell.text.replace(",", "."))
        except ValueError:
            number = -1.0
        if number == 0:
            self.note("count of zero", "zero repeats: nothing was seen", cell)
            return None
        if number < 1 or not number.is_integer():
            self.note("odd count", f"a whole number of repeats expected, got {cell.text!r}; counted once", cell)
            return 1
        return int(number)

    def confidence_of(self, grid: Grid, row: Row) -> float | None:
        """How sure a program was, 0..1; None where it says nothing (and a trouble where it can't be read)."""
        cell = grid.cell(row, self.mapping.columns.confidence)
        if cell is None or cell.is_empty:
            return None
        try:
            number = float(cell.text.replace(",", "."))
        except ValueError:
            number = -1.0
        if 0 <= number <= 1:
            return number
        self.note("odd confidence", f"a confidence from 0 to 1 expected, got {cell.text!r}; left out", cell)
        return None

    def add(self, row: LabelRow, is_marker: bool, *cells: Cell, played: Playlist | None = None) -> None:
        """Keep the row, unless it ends before it starts; of several files that are ``played``, a part for each."""
        if row.end is not None and row.end < row.start:
            self.lose("end before start", f"{row.behavior} of {row.video} ends before it starts", *cells)
            return
        for name, start, end in played.parts(row.start, row.end) if played else [(row.video, row.start, row.end)]:
            part = replace(row, video=name, start=start, end=end)
            if is_marker:
                self.markers.setdefault((name, row.rater), []).append(part)
            else:
                self.rows.append(part)

    def table(self) -> LabelTable:
        rule = self.mapping.behaviors
        scored: dict[str, tuple[LabelRow, ...]] = {video: (part,) for video, part in self._scored().items()}
        seen = {row.behavior for row in self.rows}
        declared = tuple(rule.names)
        for name in declared:
            if name not in seen:
                self.troubles.append(Trouble("class never seen", self.source, f"{name}: no bout of it", is_loss=False))
        return LabelTable(
            self.source, tuple(self.rows), self.facts, tuple(self.troubles), scored, declared, rule.looked_for
        )

    def _scored(self) -> dict[str, LabelRow]:
        """Per video, from the first marker to the last, as far as all raters' parts go."""
        scored: dict[str, LabelRow] = {}
        for (video, rater), marks in sorted(self.markers.items()):
            marks.sort(key=lambda mark: mark.start)
            first, last = marks[0], marks[-1]
            if len(marks) < 2:
                why = f"{rater or 'the rater'} has one marker in {video}: the scored part can't be told"
                self.troubles.append(Trouble("marker without a partner", first.origin, why, is_loss=False))
                continue
            start, end = first.start, last.start if last.end is None else last.end
            known = scored.get(video)
            if known is not None and known.end is not None:
                start, end = max(start, known.start), min(end, known.end)
            scored[video] = LabelRow(video, "", start, end, first.unit, origin=first.origin)
        for video, part in list(scored.items()):
            if part.end is not None and part.start >= part.end:
                why = f"the parts of {video} that raters scored have nothing in common: all of it is taken as scored"
                self.troubles.append(Trouble("markers that disagree", part.origin, why, is_loss=False))
                del scored[video]
        return scored
