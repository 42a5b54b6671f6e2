"""Cells that hold several times and spans: ``1:23-1:30; 2:04`` is a bout and an instant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from mousetal.formats.tables import Cell
from training.importing.times import TimeError

BETWEEN = re.compile(r"[;\n|]+|,\s+")  # a comma that a blank follows is no decimal mark
SPAN = re.compile(r"\s*(?:(?<!\d[eE])-|–|—|\bto\b|\bbis\b|\.\.)\s*")  # the 1.2e-05 of a part of a day is no span

Moment = Callable[[Cell, bool], tuple[float, str]]  # (cell, is_end) -> (time, unit)


def parse_spans(cell: Cell, moment: Moment) -> Iterator[tuple[float, float | None, str]]:
    """Start, end (None: an instant) and unit of each part of a cell; raises TimeError for a part that is neither."""
    if not isinstance(cell.value, str):
        start, unit = moment(cell, False)
        yield start, None, unit
        return
    for part in BETWEEN.split(cell.value):
        if not part.strip():
            continue
        times = SPAN.split(part.strip())
        if len(times) > 2:
            raise TimeError(f"a time or a span (1:23-1:30) expected, got {part.strip()!r}")
        cells = [Cell(text, cell.origin) for text in times]
        start, unit = moment(cells[0], False)
        yield start, moment(cells[1], True)[0] if len(times) == 2 else None, unit
