"""A sheet under its header: columns by name, and the rows that hold anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mousetal.errors import RecordError
from mousetal.formats.tables import Cell, Sheet, TableFile, column_letter
from training.importing.mapping import Mapping
from training.importing.rows import Trouble


def plain(text: str) -> str:
    """A name as it is compared: blanks and case make no difference."""
    return " ".join(text.split()).casefold()


@dataclass(frozen=True, slots=True)
class Grid:
    """The rows of a sheet below its header; ``places`` finds a column by its name, `plain`."""

    sheet: Sheet
    places: dict[str, int]
    names: tuple[str, ...]
    first_row: int

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """The rows that are not empty."""
        for row in self.sheet.rows[self.first_row :]:
            if not all(cell.is_empty for cell in row):
                yield row

    def cell(self, row: tuple[Cell, ...], column: str) -> Cell | None:
        """The row's cell in the column of that name; None where no column is meant."""
        return row[self.places[plain(column)]] if column else None

    def required(self, row: tuple[Cell, ...], column: str) -> Cell:
        """The row's cell in a column that the layout cannot do without."""
        return row[self.places[plain(column)]]

    def origin(self, row: tuple[Cell, ...]) -> str:
        """Where the row begins."""
        return row[0].origin

    def text(self, row: tuple[Cell, ...], column: str) -> str:
        cell = self.cell(row, column)
        return cell.text if cell else ""


def grids(file: TableFile, mapping: Mapping) -> tuple[list[Grid], list[Trouble]]:
    """The sheets that the mapping means; raises RecordError where a sheet or a column is missing.

    Without named sheets, hidden ones and those that lack the columns are left out, and said so.
    """
    by_name = {sheet.name: sheet for sheet in file.sheets}
    missing = [name for name in mapping.sheets if name not in by_name]
    if missing:
        raise RecordError(f"{file.path}: no sheet {missing[0]!r} (it has: {', '.join(by_name)}). Change sheets.")
    troubles = []
    found, problems = [], []
    for sheet in file.sheets:
        where = f"{file.path.name}!{sheet.name}".rstrip("!")
        if mapping.sheets and sheet.name not in mapping.sheets:
            continue
        if sheet.is_hidden and not mapping.sheets:
            troubles.append(
                Trouble("sheet left out", where, "the sheet is hidden; name it in sheets to read it", False)
            )
            continue
        if all(cell.is_empty for row in sheet.rows for cell in row):
            troubles.append(Trouble("sheet left out", where, "the sheet is empty", False))
            continue
        grid = grid_of(sheet, mapping.header)
        lacking = [name for name in wanted_columns(mapping) if plain(name) not in grid.places]
        if not lacking:
            found.append(grid)
            troubles += [Trouble("two columns of one name", where, text, False) for text in _twins(grid, mapping)]
            continue
        has = ", ".join(name for name in grid.names if name) or "no names"
        problems.append(f"{where}: no column {lacking[0]!r} in its header (found: {has})")
        if mapping.sheets:
            break
    if not found or (mapping.sheets and problems):
        why = "; ".join(problems) or f"{file.path}: no sheet that is neither hidden nor empty"
        raise RecordError(f"{why}. Change columns, header or sheets of the mapping.")
    troubles += [Trouble("sheet left out", text.partition(":")[0], text, False) for text in problems]
    return found, troubles


def grid_of(sheet: Sheet, header: tuple[int, ...]) -> Grid:
    """The sheet under the header in these rows (from 1; several are read together: "Grooming" over "start").

    Without a header, columns go by their letters. Of two columns with one name the first counts.
    """
    width = len(sheet.rows[0]) if sheet.rows else 0
    if not header:
        names = tuple(column_letter(column) for column in range(width))
        return Grid(sheet, {plain(name): column for column, name in enumerate(names)}, names, 0)
    parts = [[cell.text for cell in sheet.rows[number - 1]] for number in header if number <= len(sheet.rows)]
    parts = [*(_spread(part, parts[-1]) for part in parts[:-1]), *parts[-1:]]
    names = tuple(" ".join(dict.fromkeys(part[column] for part in parts if part[column])) for column in range(width))
    places: dict[str, int] = {}
    for column, name in enumerate(names):
        places.setdefault(plain(name), column)
    return Grid(sheet, places, names, max(header))


def _twins(grid: Grid, mapping: Mapping) -> list[str]:
    """Which columns that the mapping speaks of there are several of."""
    names = [plain(name) for name in grid.names]
    return [
        f"several columns are called {name!r}, the first is read; rename them, or let header name the row above, too"
        for name in wanted_columns(mapping)
        if names.count(plain(name)) > 1
    ]


def _spread(upper: list[str], lowest: list[str]) -> list[str]:
    """A row above the lowest of a header, with the gaps filled that only a merged block would have filled.

    People type "Grooming" once over "start" and "end". A gap counts as that where the lowest row has one name several
    times, which would tell nothing by itself.
    """
    filled: list[str] = []
    for text, below in zip(upper, lowest, strict=True):
        is_gap = not text and lowest.count(below) > 1 and bool(below)
        filled.append(filled[-1] if is_gap and filled else text)
    return filled


def wanted_columns(mapping: Mapping) -> list[str]:
    """The names of all columns that the mapping speaks of."""
    columns = mapping.columns
    wanted = [getattr(columns, name) for name in columns.__slots__]
    for pair in mapping.column_per_behavior.values():
        wanted += [pair.start, pair.end, pair.cells, pair.count]
    return [name for name in dict.fromkeys(wanted) if name]
