"""All jobs, interleaved: every row once in a round, so that a busy or throttled minute hits all of them alike."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import job, models
from bench.job import Job, Measured
from bench.rows import Row
from mousetal import atomic
from mousetal.errors import MousetalError
from mousetal.settingkeys import KEYS

ROOT = Path(__file__).resolve().parents[1]
LOG = "log.txt"
#: Slow is what is measured here, not an error.
PATIENT = {"START_TIMEOUT_S": "3600", "SERVICE_TIMEOUT_S": "3600"}


class BenchError(MousetalError):
    """A way to do the job failed; its log says more."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all jobs share. ``recording`` is None where the detector's own boxes count; ``threads`` 0: one per core."""

    folder: Path
    video: Path
    models: models.ModelPair
    recording: Path | None = None
    device: str = "cpu"
    threads: int = 0

    def place(self, row: Row, number: int) -> Path:
        """The folder of one row's run in one round."""
        return self.folder / "runs" / f"{number}-{row.name}"


@dataclass(frozen=True, slots=True)
class Run:
    """One row in one round, done."""

    row: Row
    round: int
    folder: Path
    measured: Measured


def interleaved(rows: Sequence[Row], rounds: int) -> Iterator[tuple[Row, int]]:
    """The order of the work: a, b, c, a, b, c, ...; rows that are there for their results come in the first round."""
    for number in range(rounds):
        for row in rows:
            if number == 0 or not row.is_once:
                yield row, number


def run(bench: Bench, row: Row, number: int) -> Run:
    """Do one job in a process of its own; raises BenchError when it fails."""
    folder = bench.place(row, number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    task = Job(
        way=row.way,
        folder=str(folder),
        video=str(bench.video),
        detector=str(bench.models.detector),
        mvd=str(bench.models.mvd),
        recording=str(bench.recording or ""),
        device=bench.device,
        threads=bench.threads,
    )
    atomic.write_json(folder / "job.json", dataclasses.asdict(task))
    command = [sys.executable, "-m", "bench.job", "job.json"]
    with (folder / LOG).open("wb") as log:
        # The folder holds no .env: all settings are in the environment.
        done = subprocess.run(
            command, cwd=folder, env=environment(bench, row, folder), stdout=log, stderr=log, check=False
        )
    if done.returncode:
        last = ((folder / LOG).read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
        raise BenchError(f"{row.name}: exit code {done.returncode}. Last line of its log {folder / LOG}: {last}")
    return Run(row, number, folder, Measured(**atomic.read_json(folder / job.MEASURED)))


def environment(bench: Bench, row: Row, folder: Path) -> Mapping[str, str]:
    """This process's environment with the row's settings in the place of all others."""
    names = {key.name for key in KEYS}
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "INPUT": str(bench.video),
        "OUTPUT": str(folder / job.RESULTS),
        "DETECTOR_DIR": str(bench.models.detector),
        "MODEL_DIR": str(bench.models.mvd),
        "DEVICE": bench.device,
        "THREADS": str(bench.threads),
        **PATIENT,
        **row.settings,
    }
