"""Tables that need no mapping, since their columns are known: our own `intervals.csv`, and those of BORIS."""

from __future__ import annotations

from collections.abc import Sequence

from mousetal.formats import boris
from mousetal.formats.csv import INTERVAL_COLUMNS
from mousetal.formats.tables import Cell, Sheet, TableFile
from training.importing.grid import plain
from training.importing.mapping import Columns, Mapping, TimeRule
from training.importing.rows import Trouble
from training.importing.timelook import look

Row = tuple[Cell, ...]

# What `training.export_labels` adds to INTERVAL_COLUMNS.
LABEL_COLUMNS = ("rater", "subject", "group", "phase", "session", "origin")


def recognise(file: TableFile) -> Mapping | None:
    """The mapping of a file whose header is known, else None. All sheets that have the header of the first are read."""
    shown = [sheet for sheet in file.sheets if not sheet.is_hidden and sheet.rows]
    for sheet in shown:
        known = _intervals(sheet) or _boris([one for one in shown if _boris_header(one) == _boris_header(sheet)])
        if known is not None:
            return known
    return None


def left_out(file: TableFile, known: Mapping) -> list[Trouble]:
    """What is to be said of the sheets that a known mapping does not read."""
    troubles = []
    for sheet in file.sheets:
        if sheet.name in known.sheets or not any(not cell.is_empty for row in sheet.rows for cell in row):
            continue
        is_loss = not sheet.is_hidden and _boris_header(sheet) is not None
        why = "its header stands elsewhere or has other columns: import it as a file of its own" if is_loss else (
            "the sheet is hidden" if sheet.is_hidden else "it is no table of labels")  # fmt: skip
        troubles.append(Trouble("sheet left out", f"{file.path.name}!{sheet.name}", why, is_loss))
    return troubles


def _intervals(sheet: Sheet) -> Mapping | None:
    names = [cell.text for cell in sheet.rows[0]]
    if tuple(names[: len(INTERVAL_COLUMNS)]) != INTERVAL_COLUMNS:
        return None
    extra = {name: name for name in LABEL_COLUMNS if name in names and name != "origin"}
    # A prediction has no rater: what made it is named in its place, so that it never passes for a person's label.
    rater = extra.pop("rater", "model")
    columns = Columns(
        video="video", behavior="behavior", start="start_frame", end="end_frame", count="count", rater=rater,
        confidence="confidence", **extra
    )  # fmt: skip
    return Mapping(sheets=(sheet.name,), columns=columns, time=TimeRule(unit="frame"))


def _boris_header(sheet: Sheet) -> tuple[int, list[str]] | None:
    """The row (0-based) of a BORIS table's header and its names."""
    texts = [[cell.text for cell in row] for row in sheet.rows[:100]]
    found = boris.find_header(texts)
    return None if found is None else (found[0], texts[found[0]])


def _boris(sheets: Sequence[Sheet]) -> Mapping | None:
    """The mapping of sheets that share a header."""
    found = _boris_header(sheets[0])
    if found is None:
        return None
    number, header = found
    names = boris.find_header([header])[1]  # type: ignore[index]
    rows = [row for sheet in sheets for row in sheet.rows[number + 1 :]]
    rater = next((name for name in header if plain(name) in boris.RATER_VARIABLES), "")
    columns = {name: names.get(name, "") for name in ("video", "subject", "behavior")} | {"rater": rater}
    if "count" in names and _is_whole(rows, header.index(names["count"])):
        columns["count"] = names["count"]
    # Seconds; hh:mm:ss where the project was set to it, and decimal commas where a spreadsheet program saved it again.
    times = [header.index(names[name]) for name in ("start", "end", "time") if name in names]
    seen = look([row[column] for row in rows for column in times], told="seconds")
    # With "event" the rows of an aggregated table tell points, some of which have "NA" for an end.
    columns |= {name: names[name] for name in ("start", "end", "time", "event") if name in names}
    return Mapping(
        "bouts" if "start" in names else "start_stop",
        tuple(sheet.name for sheet in sheets),
        (number + 1,),
        columns=Columns(**columns),
        time=TimeRule(unit=seen.unit, decimal=seen.decimal),
    )


def _is_whole(rows: Sequence[Row], column: int) -> bool:
    """Whether a modifier counts: all that is in its column are whole numbers."""
    return all(row[column].text.isdecimal() for row in rows if row[column].text not in ("", *boris.NO_MODIFIER))
