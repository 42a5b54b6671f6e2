"""The shapes in which people keep bouts in a table, each read by one function.

    bouts                 m1.mp4 | grooming | 0:12 | 0:15           a row per bout
    start_stop            m1.mp4 | grooming | START | 0:12          a row per moment
    column_per_behavior   m1.mp4 | 0:12-0:15; 1:02-1:09 | 0:33      columns "grooming" and "twitch", or pairs of columns
    binary                0.04   | 0 | 1                            a row per moment in time, a column per behaviour

A sheet per video is each of these, with the video named by the sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mousetal.formats.startstop import POINT, START, STOP, Event, pair
from mousetal.formats.tables import Cell, join_origins
from training.importing.cells import parse_spans
from training.importing.grid import Grid, plain
from training.importing.media import MediaError, ObservedFiles, Playlist
from training.importing.reading import Reading, Row, moment
from training.importing.rows import LabelRow, Trouble
from training.importing.times import TimeError, parse_cell

OTHER_TIME_LINE = "time that is not the file's own"


def read_bouts(reading: Reading, grid: Grid) -> None:
    """One row per bout. A row that names a video and nothing else says that it was looked at.

    With an event column a row whose event is a point is an instant, whatever its end says.
    """
    columns, observed = reading.mapping.columns, ObservedFiles.of(grid, reading.mapping.time)
    if not (columns.end or columns.duration):
        _tell_of_instants(reading, grid)
    for row in grid.rows():
        try:
            played = reading.played(observed, row)
        except MediaError as error:
            reading.lose(OTHER_TIME_LINE, f"{error}", grid.required(row, columns.start))
            continue
        video = reading.video_of(grid, row, played)
        cells = [cell for name in ("start", "end") if (cell := grid.cell(row, getattr(columns, name))) is not None]
        duration = grid.cell(row, columns.duration)
        behavior_cell = grid.required(row, columns.behavior)
        text = behavior_cell.text
        if not text and all(cell.is_empty for cell in cells):
            continue
        if not video:
            reading.lose("no video named", "the row names no video", behavior_cell)
            continue
        if not text:
            reading.lose(
                "no behaviour named", f"the row has times and {behavior_cell.trouble or 'no behaviour'}", *cells
            )
            continue
        is_marker = reading.names.is_marker(text)
        behavior = text if is_marker else reading.behavior_of(text, behavior_cell)
        count = reading.count_of(grid, row, columns.count)
        if behavior is None or count is None:
            continue
        try:
            start, end, unit = _span(reading, grid, row, behavior, cells, duration)
            if observed and played:
                observed.check(row, played, start)
        except (TimeError, MediaError) as error:
            kind = "unreadable time" if isinstance(error, TimeError) else OTHER_TIME_LINE
            reading.lose(kind, f"{error}", *cells)
            continue
        rater = reading.rater_of(grid, row)
        confidence = reading.confidence_of(grid, row)
        label = LabelRow(video, behavior, start, end, unit, count, rater, join_origins(*cells), confidence)
        reading.add(label, is_marker, *cells, played=played)


def _tell_of_instants(reading: Reading, grid: Grid) -> None:
    """A column of ends that a mapping forgot would else only show in how short all bouts are."""
    names = {plain(name) for name in reading.mapping.behaviors.names}
    if names and names <= reading.points:
        return  # as the mapping says
    where = f"{grid.sheet.path.name}!{grid.sheet.name}".rstrip("!")
    why = "the mapping names no column of ends or durations: every bout is taken for an instant, one frame long"
    reading.troubles.append(Trouble("no column of ends", where, why, is_loss=False))


def _span(
    reading: Reading, grid: Grid, row: Row, behavior: str, cells: list[Cell], duration: Cell | None
) -> tuple[float, float | None, str]:
    """Start, end and their unit; raises TimeError."""
    rule, fps = reading.mapping.time, reading.fps_of(grid, row)
    start, unit = moment(cells[0], False, rule, fps)
    event = plain(grid.text(row, reading.mapping.columns.event))
    if event and event in map(plain, reading.mapping.events.point):
        return start, None, unit
    if len(cells) == 2 and not cells[1].is_empty:
        return start, moment(cells[1], True, rule, fps)[0], unit
    if duration is not None and not duration.is_empty:
        length = parse_cell(duration, rule.unit, rule.decimal)
        return start, start + (length / fps if rule.unit == "frame" and fps else length), unit
    if (len(cells) == 1 and duration is None) or plain(behavior) in reading.points:
        return start, None, unit
    raise TimeError("no end; list the behaviour in behaviors.points if an instant is meant")


def read_start_stop(reading: Reading, grid: Grid) -> None:
    """One row per moment; START and STOP of one video, animal, behaviour and rater are paired."""
    columns, words = reading.mapping.columns, reading.mapping.events
    kinds = {plain(word): kind for kind, all_ in
             ((START, words.start), (STOP, words.stop), (POINT, words.point)) for word in all_}  # fmt: skip
    observed = ObservedFiles.of(grid, reading.mapping.time)
    events: list[Event[tuple[Cell, int, Playlist | None]]] = []
    for row in grid.rows():
        event, time, named = (grid.required(row, name) for name in (columns.event, columns.time, columns.behavior))
        try:
            played = reading.played(observed, row)
        except MediaError as error:
            reading.lose(OTHER_TIME_LINE, f"{error}", time)
            continue
        video = reading.video_of(grid, row, played)
        if all(cell.is_empty for cell in (event, time, named)):
            continue
        if not video:
            reading.lose("no video named", "the row names no video", named)
            continue
        if not named.text:
            reading.lose("no behaviour named", f"the row has a time and {named.trouble or 'no behaviour'}", time)
            continue
        is_marker = reading.names.is_marker(named.text)
        behavior = named.text if is_marker else reading.behavior_of(named.text, named)
        count = reading.count_of(grid, row, columns.count)
        if behavior is None or count is None:
            continue
        kind = kinds.get(plain(event.text), POINT if event.is_empty and plain(behavior) in reading.points else "")
        if not kind:
            reading.lose("unknown event", f"START or STOP expected, got {event.text!r}; see [events]", event)
            continue
        try:
            seconds, unit = moment(time, kind == STOP, reading.mapping.time, reading.fps_of(grid, row))
            if observed and played:
                observed.check(row, played, seconds)
        except (TimeError, MediaError) as error:
            reading.lose("unreadable time" if isinstance(error, TimeError) else OTHER_TIME_LINE, f"{error}", time)
            continue
        key = (video, grid.text(row, columns.subject), behavior, reading.rater_of(grid, row), unit, str(int(is_marker)))
        events.append(Event(key, kind, seconds, (time, count, played)))
    pairing = pair(events)
    for event_, why in pairing.alone:
        reading.lose("unpaired event", f"{event_.key[2]} of {event_.key[0]}: {why}", event_.source[0])
    for start, stop in pairing.pairs:
        video, _, behavior, rater, unit, is_marked = start.key
        places = [start.source[0]] + ([stop.source[0]] if stop else [])
        end = stop.time if stop else None
        _, count, played = start.source
        label = LabelRow(video, behavior, start.time, end, unit, count, rater, join_origins(*places))
        reading.add(label, is_marked == "1", *places, played=played)


def read_columns(reading: Reading, grid: Grid) -> None:
    """A column (or a pair of them) per behaviour; a cell may hold several times and spans."""
    rule = reading.mapping.time
    for row in grid.rows():
        video = reading.video_of(grid, row)
        for written, pair_ in reading.mapping.column_per_behavior.items():
            cells = [cell for name in (pair_.start, pair_.end, pair_.cells) if (cell := grid.cell(row, name))]
            if all(cell.is_empty for cell in cells):
                continue
            behavior = reading.behavior_of(written, cells[0])
            count = reading.count_of(grid, row, pair_.count)
            if behavior is None or count is None:
                continue
            if not video:
                reading.lose("no video named", "the row names no video", cells[0])
                continue
            try:
                if pair_.cells:
                    spans = list(parse_spans(cells[0], partial(moment, rule=rule, fps=reading.fps_of(grid, row))))
                else:
                    spans = [_span(reading, grid, row, behavior, cells, None)]
            except TimeError as error:
                reading.lose("unreadable time", f"{error}", *cells)
                continue
            rater = reading.rater_of(grid, row)
            for start, end, unit in spans:
                label = LabelRow(video, behavior, start, end, unit, count, rater, join_origins(*cells))
                reading.add(label, False, *cells)


def read_binary(reading: Reading, grid: Grid) -> None:
    """A row per moment and a column of 0 and 1 per behaviour: a bout lasts from the first 1 to the next 0."""
    mapping = reading.mapping
    known = {plain(getattr(mapping.columns, name)) for name in mapping.columns.__slots__}
    behaviors = [(name, column) for column, name in enumerate(grid.names) if name and plain(name) not in known]
    samples: dict[tuple[str, str], list[tuple[float, str, Row]]] = {}
    for row in grid.rows():
        video = reading.video_of(grid, row)
        time = grid.required(row, mapping.columns.time)
        try:
            seconds, unit = moment(time, False, mapping.time, reading.fps_of(grid, row))
        except TimeError as error:
            reading.lose("unreadable time", f"{error}", time)
            continue
        if not video:
            reading.lose("no video named", "the row names no video", time)
            continue
        samples.setdefault((video, reading.rater_of(grid, row)), []).append((seconds, unit, row))
    for name, column in behaviors:
        header = grid.sheet.rows[grid.first_row - 1][column] if grid.first_row else grid.sheet.rows[0][column]
        behavior = reading.behavior_of(name, header)
        if behavior is None:
            continue
        for (video, rater), moments in samples.items():
            for start, end, unit, first, last in _runs(reading, sorted(moments, key=lambda one: one[0]), column):
                label = LabelRow(video, behavior, start, end, unit, 1, rater, join_origins(first, last))
                reading.add(label, False, first, last)


def _runs(
    reading: Reading, moments: list[tuple[float, str, Row]], column: int
) -> Iterator[tuple[float, float, str, Cell, Cell]]:
    """Runs of 1: start, end (the time of the next row; after the last one, a step later), unit, first and last cell."""
    step = moments[-1][0] - moments[-2][0] if len(moments) > 1 else 0.0
    begun: tuple[float, Cell] | None = None
    last: Cell | None = None
    for time, unit, row in moments:
        cell = row[column]
        is_on = cell.text in ("1", "1.0")
        if not is_on and cell.text not in ("0", "0.0", ""):
            reading.lose("neither 0 nor 1", f"0 or 1 expected, got {cell.text or cell.trouble!r}", cell)
        if is_on:
            begun, last = begun or (time, cell), cell
        elif begun is not None and last is not None:
            yield begun[0], time, unit, begun[1], last
            begun = None
    if begun is not None and last is not None:
        yield begun[0], moments[-1][0] + step, moments[-1][1], begun[1], last
