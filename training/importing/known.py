"""Tables that need no mapping, since their columns are known: our own `intervals.csv`, and those of BORIS."""

from __future__ import annotations

from mousetal.formats import boris
from mousetal.formats.csv import INTERVAL_COLUMNS
from mousetal.formats.tables import Sheet, TableFile
from training.importing.grid import plain
from training.importing.mapping import Columns, Mapping, TimeRule

# What `training.export_labels` adds to INTERVAL_COLUMNS.
LABEL_COLUMNS = ("rater", "subject", "group", "phase", "session", "origin")


def recognise(file: TableFile) -> Mapping | None:
    """The mapping of a file whose header is known, else None."""
    for sheet in file.sheets:
        if not sheet.is_hidden and sheet.rows:
            return _intervals(sheet) or _boris(sheet)
    return None


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


def _boris(sheet: Sheet) -> Mapping | None:
    found = boris.find_header([[cell.text for cell in row] for row in sheet.rows[:100]])
    if found is None:
        return None
    number, names = found
    header = [cell.text for cell in sheet.rows[number]]
    rater = next((name for name in header if plain(name) in boris.RATER_VARIABLES), "")
    columns = {name: names.get(name, "") for name in ("video", "subject", "behavior")} | {"rater": rater}
    if "count" in names and _is_whole(sheet, number, header.index(names["count"])):
        columns["count"] = names["count"]
    if "start" in names:
        columns |= {"start": names["start"], "end": names["end"]}
        return Mapping("bouts", (sheet.name,), (number + 1,), columns=Columns(**columns))
    columns |= {"time": names["time"], "event": names["event"]}
    return Mapping("start_stop", (sheet.name,), (number + 1,), columns=Columns(**columns))


def _is_whole(sheet: Sheet, header: int, column: int) -> bool:
    """Whether a modifier counts: all that is in its column are whole numbers."""
    texts = [row[column].text for row in sheet.rows[header + 1 :]]
    return all(text.isdecimal() for text in texts if text not in ("", "None"))
