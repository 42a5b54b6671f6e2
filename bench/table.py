"""The results as Markdown, for a terminal and for the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.rounds import Spread
from bench.summary import Line

HEADINGS = (
    "",
    "times the reference",
    "wall s",
    "times real time",
    "frames/s",
    "frames detected",
    "CPU s per min of video (times less)",
    "gRPC, of wall / CPU",
    "memory MiB, at the end (peak)",
)
NONE = "-"


def text(lines: Sequence[Line]) -> str:
    """One row per way to do the job; numbers are medians, with the least and the greatest behind."""
    return markdown(HEADINGS, [_cells(line) for line in lines])


def stages_text(lines: Sequence[Line]) -> str:
    """Seconds by stage: of the yardstick and within one process those of work, else those of waiting for it.

    And what computed the networks.
    """
    rows = []
    for line in lines:
        rows.append((line.row.title, "stages", _seconds(line.stages)))
        if line.busy:
            beyond = f"; wall is {line.wall_by_busiest:.2f} times the larger"
            rows.append((line.row.title, "networks at work", _seconds(line.busy) + beyond))
        rows.append((line.row.title, "networks computed by", ", ".join(line.computed_by.values())))
        cpu = {name: used["cpu_s"] for name, used in line.processes.items()}
        rows.append((line.row.title, "CPU seconds", _seconds(cpu)))
    return markdown(("", "what", "seconds"), rows)


def comparisons_text(found: Iterable[Mapping[str, Any]]) -> str:
    """What differs between results."""
    rows = []
    for one in found:
        windows, frames, detector = one["windows"], one.get("frames"), one["detector"]
        rows.append(
            (
                f"{one['row']} against {one['against']}",
                "equal" if one["is_equal"] else "differs",
                f"{windows['windows']}, {'the same' if windows['windows_equal'] else 'others'}",
                f"{windows['crops_equal']:.1%}, {windows['crop_iou']:.4f}",
                f"{windows['probability_difference']:.1e}",
                f"{windows['same_class']:.1%}",
                f"{frames['same_class']:.1%}" if frames else NONE,
                ("equal" if frames["bouts_equal"] else f"{frames['bouts'][0]} and {frames['bouts'][1]}, differ")
                if frames
                else NONE,
                f"{detector['equal']:.1%} of {detector['frames']}",
            )
        )
    headings = (
        "",
        "result",
        "windows",
        "crops equal, mean IoU",
        "largest difference of probabilities on equal crops",
        "windows of the same class",
        "frames of the same class",
        "bouts",
        "frames with the same boxes",
    )
    return markdown(headings, rows)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its columns are as wide as they need to be, so that it can be read without being rendered."""
    cells = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    written = ["| " + " | ".join(row) + " |" for row in padded]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join((written[0], rule, *written[1:]))


def _cells(line: Line) -> tuple[str, ...]:
    memory = ", ".join(
        f"{name} {used['final_mib']:.0f} ({used['peak_mib']:.0f})" for name, used in line.processes.items()
    )
    shares = [f"{share.median:.0%}" for share in (line.grpc_wall, line.grpc_cpu) if share]
    return (
        line.row.title,
        _spread(line.ratio, 2),
        _spread(line.wall, 1),
        f"{line.real_time:.2f}",
        f"{line.frames_per_second:.0f}",
        str(line.frames_detected),
        _cpu(line),
        " / ".join(shares) or NONE,
        memory or NONE,
    )


def _cpu(line: Line) -> str:
    if line.cpu_per_minute is None:
        return NONE
    return f"{line.cpu_per_minute:.0f}" + (f" ({line.cpu_ratio.median:.2f})" if line.cpu_ratio else "")


def _spread(found: Spread | None, decimals: int) -> str:
    if found is None:
        return NONE
    if found.least == found.most:
        return f"{found.median:.{decimals}f}"
    return f"{found.median:.{decimals}f} ({found.least:.{decimals}f}-{found.most:.{decimals}f})"


def _seconds(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.2f}" for name, seconds in values.items())
