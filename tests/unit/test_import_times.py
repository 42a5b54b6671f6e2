"""Times as people write them: every spelling gives the moment that was meant, and what is unclear is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.formats.tables import Cell, DayTime
from training.importing.times import DAY_S, TimeError, parse, parse_cell

MILLISECONDS = st.integers(0, 10 * 3600 * 1000)


def clock(milliseconds: int, *, with_hours: bool, decimal: str = ".") -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    tail = f"{second:02d}{decimal}{rest:03d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{tail}" if with_hours else f"{minutes}:{tail}"


@given(MILLISECONDS, st.sampled_from([".", ","]))
def test_one_moment_in_every_spelling_is_the_same_number_of_seconds(ms: int, decimal: str) -> None:
    spellings = {
        "seconds": [f"{ms / 1000:.3f}".replace(".", decimal), f" {ms / 1000:.3f} s".replace(".", decimal), ms / 1000],
        "milliseconds": [str(ms), float(ms), f"{ms} ms"],
        "mm:ss": [clock(ms, with_hours=False, decimal=decimal), clock(ms, with_hours=True, decimal=decimal)],
        "hh:mm:ss": [clock(ms, with_hours=True, decimal=decimal), DayTime(ms / 1000 / DAY_S, "h:mm:ss")],
        "day_fraction": [ms / 1000 / DAY_S, DayTime(ms / 1000 / DAY_S, "General")],
    }
    for unit, values in spellings.items():
        for value in values:
            assert parse(value, unit, decimal) == pytest.approx(ms / 1000, abs=1e-6), (unit, value)


@given(st.integers(0, 10**7))
def test_frame_numbers_are_taken_as_they_are(frame: int) -> None:
    assert parse(str(frame), "frame") == parse(float(frame), "frame") == frame


@given(st.integers(0, 23), st.integers(0, 59))
def test_excels_hours_and_minutes_are_minutes_and_seconds_where_these_were_typed(a: int, b: int) -> None:
    typed = DayTime((a * 60 + b) / 1440, "h:mm")
    assert parse(typed, "mm:ss") == pytest.approx(a * 60 + b, abs=1e-6)
    assert parse(typed, "hh:mm:ss") == pytest.approx(a * 3600 + b * 60, abs=1e-6)
    assert parse(DayTime(typed.days / 60, "mm:ss.0"), "mm:ss") == pytest.approx(a * 60 + b, abs=1e-6)


@given(st.integers(24, 99), st.integers(0, 59))
def test_minutes_beyond_a_days_hours_are_minutes_too(minutes: int, seconds: int) -> None:
    """Excel takes a typed 25:30 for a day, one hour and a half, and shows it with seconds."""
    typed = DayTime((minutes * 60 + seconds) / 1440, "[h]:mm:ss")
    assert parse(typed, "mm:ss") == pytest.approx(minutes * 60 + seconds, abs=1e-6)
    assert parse(typed, "hh:mm:ss") == pytest.approx(minutes * 3600 + seconds * 60, abs=1e-6)


@given(st.integers(0, 99), st.integers(0, 59), st.sampled_from(["HH:MM:SS", "h:mm", "[HH]:MM:SS"]))
def test_hours_are_minutes_where_the_unit_says_so(minutes: int, seconds: int, number_format: str) -> None:
    typed = DayTime((minutes * 60 + seconds) / 1440, number_format)
    assert parse(typed, "hh:mm") == pytest.approx(minutes * 60 + seconds, abs=1e-6)
    assert parse(f"{minutes}:{seconds:02d}.5", "hh:mm") == minutes * 60 + seconds + 0.5


@pytest.mark.parametrize(
    ("value", "unit", "decimal"),
    [
        ("1:23", "seconds", "."), ("ca. 5", "seconds", "."), ("?", "mm:ss", "."), ("12,5", "seconds", "."),
        ("12.5", "seconds", ","), ("1.234,5", "seconds", ","), ("12.5", "mm:ss", "."), (1.3, "mm:ss", "."),
        ("1:75", "mm:ss", "."), ("1:60:00", "hh:mm:ss", "."), ("1:23", "hh:mm:ss", "."), ("1:23", "day_fraction", "."),
        ("12.5", "hh:mm", "."), (DayTime(45000.5, "yyyy-mm-dd"), "hh:mm", "."),
        ("3.5", "frame", "."), ("-1", "seconds", "."), (-0.5, "seconds", "."), ("nan", "seconds", "."),
        (float("inf"), "seconds", "."), ("", "seconds", "."), (None, "seconds", "."), ("NA", "seconds", "."),
        (DayTime(45000.5, "yyyy-mm-dd"), "hh:mm:ss", "."), (DayTime(0.5, "h:mm"), "seconds", "."),
        (45000.0, "day_fraction", "."), ("1e999", "seconds", "."),
    ],
)  # fmt: skip
def test_what_is_no_time_in_the_unit_is_refused(value: str | float | DayTime | None, unit: str, decimal: str) -> None:
    with pytest.raises(TimeError):
        parse(value, unit, decimal)


@given(st.text(max_size=12), st.sampled_from(["seconds", "mm:ss", "hh:mm:ss", "day_fraction", "frame"]))
def test_any_text_is_a_moment_from_zero_on_or_refused(text: str, unit: str) -> None:
    with contextlib.suppress(TimeError):
        assert parse(text, unit) >= 0


def test_a_formula_without_a_value_is_told_apart_from_an_empty_cell() -> None:
    with pytest.raises(TimeError, match="never saved"):
        parse_cell(Cell(None, "a.xlsx!S!B2", "a formula whose value was never saved"), "seconds")
    with pytest.raises(TimeError, match="empty"):
        parse_cell(Cell(None, "a.xlsx!S!B2"), "seconds")
