"""Times as people write them, to seconds (or frames): one strict reading per unit, and no guessing from cell to cell.

    unit           read                                          refused
    seconds        12.5   "12.5"   "12.5 s"   12,5 (decimal ,)   1:23
    milliseconds   12500  "12500 ms"                             1:23
    mm:ss          1:23   01:23.5  75:00   1:02:03  Excel times  12.5 (minutes? seconds?)
    hh:mm:ss       0:01:23  00:01:23.500   Excel times           1:23
    hh:mm          1:23 (text), Excel times, as mm:ss            12.5
    day_fraction   0.00096  Excel times                          "1:23"
    frame          315  "315"                                    315.5

Excel takes a typed 1:23 for an hour and 23 minutes. Where the unit is mm:ss and the cell shows no seconds, what the
cell shows counts: a minute and 23 seconds. A typed 25:30 gets the format [h]:mm:ss and is read as 25 minutes, too.
Where the sheet shows 01:23:00 for such a minute (LibreOffice does), the unit is hh:mm: hours are minutes in every cell.
"""

from __future__ import annotations

import math
import re

from mousetal.formats.tables import Cell, CellValue, DayTime

UNITS = ("seconds", "milliseconds", "mm:ss", "hh:mm:ss", "hh:mm", "day_fraction", "frame")
DECIMALS = (".", ",")
DAY_S = 86_400.0
LONGEST_DAYS = 366.0  # beyond it the cell holds a date
CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d+)?)")
LONG = re.compile(r"\[hh?\]:mm:ss", re.IGNORECASE)  # the format of times beyond a day
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
SUFFIXES = {"seconds": ("seconds", "sec", "s"), "milliseconds": ("milliseconds", "msec", "ms"), "frame": ("f",)}


class TimeError(ValueError):
    """A cell that is no time in the unit that was set; the message says what was expected."""


def parse_cell(cell: Cell, unit: str, decimal: str = ".") -> float:
    """The time in a cell, as `parse` reads it; raises TimeError, also for a formula without a value."""
    if cell.trouble:
        raise TimeError(f"a time expected, got {cell.trouble}")
    return parse(cell.value, unit, decimal)


def parse(value: CellValue, unit: str, decimal: str = ".") -> float:
    """Seconds (unit "frame": a whole frame number) in a cell's value, from 0 on; raises TimeError."""
    if unit not in UNITS or decimal not in DECIMALS:
        raise ValueError(f"unit {unit!r} or decimal {decimal!r} is unknown")
    if value is None or (isinstance(value, str) and not value.strip()):
        raise TimeError(f"a time ({unit}) expected, the cell is empty")
    if isinstance(value, DayTime):
        time = _from_day_time(value, unit)
    elif isinstance(value, str):
        time = _from_text(value, unit, decimal)
    else:
        time = _from_number(float(value), unit, repr(value))
    if not math.isfinite(time) or time < 0:
        raise TimeError(f"a time from 0 on expected, got {value!r}")
    return time


def _from_day_time(value: DayTime, unit: str) -> float:
    if unit not in ("mm:ss", "hh:mm:ss", "hh:mm", "day_fraction"):
        raise TimeError(f"{unit} expected, got a cell of the spreadsheet's time type; set unit to hh:mm:ss or mm:ss")
    if value.days >= LONGEST_DAYS:
        raise TimeError("a time in the video expected, got a date")
    is_more_than_a_day = value.days >= 1 and LONG.match(value.number_format) is not None
    is_shifted = unit == "hh:mm" or (unit == "mm:ss" and (is_more_than_a_day or not shows_seconds(value.number_format)))
    return round(value.days * DAY_S / (60 if is_shifted else 1), 6)  # a spreadsheet keeps about a microsecond


def shows_seconds(number_format: str) -> bool:
    """Whether a cell of this format shows seconds: ``h:mm:ss`` and ``[mm]:ss`` do, ``h:mm`` does not."""
    return "s" in re.sub(r'"[^"]*"|\\.', "", number_format).lower()


def _from_text(text: str, unit: str, decimal: str) -> float:
    plain = "".join(text.split()).replace("\u2212", "-")
    if decimal == ",":
        if "." in plain:
            raise TimeError(f"a decimal comma expected, got {text!r}")
        plain = plain.replace(",", ".")
    elif "," in plain:
        raise TimeError(f'a decimal point expected, got {text!r}; set decimal = "," if a comma is meant')
    if unit in ("mm:ss", "hh:mm:ss", "hh:mm"):
        return _from_clock(plain, text, unit)
    for suffix in SUFFIXES.get(unit, ()):
        if plain.lower().endswith(suffix):
            plain = plain[: -len(suffix)]
            break
    if not NUMBER.fullmatch(plain):
        raise TimeError(f"{unit} expected, got {text!r}")
    return _from_number(float(plain), unit, repr(text))


def _from_clock(plain: str, text: str, unit: str) -> float:
    found = CLOCK.fullmatch(plain)
    if not found or (unit == "hh:mm:ss" and found[1] is None):
        raise TimeError(f"{unit} expected, got {text!r}")
    hours, minutes, seconds = int(found[1] or 0), int(found[2]), float(found[3])
    if seconds >= 60 or (found[1] is not None and minutes >= 60):
        raise TimeError(f"{unit} expected, got {text!r}: minutes and seconds end at 59")
    return 3600.0 * hours + 60.0 * minutes + seconds


def _from_number(number: float, unit: str, shown: str) -> float:
    if unit == "seconds":
        return number
    if unit == "milliseconds":
        return number / 1000
    if unit == "day_fraction":
        if number >= LONGEST_DAYS:
            raise TimeError(f"a part of a day expected, got {shown}")
        return number * DAY_S
    if unit == "frame":
        if not number.is_integer():
            raise TimeError(f"a whole frame number expected, got {shown}")
        return number
    if number == 0:
        return 0.0
    raise TimeError(f"{unit} expected, got the number {shown}: minutes, seconds or a part of a day?")
