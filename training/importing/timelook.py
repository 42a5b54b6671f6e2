"""How times look: in which unit most cells of a column are written, and with which decimal mark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mousetal.formats.tables import Cell, DayTime
from training.importing.cells import BETWEEN, SPAN
from training.importing.times import CLOCK, shows_seconds


@dataclass(frozen=True, slots=True)
class Look:
    """``unit`` and ``decimal`` as a mapping has them; ``remark`` is what a person should know of the choice."""

    unit: str = "seconds"
    decimal: str = "."
    remark: str = ""


def look(cells: Sequence[Cell], told: str = "") -> Look:
    """How most of these times are written. ``told`` is the unit that the columns' names tell, which numbers obey."""
    votes: Counter[str] = Counter()
    commas = points = 0
    wholes = True
    largest = 0.0
    clocks = [cell.value for cell in cells if isinstance(cell.value, DayTime)]
    for cell in cells:
        if isinstance(cell.value, DayTime):
            votes["hh:mm:ss" if shows_seconds(cell.value.number_format) else "mm:ss"] += 1
            continue
        for part in _parts(cell):
            kind, number = _kind(part)
            if not kind:
                continue
            votes[kind] += 1
            commas, points = commas + ("," in part), points + ("." in part)
            if kind == "number":
                wholes, largest = wholes and number.is_integer(), max(largest, number)
    decimal = "," if commas > points else "."
    # A 1:23 among 1:02:03 is a minute, which "mm:ss" reads too.
    unit = "mm:ss" if votes["mm:ss"] else votes.most_common(1)[0][0] if votes else "seconds"
    if unit == "hh:mm:ss" and len(clocks) >= 4 and all(_is_whole_minute(one) for one in clocks):
        why = 'all times are whole minutes: a 01:23:00 is taken for a minute and 23 seconds (unit = "hh:mm:ss" if not)'
        return Look("hh:mm", decimal, why)
    if unit != "number":
        return Look(unit, decimal)
    if told == "minutes":
        why = "the times' column says minutes, which is no unit here: write seconds or mm:ss into the table"
        return Look("seconds", decimal, why)
    if told in ("seconds", "milliseconds") or (told == "frame" and wholes):
        return Look(told, decimal)
    if 0 < largest < 1 and not wholes and votes["number"] >= 4:
        return Look(
            "day_fraction", decimal, "all times are below 1: they are taken for parts of a day (set unit if not)"
        )
    if wholes and votes["number"] >= 4:
        return Look(
            "seconds", decimal, 'all times are whole numbers: they are taken for seconds (unit = "frame" if not)'
        )
    return Look("seconds", decimal)


def holds_times(cells: Sequence[Cell]) -> bool:
    """Whether most cells that hold anything hold times or spans; an empty column may."""
    filled = [cell for cell in cells if not cell.is_empty]
    return sum(_is_time(cell) for cell in filled) * 2 > len(filled) or not filled


def _is_time(cell: Cell) -> bool:
    if isinstance(cell.value, float | DayTime) or cell.trouble:
        return True
    return all(_kind(part)[0] for part in _parts(cell))


def _is_whole_minute(time: DayTime) -> bool:
    minutes = time.days * 1440
    return abs(minutes - round(minutes)) < 1e-6


def _parts(cell: Cell) -> list[str]:
    """The times in a cell, which may hold several and spans."""
    if not isinstance(cell.value, str):
        return [cell.text]
    return [time for part in BETWEEN.split(cell.value) if part.strip() for time in SPAN.split(part.strip())]


def _kind(text: str) -> tuple[str, float]:
    """The unit that one time looks like ("number" for a plain one, "" for none), and that number."""
    plain_text = text.strip().replace(",", ".")
    clock = CLOCK.fullmatch(plain_text)
    if clock:
        return "hh:mm:ss" if clock[1] is not None else "mm:ss", 0.0
    try:
        return "number", float(plain_text.removesuffix("s"))
    except ValueError:
        return "", 0.0
