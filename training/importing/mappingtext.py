"""A guessed mapping as TOML that a person can edit: every key that may have to be changed, with what it means."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from training.importing.mapping import EventWords

if TYPE_CHECKING:
    from training.importing.guess import Guess


def text(guessed: Guess, source: str) -> str:
    """The file's content."""
    lines = [
        f"# What the columns of {source} mean. Guessed: look at every line.",
        *(f"# Note: {remark}" for remark in guessed.remarks),
        "",
        "# bouts: a row per bout; start_stop: a row per moment; column_per_behavior; binary: a row per moment, 0 and 1",
        f"layout = {_quoted(guessed.layout)}",
        f"header = {_rows(guessed.header)}  # row of the names, from 1; 0: none, columns are A, B, ...; [1, 2]: two",
        f"sheets = {_list(guessed.sheets)}  # names of the sheets to read; []: all that are not hidden",
        'rater = ""  # who scored, where no column says it',
        "",
        "[columns]  # further ones: video behavior start end duration time event count rater subject group phase",
        "           # session fps confidence",
        *(f"{role} = {_quoted(column)}" for role, column in guessed.columns.items()),
        "",
        "[video]",
        f"source = {_quoted(guessed.source)}  # where the video is named: column, sheet, or file",
        f"fill_down = {'true' if guessed.fill_down else 'false'}  # an empty cell means the video of the row above",
        "[video.aliases]",
        '# "name in the table" = "file.mp4"',
        "",
        "[time]",
        f"unit = {_quoted(guessed.unit)}  # seconds, milliseconds, mm:ss, hh:mm:ss, hh:mm, day_fraction, frame",
        f"decimal = {_quoted(guessed.decimal)}",
        'beyond = "clip"  # a bout that goes on after the video\'s end is cut there; "drop": left out',
        "# offset_s = 0.0  # added to every time",
    ]
    if guessed.unit == "frame":
        lines += [
            "first_frame = 0  # the number of the video's first frame",
            'end = "exclusive"  # "inclusive": the end frame still belongs to the bout',
            "fps = 0  # 0: the video's own frames; else the rate at which frames were counted",
        ]
    if guessed.layout == "start_stop":
        lines += ["", "[events]  # the words in the event column; upper and lower case are the same"]
        words = EventWords()
        lines += [f"{name} = {_list(getattr(words, name))}" for name in words.__slots__]
    lines += ["", *_behavior_lines(guessed)]
    return "\n".join(lines) + "\n"


def _behavior_lines(guessed: Guess) -> list[str]:
    lines = []
    for name, pair in guessed.per_behavior.items():
        lines.append(f"[column_per_behavior.{_quoted(name)}]  # start and end, or cells that hold times and spans")
        lines += [f"{role} = {_quoted(column)}" for role, column in pair.items()]
    lines += [
        "",
        "[behaviors]",
        "ignore = []  # left out without a word",
        "points = []  # may lack an end: one frame long",
        "markers = []  # no behaviours: the first and last one bracket the part of the video that was scored",
        "looked_for = []  # only these were looked for; []: all",
        "",
        '[behaviors.names]  # "name in the data set" = ["spelling in the table", ...]; what is not here is left out',
    ]
    spellings: dict[str, list[str]] = {}
    for spelling in guessed.behaviors or guessed.per_behavior:
        spellings.setdefault(" ".join(spelling.split()).casefold(), []).append(spelling)
    for same in spellings.values():
        rows = sum(guessed.behaviors[one] for one in same)
        lines.append(f"{_quoted(same[0])} = {_list(same)}" + (f"  # {rows} rows" if rows else ""))
    return lines


def _rows(header: tuple[int, ...]) -> str:
    return str(list(header)) if len(header) > 1 else str(header[0] if header else 0)


def _quoted(text_: str) -> str:
    """A TOML string: JSON's escapes are among TOML's."""
    return json.dumps(text_, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, texts)) + "]"
