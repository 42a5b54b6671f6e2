"""BORIS tables whose observations play several files, or have a time offset: the time line of a row's time.

A table is known by its header, whoever wrote the mapping for it: its times would else be taken for the file's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from mousetal.formats import boris
from mousetal.formats.borismedia import NOT_FOUND, ROUNDING_S, MediaError, Playlist, files_of, playlist
from mousetal.formats.tables import Cell
from training.importing.grid import Grid
from training.importing.mapping import TimeRule
from training.importing.times import TimeError, parse_cell

Row = tuple[Cell, ...]
FIRST_PLAYER, TIME_OFFSET = "player #1", "time offset (s)"  # rows above the header of an old table
NO_OFFSET = ("", "NA")


@dataclass
class ObservedFiles:
    """What a BORIS table tells of the files behind its rows. ``names`` leads from our names to the header's."""

    grid: Grid
    names: dict[str, str]
    listed: tuple[str, ...]  # above the header
    offset: str
    seen: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # by observation and the file that rows name
    told: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, grid: Grid, rule: TimeRule) -> ObservedFiles | None:
        """None for a table that BORIS did not write. ``rule`` tells how times are written."""
        found = boris.find_header([grid.names])
        if found is None:
            return None
        above = [[cell.text for cell in row if cell.text] for row in grid.sheet.rows[: max(0, grid.first_row - 1)]]
        pairs = [(row[0].lower(), row[1]) for row in above if len(row) > 1]
        listed = tuple(file for name, file in pairs if name == FIRST_PLAYER)
        offset = next((text for name, text in pairs if name == TIME_OFFSET), "")
        files = cls(grid, found[1], listed, offset)
        for row in grid.rows():
            by_file = files.seen.setdefault(files._text(row, "observation"), {})
            times = by_file.setdefault(files._text(row, "video"), [])
            for name in ("time", "start", "end"):
                cell = grid.cell(row, files.names.get(name, ""))
                try:
                    times += [parse_cell(cell, rule.unit, rule.decimal)] if cell else []
                except TimeError:
                    continue  # said when the row is read
        return files

    def playlist(self, row: Row, decimal: str) -> Playlist | None:
        """The files that are played one after another in the row's observation, None of a single one without offset.

        Raises MediaError where not all that is needed is known.
        """
        files = self._listed(row)
        lengths = self._text(row, "media_duration")
        offset_s = self._offset_of(row)
        if len(files) > 1:
            return playlist(files, lengths, decimal, offset_s)
        if not files and (self._may_be_played_in_turn(self._text(row, "observation")) or ";" in lengths):
            raise MediaError(
                "its observation plays several files, and no column Source lists them: when this file began is not "
                'known. Give the .boris project or, if these rows are of several observations, a column "Observation '
                'id"'
            )
        own = files or files_of(self._text(row, "video"))
        return Playlist(own, (), offset_s) if offset_s and own else None

    def check(self, row: Row, played: Playlist, time_s: float) -> None:
        """Raises MediaError where nothing is played at the row's time, or another file than the row names."""
        own = files_of(self._text(row, "video"))
        is_named = len(own) == 1 and not (played.offset_s and own[0] == NOT_FOUND)
        played.check(time_s, own[0] if is_named else "")

    def note_of(self, row: Row, played: Playlist) -> str:
        """Once per observation what is to be said of its time offset, else ""."""
        name = self._text(row, "observation")
        if not played.offset_note or name in self.told:
            return ""
        self.told.add(name)
        return f"{name or 'the observation'}: {played.offset_note}"

    def _offset_of(self, row: Row) -> float:
        """Raises MediaError for an offset that is no number of seconds."""
        text = self._text(row, "offset") or self.offset
        try:
            return 0.0 if text in NO_OFFSET else float(text.replace(",", "."))
        except ValueError:
            raise MediaError(f"a time offset in seconds expected, got {text!r}") from None

    def _listed(self, row: Row) -> tuple[str, ...]:
        """All files of the row's observation; none where nothing lists them."""
        listed = self._text(row, "source")
        files = files_of(listed)
        is_list = len(files) > 1 or listed.lower().startswith("player #")
        return files if is_list or (files and self.names["source"] != self.names["video"]) else self.listed

    def _may_be_played_in_turn(self, observation: str) -> bool:
        """Whether rows name several files that may follow each other.

        Files that are played in turn never share a time. Where all of them do, these are several observations in one
        table, each of one file.
        """
        by_file = self.seen[observation]
        spans = [(min(times), max(times)) for name, times in by_file.items() if name and times]
        return any(min(a[1], b[1]) - max(a[0], b[0]) <= ROUNDING_S for a, b in combinations(spans, 2))

    def _text(self, row: Row, name: str) -> str:
        return self.grid.text(row, self.names.get(name, ""))


__all__ = ["MediaError", "ObservedFiles", "Playlist"]
