"""The table that ends a run: what became of each video, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence

from mousetal.formats.csv import VideoRow

LONGEST_CELL = 60


def text(rows: Sequence[VideoRow]) -> str:
    """One line per video: status, bouts per class, seconds; then its reason or warnings; then the totals."""
    behaviors = list(dict.fromkeys(name for row in rows for name in row.bouts))
    lines = [["video", "status", *behaviors, "seconds", "notes"]]
    lines += [[*_cells(row, behaviors)] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    numbers = range(2, len(behaviors) + 3)
    aligned = (
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    return "\n".join((*aligned, _totals(rows)))


def _cells(row: VideoRow, behaviors: Sequence[str]) -> list[str]:
    counts = [str(row.bouts.get(name, "-")) for name in behaviors]
    notes = row.reason or "; ".join(row.warnings)
    return [_short(row.video), row.status, *counts, f"{row.seconds:.1f}", " ".join(notes.split())]


def _totals(rows: Sequence[VideoRow]) -> str:
    counts = {status: sum(row.status == status for row in rows) for status in ("done", "skipped", "failed")}
    return ", ".join(f"{count} {status}" for status, count in counts.items()) + f" of {len(rows)} videos"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_CELL else "…" + name[1 - LONGEST_CELL :]
