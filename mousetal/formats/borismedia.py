"""The files that a BORIS observation plays one after another: its times count through all of them.

    a.mp4            b.mp4            START at 150 s, beside the name b.mp4, is 50 s after the beginning of b.mp4.
    0 ------- 100 s  100 ------ 200 s

Tables name all files of an observation in one cell and their lengths in another, in the same order, with semicolons
between them. A bar begins the next player, which shows the same moments from another side and is of no use here:

    Source               player #1:a.mp4;b.mp4|player #2:side.mp4
    Media duration (s)   100.000;100.000|200.000

An observation's time offset is added by BORIS to every time as it is scored, in projects and tables alike: with one of
60 s the first file begins at 60 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PLAYER = re.compile(r"[|\s]*player #\d+:\s*", re.IGNORECASE)
ROUNDING_S = 0.05  # lengths and times are rounded to the millisecond, some of them twice
DIGITS = 6  # of a time less an offset, both of which have three
NOT_FOUND = "Not found"  # BORIS' name for the file of a time at which, as it reckons, none is played


class MediaError(ValueError):
    """A row whose time can't be placed in a file; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Playlist:
    """The files in order, their lengths in seconds (that of the last one may be missing), and when the first begins."""

    files: tuple[str, ...]
    lengths_s: tuple[float, ...]
    offset_s: float = 0.0

    @property
    def offset_note(self) -> str:
        """What becomes of the offset, to be told; empty without one."""
        told = f"{self.offset_s:g} s are taken off its times, its time offset, which BORIS adds to all of them"
        return told if self.offset_s else ""

    def parts(self, start_s: float, end_s: float | None) -> list[tuple[str, float, float | None]]:
        """A bout on the common time line as parts, one per file that it touches, in each file's own seconds.

        An instant (``end_s`` None, or the start) is one part. What comes after the end belongs to the last file.
        Times are such as `check` lets pass.
        """
        start_s, end_s = self._played(start_s), None if end_s is None else self._played(end_s)
        parts: list[tuple[str, float, float | None]] = []
        for name, begin, finish in self._spans():
            if end_s is None or end_s == start_s:
                if begin <= start_s < finish:
                    parts.append((name, start_s - begin, None if end_s is None else end_s - begin))
            elif start_s < finish and end_s > begin:
                parts.append((name, max(start_s, begin) - begin, min(end_s, finish) - begin))
        return parts

    def check(self, time_s: float, name: str = "") -> None:
        """Raises MediaError where nothing is played at ``time_s``, or another file than the one that is named.

        Then the row is not what BORIS writes (somebody has put the times right already, say), and moving it would only
        make it wrong in another way. BORIS forgets the offset when it names the file.
        """
        if self.offset_s and time_s < self.offset_s - ROUNDING_S:
            raise MediaError(
                f"at {time_s:g} s nothing is played yet: BORIS adds the observation's time offset, {self.offset_s:g}, "
                "to every time. Set the offset to 0 where it was not added"
            )
        if not name or any(
            file == name and begin - ROUNDING_S <= moment_s <= finish + ROUNDING_S
            for moment_s in {time_s, self._played(time_s)}
            for file, begin, finish in self._spans()
        ):
            return
        if name not in self.files:
            raise MediaError(f"the file {name!r} is none of those that were played ({', '.join(self.files)})")
        raise MediaError(
            f"at {time_s:g} s another file than {name} is played: times that count through all of "
            f"{', '.join(self.files)} are expected"
        )

    def _played(self, time_s: float) -> float:
        """Seconds since the first file began."""
        return max(0.0, round(time_s - self.offset_s, DIGITS)) if self.offset_s else time_s

    def _spans(self) -> Iterator[tuple[str, float, float]]:
        """Every file with its begin and end in seconds since the first began; the last one has no end."""
        begin = 0.0
        for number, name in enumerate(self.files):
            is_last = number == len(self.files) - 1
            finish = float("inf") if is_last else begin + self.lengths_s[number]
            yield name, begin, finish
            begin = finish


def files_of(cell: str) -> tuple[str, ...]:
    """The files of the first player that a cell lists; none of an empty one."""
    return tuple(name.strip() for name in _first_player(cell).split(";") if name.strip())


def lengths_of(cell: str, decimal: str = ".") -> tuple[float, ...]:
    """The lengths in seconds that a cell lists for the first player; raises MediaError for what is no length."""
    lengths = []
    for text in filter(None, (one.strip() for one in _first_player(cell).split(";"))):
        try:
            length = float(text.replace(decimal, "."))
        except ValueError:
            length = -1.0
        if not 0 < length < float("inf"):
            raise MediaError(f"a file's length in seconds expected, got {text!r}")
        lengths.append(length)
    return tuple(lengths)


def playlist(files: tuple[str, ...], lengths_cell: str, decimal: str = ".", offset_s: float = 0.0) -> Playlist:
    """Files and their lengths; raises MediaError where the cell doesn't tell one length per file."""
    try:
        lengths = lengths_of(lengths_cell, decimal)
    except MediaError as error:
        lengths, why = (), f" ({error})"
    else:
        why = ""
    if len(lengths) != len(files):
        raise MediaError(
            f"its time counts through {len(files)} files ({', '.join(files)}), and {lengths_cell!r} does not tell the "
            f"length of each{why}: when this file began is not known. Give the .boris project in place of the table"
        )
    return Playlist(files, lengths, offset_s)


def _first_player(cell: str) -> str:
    return next((part for part in PLAYER.split(cell.strip()) if part), "").split("|")[0]
