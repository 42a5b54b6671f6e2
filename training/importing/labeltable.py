"""A table of labels, by its mapping, to rows: `read_label_table`.

    table = read_label_table(Path("scores.xlsx"), mapping)
    table.rows[0]                          # LabelRow("m1.mp4", "Self-Grooming", 12.5, 14.0, ...)

No video is needed for it, so that raters can be compared by their tables alone (`training.evaluate --raters`). What
cannot be read is listed with its cell and the rest goes on; only a file or a mapping that makes no sense at all raises.
"""

from __future__ import annotations

from pathlib import Path

from mousetal.formats.tables import read_tables
from training.importing import layouts
from training.importing.grid import grids
from training.importing.mapping import Mapping
from training.importing.reading import Reading
from training.importing.rows import LabelTable, Trouble

READERS = {
    "bouts": layouts.read_bouts,
    "start_stop": layouts.read_start_stop,
    "column_per_behavior": layouts.read_columns,
    "binary": layouts.read_binary,
}


def read_label_table(path: Path, mapping: Mapping) -> LabelTable:
    """All that a csv or xlsx file says by ``mapping``; raises RecordError where nothing can be made of the file."""
    file = read_tables(path)
    found, troubles = grids(file, mapping)
    reading = Reading(mapping, source=path.name, troubles=troubles)
    reading.troubles += [Trouble("about the file", where, note, False) for where, note in file.notes]
    for grid in found:
        READERS[mapping.layout](reading, grid)
    return reading.table()
