"""What limits the job on a GPU, decoding or a network: `python -m bench.gpu` prints one table and writes it as JSON.

Measured are, in frames or clips per second, decoding of 1080p (with the resize for the detector, several films side by
side), each network by size of batch, with its share of the chip's own rate at a large matrix product; then the whole
job by the driver and its services: times real time, and its wall time against the slowest stage's at the rate that was
measured for it alone. With `--device cpu`, the demo models and small numbers it shows that it runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mousetal.detector
import mousetal.mvd
from bench import arithmetic, machine, models, replay, runs, videos
from bench.rows import Row, Way
from mousetal import atomic
from mousetal.errors import MousetalError, SettingsError
from mousetal.execution import device_name
from mousetal.geometry import resize_for_detector
from mousetal.video import decode, probe

#: Times real time for 1080p at 30 frames/s on one H100 with 16 cores; frames/s at 640; of the nominal rate at bf16.
AIMS = {"job": 40.0, "detector": 1500.0, "action model": 0.45}
#: Dense bf16, TFLOP/s, of the cards that the aims are about, as their maker gives it; the first that fits the name.
NOMINAL = {"H100 PCIe": 756.0, "H100": 989.0, "H200": 989.0, "A100": 312.0}
SIDE = {"cuda": 8192, "cpu": 1024}  # of the matrices
DECODING, DETECTOR, CLASSIFIER, JOB = "decoding", "detector", "action model", "job"


@dataclass(frozen=True, slots=True)
class Line:
    """``at_once``: films side by side, or items in a batch. ``share`` is that of the measured rate of a matrix product,
    ``nominal`` of the card's; 0 where there is none.
    """

    part: str
    at_once: int
    per_second: float
    share: float = 0.0
    nominal: float = 0.0
    computed_by: str = ""

    def row(self) -> str:
        shares = " | ".join(f"{share:.1%}" if share else "–" for share in (self.share, self.nominal))
        return f"| {self.part} | {self.at_once} | {self.per_second:.1f} | {shares} | {self.computed_by or '–'} |"


@dataclass(frozen=True, slots=True)
class JobLine:
    """The whole job. ``stages`` are seconds that each stage would need alone, at the best rate measured for it."""

    name: str
    wall_s: float
    real_time: float
    stages: dict[str, float]

    @property
    def limit(self) -> str:
        return max(self.stages, key=lambda name: self.stages[name])

    def row(self) -> str:
        parts = " | ".join(f"{seconds:.2f}" for seconds in self.stages.values())
        ratio = self.wall_s / self.stages[self.limit]
        return f"| {self.name} | {self.wall_s:.2f} | {self.real_time:.2f} | {parts} | {self.limit} | {ratio:.2f} |"


def main(argv: Sequence[str] | None = None) -> int:
    """0 all well, 1 the job failed, 2 wrong usage."""
    given = _parser().parse_args(argv)
    try:
        return _measure(given)
    except MousetalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a trial (default: cuda)")
    parser.add_argument("--models", choices=("demo", "full"), default="full", help="whose networks (default: full)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="bf16", help="(default: bf16)")
    parser.add_argument("--compile", action="store_true", help="COMPILE=1")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], metavar="N", help="sizes to try"
    )
    parser.add_argument("--films", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N", help="decoded side by side")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="length of the film (default: 60)")
    parser.add_argument("--size", default="1920x1080", metavar="WxH", help="of the film (default: 1920x1080)")
    parser.add_argument("--out", type=Path, default=Path("output/bench-gpu"), help="(default: output/bench-gpu)")
    return parser


def _measure(given: argparse.Namespace) -> int:
    device = device_name(given.device)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError("torch sees no GPU on this machine. --device cpu --models demo tries the programme itself.")
    width, _, height = given.size.partition("x")
    if not (width.isdigit() and height.isdigit()) or min(*given.batches, *given.films) < 1:
        raise SettingsError("--size: WIDTHxHEIGHT expected; --batches, --films: numbers from 1.")
    folder = given.out.absolute()
    film = videos.write(videos.FilmSize(given.seconds, int(width), int(height)), folder / "films")
    pair = models.demo() if given.models == "demo" else models.full(folder / "models")
    about = machine.describe(device)
    peak = arithmetic.peak(given.precision, device, SIDE[device.partition(":")[0]])
    print(machine.sentence(about))
    print(f"A matrix product in {given.precision}: {peak / 1000:.2f} TFLOP/s\n")
    print("| part | at once | per second | of that rate | of the card's | computed by |")
    print("| --- | --- | --- | --- | --- | --- |")
    lines = []
    for line in _lines(given, device, film, pair, peak, nominal_rate(about["gpu"], given.precision)):
        lines.append(line)
        print(line.row(), flush=True)
    recording = replay.record(film, models.demo().detector) if pair.is_random else None
    bench = runs.Bench(folder, film, pair, recording, device)
    print(f"\n| whole job | seconds | times real time | {' | '.join(STAGES)}, seconds alone | limited by | of that |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    jobs = []
    for row in job_rows(given.precision, given.compile):
        jobs.append(job_line(runs.run(bench, row, 0), lines))
        print(jobs[-1].row(), flush=True)
    if jobs[0].limit == DECODING:
        print("\nDecoding limits. A decoder on the GPU has to give the right pictures first: bench/decoders.py.")
    print("\nAims, for one H100 with 16 cores: " + ", ".join(f"{name} {aim:g}" for name, aim in AIMS.items()))
    document = {
        "machine": about, "device": device, "precision": given.precision, "compile": given.compile, "film": film.name,
        "models": pair.title, "matrix_product_gflops": peak, "lines": [asdict(line) for line in lines],
        "jobs": [{**asdict(job), "limit": job.limit} for job in jobs], "aims": AIMS,
    }  # fmt: skip
    atomic.write_json(folder / "gpu.json", document)
    print(f"Written: {folder / 'gpu.json'}", file=sys.stderr)
    return 0


def _lines(
    given: argparse.Namespace, device: str, film: Path, pair: models.ModelPair, peak: float, nominal: float
) -> Iterator[Line]:
    for network in (DETECTOR, CLASSIFIER):
        call, item, gflop, computed_by = _network(network, pair, device, given)
        for size in given.batches:
            rate = size / arithmetic.seconds_of(partial(call, np.repeat(item, size, axis=0)))
            yield Line(
                network, size, rate, rate * gflop / peak, rate * gflop / nominal if nominal else 0.0, computed_by
            )
    side = mousetal.detector.load(pair.detector).spec.input_size
    for count in given.films:
        yield Line(DECODING, count, decoding_rate(film, side, count))


def _network(
    name: str, pair: models.ModelPair, device: str, given: argparse.Namespace
) -> tuple[Callable[[Any], object], Any, float, str]:
    """How to compute one, an item of noise (1, ...), GFLOP an item, and by what it is computed.

    Counted is what torch does on the CPU: what a graph replays is not seen by the counter.
    """
    noise = np.random.default_rng(models.SEED)
    if name == DETECTOR:
        detector = mousetal.detector.load(pair.detector, device, given.precision, compile=given.compile)
        side = detector.spec.input_size
        item = noise.integers(0, 256, (1, side, side, 3), np.uint8)
        gflop = arithmetic.gflop(partial(mousetal.detector.load(pair.detector).forward, item))
        return detector.forward, item, gflop, detector.spec.device
    classifier = mousetal.mvd.load(pair.mvd, device, given.precision, compile=given.compile)
    side = classifier.spec.input_size
    item = noise.integers(0, 256, (1, classifier.spec.num_frames, side, side, 3), np.uint8)
    gflop = arithmetic.gflop(partial(mousetal.mvd.load(pair.mvd).predict, item))
    return classifier.predict, item, gflop, classifier.spec.device


def decoding_rate(film: Path, side: int, count: int) -> float:
    """Frames/s of ``count`` readers of the film on threads, as the driver reads: decoded, and resized to ``side``."""

    def read(_: int) -> int:
        return sum(1 for frame in decode(probe(film)) if resize_for_detector(frame.rgb, side) is not None)

    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        frames = sum(threads.map(read, range(count)))
    return frames / (time.perf_counter() - begun)


def nominal_rate(gpu: str, precision: str) -> float:
    """GFLOP/s that the card's maker gives for dense bf16 and fp16; 0 where it is not known here."""
    rates = [rate for name, rate in NOMINAL.items() if name in gpu and precision != "fp32"]
    return 1000 * rates[0] if rates else 0.0


def job_rows(precision: str, compiled: bool) -> list[Row]:
    """The driver with its services, looking at every frame and at some."""
    settings = {"PRECISION": precision, "BACKEND": "torch", "COMPILE": str(int(compiled))}
    return [
        Row(f"detect-every-{every}", f"DETECT_EVERY={every}", Way.DRIVER, {**settings, "DETECT_EVERY": every})
        for every in ("1", "auto")
    ]


STAGES = (DECODING, DETECTOR, CLASSIFIER)


def job_line(run: runs.Run, lines: Sequence[Line]) -> JobLine:
    """What the job took beside what each stage would alone. One film is one reader's work."""
    measured = run.measured
    amounts = dict(zip(STAGES, (measured.frames, measured.frames_detected, measured.windows), strict=True))
    rates = {part: max(line.per_second for line in lines if line.part == part) for part in STAGES[1:]}
    rates[DECODING] = next(line.per_second for line in lines if line.part == DECODING)
    stages = {part: amount / rates[part] for part, amount in amounts.items()}
    return JobLine(run.row.title, measured.wall_s, measured.video_s / measured.wall_s, stages)


if __name__ == "__main__":
    sys.exit(main())
