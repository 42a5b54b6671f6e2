"""Every way in which people write when something happened, to seconds.

parse("1:02.5")  62.5        parse("01:02:03,250")  3723.25      parse(0.5, "day_fraction")  43200.0
parse("12,5")    12.5        parse(datetime.time(0, 1, 2))  62.0
"""

from __future__ import annotations

import datetime as dt
import math
import re

from mousetal.errors import RecordError
from mousetal.formats.sheets import Cell, Value

UNITS = ("auto", "seconds", "minutes", "milliseconds", "clock", "day_fraction", "frame")
CLOCK = re.compile(r"(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+(?:[.,]\d+)?)")
SCALES = {"auto": 1.0, "seconds": 1.0, "minutes": 60.0, "milliseconds": 1e-3, "day_fraction": 86_400.0, "frame": 1.0}


def parse(value: Value, unit: str = "auto", hours_are_minutes: bool = False) -> float:
    """Seconds (or, for the unit "frame", a frame number) that a cell's value means; raises ValueError.

    "auto" takes numbers for seconds, and reads what has a colon, or what Excel holds as a time, as a clock. Somebody
    who types 1:15 into Excel and means minutes gets 1 h 15 min: ``hours_are_minutes`` reads such cells as meant.
    """
    if isinstance(value, dt.datetime):
        value = value - dt.datetime(value.year, value.month, value.day) if value.year > 1900 else _since_1900(value)
    if isinstance(value, dt.time):
        value = dt.timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
        )
    if isinstance(value, dt.timedelta):
        seconds = value.total_seconds()
        return seconds / 60 if hours_are_minutes else seconds
    if isinstance(value, str):
        clock = CLOCK.fullmatch(value.strip())
        if clock:
            seconds = float(clock["seconds"].replace(",", "."))
            return int(clock["hours"] or 0) * 3600 + int(clock["minutes"]) * 60 + seconds
        value = _number(value)
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"a time expected, got {value!r}")
    if unit == "clock":
        raise ValueError(f"a time like 1:02.5 expected, got {value:g}")
    return float(value) * SCALES[unit]


def of_cell(cell: Cell, unit: str, hours_are_minutes: bool) -> float:
    """`parse` of a cell; raises RecordError that names it."""
    try:
        return parse(cell.value, unit, hours_are_minutes)
    except ValueError as error:
        raise RecordError(f"{cell.origin}: {error}") from error


def _number(text: str) -> float:
    plain = text.strip().removesuffix("s").strip()
    if "," in plain and "." not in plain:
        plain = plain.replace(",", ".")
    try:
        return float(plain)
    except ValueError:
        raise ValueError(f"a time expected, got {text!r}") from None


def _since_1900(value: dt.datetime) -> dt.timedelta:
    """Durations of a day and more, which Excel keeps as a date in January 1900."""
    return value - dt.datetime(1899, 12, 31)
