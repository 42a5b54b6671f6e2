"""From all runs to one line per row: medians over rounds, and what was found compared."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import equality
from bench.job import Measured
from bench.rounds import Spread, ratios, shares, spread
from bench.rows import REFERENCE, Row, Way
from bench.runs import Run

ByRound = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table.

    ``ratio`` is how many times faster than the reference's schedule, ``cpu_ratio`` how many times less CPU time it took
    (steadier, where others use the machine, too), ``real_time`` how many seconds of video in a second;
    ``cpu_per_minute`` CPU seconds for a minute of video, all processes together. The gRPC shares, of wall and of CPU
    seconds, come from the row without services. ``processes`` holds MiB, ``stages`` and ``busy`` seconds, all medians;
    ``wall_by_busiest`` is the wall time by that of the busier network, where both ran in one process.
    ``frames_detected`` counts the frames that the detector saw; ``computed_by`` is what the networks say of themselves:
    one that was refused in the arithmetic that was asked for says another.
    """

    row: Row
    wall: Spread
    ratio: Spread | None
    cpu_ratio: Spread | None
    real_time: float
    frames_per_second: float
    cpu_per_minute: float | None
    grpc_wall: Spread | None
    grpc_cpu: Spread | None
    processes: dict[str, dict[str, float]]
    stages: dict[str, float]
    busy: dict[str, float]
    wall_by_busiest: float | None
    frames_detected: int
    windows: int
    computed_by: dict[str, str]

    def document(self) -> dict[str, Any]:
        """The line as JSON."""
        found = dataclasses.asdict(self)
        row = found.pop("row")
        kept = {name: row[name] for name in ("name", "title", "way", "settings")}
        return {**kept, **found}


def lines(runs: Sequence[Run]) -> list[Line]:
    """One line per row that ran, in the order of the first round."""
    by_row: dict[str, dict[int, Measured]] = {}
    rows: dict[str, Row] = {}
    for run in runs:
        rows[run.row.name] = run.row
        by_row.setdefault(run.row.name, {})[run.round] = run.measured
    return [_line(row, by_row) for row in rows.values()]


def _line(row: Row, by_row: Mapping[str, Mapping[int, Measured]]) -> Line:
    own = by_row[row.name]
    wall, cpu = _walls(own), _cpus(own)
    base, inside = by_row.get(REFERENCE.name, {}), by_row.get(row.inside, {})
    some = next(iter(own.values()))
    took = spread(wall.values())
    assert took is not None  # a row is here because it ran
    return Line(
        row=row,
        wall=took,
        ratio=spread(ratios(_walls(base), wall)),
        cpu_ratio=spread(ratios(_cpus(base), cpu)),
        real_time=some.video_s / took.median,
        frames_per_second=some.frames / took.median,
        cpu_per_minute=_median_of(60 * seconds / some.video_s for seconds in cpu.values()),
        grpc_wall=spread(shares(wall, _walls(inside))),
        grpc_cpu=spread(shares(cpu, _cpus(inside))),
        processes={name: _medians(own, lambda one, n=name: one.processes[n]) for name in some.processes},  # type: ignore[misc]
        stages=_medians(own, lambda one: one.stages),
        busy=_medians(own, lambda one: one.busy),
        wall_by_busiest=_median_of(one.wall_s / max(one.busy.values()) for one in own.values() if one.busy),
        frames_detected=some.frames_detected,
        windows=some.windows,
        computed_by=some.computed_by,
    )


def _median_of(values: Iterable[float]) -> float | None:
    found = spread(values)
    return found.median if found else None


def _walls(runs: Mapping[int, Measured]) -> ByRound:
    return {number: one.wall_s for number, one in runs.items()}


def _cpus(runs: Mapping[int, Measured]) -> ByRound:
    found = {number: sum(used["cpu_s"] for used in one.processes.values()) for number, one in runs.items()}
    return {number: seconds for number, seconds in found.items() if seconds}  # 0: the system does not tell


def _medians(runs: Mapping[int, Measured], of: Callable[[Measured], Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in runs.values() for name in of(one))
    return {name: statistics.median(of(one).get(name, 0.0) for one in runs.values()) for name in names}


def comparisons(runs: Sequence[Run], video: str) -> list[dict[str, Any]]:
    """What each row of the first round found, against the row that it is to be compared with, if that ran, too."""
    first = {run.row.name: run for run in runs if run.round == 0}
    found = []
    for run in first.values():
        other = first.get(run.row.against)
        if other is None:
            continue
        ours, others = (equality.scores_in(one.folder, video) for one in (run, other))
        compared = equality.windows(ours, others)
        entry: dict[str, Any] = {
            "row": run.row.name,
            "against": other.row.name,
            "is_equal": compared.is_equal,
            "windows": dataclasses.asdict(compared),
            "detector": dataclasses.asdict(equality.detectors(run.folder, other.folder)),
        }
        if Way.YARDSTICK not in (run.row.way, other.row.way):
            entry["frames"] = dataclasses.asdict(equality.frames(run.folder, other.folder, video))
        found.append(entry)
    return found
