"""One way to do the job, once, in a process of its own, which measures itself: `python -m bench.job FILE`.

FILE is a `Job` as JSON. What is measured begins when the models are loaded and warm and ends when the results of the
video are written; loading is reported apart. The driver is the real one, with its real services as child processes:
only `connect`, which gives it the models, is looked at from outside, and boxes are put in the place of those that
random weights give (see `bench.models`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import process, replay
from bench.rows import Way
from inference_script import models
from inference_script.__main__ import main as driver
from mousetal import atomic
from mousetal.arrays import pack_scores
from mousetal.closing import close
from mousetal.settings import DriverSettings
from mousetal.types import ClassifierSpec, ClipBatch, Detections, DetectorBatch, DetectorSpec, Float32Array
from mousetal.video import probe

MEASURED, SCORES, FOUND = "measured.json", "scores.npz", "detections.npz"
RESULTS = "results"  # the driver's OUTPUT


@dataclass(frozen=True, slots=True)
class Job:
    """What to do. ``folder`` is for all that comes of it, ``recording`` (may be empty) holds boxes to answer with."""

    way: str
    folder: str
    video: str
    detector: str
    mvd: str
    recording: str
    device: str
    threads: int


@dataclass
class Measured:
    """What it took. Seconds; MiB in ``processes``, by the name of the process.

    ``stages`` is the driver's own account: for detect and classify the time for which it stood waiting. ``busy`` is the
    time that the networks worked, where they ran in this process. ``calls`` counts batches, which are messages.
    """

    start_s: float = 0.0
    load_average: float = 0.0  # of the minute before the work began
    wall_s: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    processes: dict[str, dict[str, float]] = field(default_factory=dict)
    frames: int = 0
    video_s: float = 0.0
    frames_detected: int = 0
    windows: int = 0
    computed_by: dict[str, str] = field(default_factory=dict)  # what the networks say of themselves


class Observed:
    """Models as they are, their answers noted, and replaced where there is a recording."""

    def __init__(self, inner: models.Models, recording: replay.Recording) -> None:
        self._inner, self._recording = inner, recording
        self.found: list[Detections] = []
        self.calls = {"detect": 0, "classify": 0}
        self.windows = 0

    @property
    def detector(self) -> DetectorSpec:
        return self._inner.detector

    @property
    def classifier(self) -> ClassifierSpec:
        return self._inner.classifier

    def detect(self, batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        answers = self._inner.detect(batches)
        try:
            for answer in answers:
                self.calls["detect"] += 1
                self.found += answer
                yield [self._recording.get(found.frame_index, found) for found in answer]
        finally:
            close(answers)

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        answers = self._inner.classify(batches)
        try:
            for answer in answers:
                self.calls["classify"] += 1
                self.windows += len(answer)
                yield answer
        finally:
            close(answers)

    def recover(self) -> None:
        self._inner.recover()

    def stop(self) -> None:
        self._inner.stop()


class Watch:
    """Takes the time and the processes' use of the machine, between `start` and `stop`."""

    def __init__(self, own_name: str) -> None:
        self._own_name = own_name
        self._born = time.perf_counter()
        self._before: dict[str, process.Usage] = {}

    def start(self, measured: Measured) -> None:
        self._before = process.usages(self._own_name, os.getpid())
        self._started = time.perf_counter()
        measured.start_s = self._started - self._born
        measured.load_average = process.load_average()

    def stop(self, measured: Measured) -> None:
        measured.wall_s = time.perf_counter() - self._started
        for name, now in process.usages(self._own_name, os.getpid()).items():
            measured.processes[name] = {
                "cpu_s": now.cpu_s - self._before[name].cpu_s,
                "start_mib": self._before[name].resident_mib,
                "final_mib": now.resident_mib,
                "peak_mib": now.peak_mib,
            }


def run(job: Job) -> int:
    """Do the job; the exit code."""
    measured = Measured()
    watch = Watch("driver" if job.way == Way.DRIVER else "all in one")
    recording = replay.read(Path(job.recording)) if job.recording else {}
    if job.way == Way.YARDSTICK:
        _yardstick(job, measured, watch, recording)
        code = 0
    else:
        code = _driver(job, measured, watch, recording)
    info = probe(Path(job.video))
    measured.frames, measured.video_s = info.num_frames, info.duration_seconds
    atomic.write_json(Path(job.folder) / MEASURED, dataclasses.asdict(measured))
    return code


def _yardstick(job: Job, measured: Measured, watch: Watch, recording: replay.Recording) -> None:
    # Imported here, as the driver never imports torch, and is measured without it.
    import torch

    import mousetal.detector
    import mousetal.mvd
    from bench import schedule

    if job.threads:
        torch.set_num_threads(job.threads)
    both = schedule.Models(mousetal.detector.load(job.detector), mousetal.mvd.load(job.mvd), job.device)
    both.warm_up()
    watch.start(measured)
    outcome = schedule.run(probe(Path(job.video)), both, lambda found: recording.get(found.frame_index, found))
    atomic.write_arrays(Path(job.folder) / SCORES, pack_scores(outcome.scores, len(both.classifier.spec.classes)))
    watch.stop(measured)
    measured.stages = outcome.seconds
    measured.calls = {"detect": len(outcome.detections), "classify": -(-len(outcome.scores) // schedule.BATCH)}
    measured.frames_detected, measured.windows = len(outcome.detections), len(outcome.scores)
    measured.computed_by = {"detector": both.detector.spec.device, "mvd": both.classifier.spec.device}
    replay.write(Path(job.folder) / FOUND, outcome.detections)


def _driver(job: Job, measured: Measured, watch: Watch, recording: replay.Recording) -> int:
    """The driver as it is; all of its settings are in the environment."""
    seen: list[Observed] = []

    @contextlib.contextmanager
    def connect(settings: DriverSettings) -> Iterator[models.Models]:
        with _connected(job, settings, measured) as inner:
            seen.append(Observed(inner, recording))
            watch.start(measured)
            yield seen[0]
            watch.stop(measured)

    code = driver([], connect)
    if code == 0:
        measured.calls, measured.windows = seen[0].calls, seen[0].windows
        measured.frames_detected = len(seen[0].found)
        measured.computed_by = {"detector": seen[0].detector.device, "mvd": seen[0].classifier.device}
        replay.write(Path(job.folder) / FOUND, seen[0].found)
        summary: dict[str, Any] = atomic.read_json(Path(job.folder) / RESULTS / "run.json")
        measured.stages = {name: float(stage["seconds"]) for name, stage in summary["stages"].items()}
    return code


@contextlib.contextmanager
def _connected(job: Job, settings: DriverSettings, measured: Measured) -> Iterator[models.Models]:
    if job.way == Way.DRIVER:
        with models.connect(settings) as inner:
            yield inner
        return
    from bench import inprocess  # torch again

    own = inprocess.load(dict(os.environ))
    yield own
    own.close()
    measured.busy = {name: seconds for name, (_, seconds) in own.busy.snapshot().items()}


def main(arguments: list[str]) -> int:
    return run(Job(**atomic.read_json(Path(arguments[0]))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
