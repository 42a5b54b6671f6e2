"""One network by two versions of this code, in turns: what does a change gain?

    git worktree add /tmp/before HEAD~1
    python -m bench.turns /tmp/before --network detector --backend ncnn --rounds 15

Two processes load the same network, each with the code of one checkout, and compute the same noise, first one, then the
other, an item per core at a time (by torch one). Printed are medians of CPU and wall time an item, and the medians of
each round's ratio: a slow minute weighs on both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parents[1]
READY = "ready"


class Taken(NamedTuple):
    """Seconds an item."""

    cpu: float
    wall: float


class Version:
    """A process with the code of a checkout, and the network loaded."""

    def __init__(self, checkout: Path, folder: Path, network: str, backend: str, precision: str) -> None:
        self._checkout = checkout
        # This very file serves, also where the checkout has none of it yet; all else is the checkout's own.
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", str(folder), network, backend, precision]
        self._process = subprocess.Popen(
            command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.device = self._line(READY)

    def round(self) -> Taken:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        return Taken(*map(float, self._line("taken").split()))

    def close(self) -> None:
        with self._process:  # which closes what it listens to, at which it ends
            pass

    def _line(self, begins: str) -> str:
        """The rest of the next line that begins so; a library may have said something in between."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(begins):
                return line.removeprefix(begins).strip()
        raise SystemExit(f"The process with the code of {self._checkout} ended before it answered.")


def main(argv: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(argv)
    if given.rounds < 1:
        raise SystemExit("--rounds: at least 1 expected.")
    from bench import machine, models

    pair = models.demo() if given.models == "demo" else models.full(given.out.absolute() / "models")
    print(machine.sentence(machine.describe("cpu")))
    named = {"before": given.before, "now": HERE}
    folder = pair.detector if given.network == "detector" else pair.mvd
    how = (folder, given.network, given.backend, given.precision)
    versions = {name: Version(checkout, *how) for name, checkout in named.items()}
    rounds = [{name: one.round() for name, one in versions.items()} for _ in range(1 + given.rounds)][1:]
    print(f"{given.network}, {given.rounds} rounds\n")
    print("| | computed by | CPU ms an item | wall ms |\n| --- | --- | --- | --- |")
    for name, one in versions.items():
        cpu, wall = (statistics.median(getattr(turn[name], what) for turn in rounds) * 1e3 for what in Taken._fields)
        print(f"| {name} | {one.device} | {cpu:.1f} | {wall:.1f} |")
        one.close()
    cpu, wall = (ratio(rounds, what) for what in Taken._fields)
    print(f"| ratio | | {cpu:.3f} | {wall:.3f} |")
    return 0


def ratio(rounds: Sequence[dict[str, Taken]], what: str) -> float:
    """The median over rounds of how much of the time before is taken now."""
    shares: list[float] = [getattr(turn["now"], what) / getattr(turn["before"], what) for turn in rounds]
    return statistics.median(shares)


def serve(folder: Path, network: str, backend: str, precision: str) -> None:
    """Answer every line with the seconds that a call took. Runs with the checkout's own code."""
    sys.path[0] = str(Path.cwd())
    device, count, call = _loaded(folder, network, backend, precision)
    print(READY, device, flush=True)
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        print("taken", (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count, flush=True)


def _loaded(folder: Path, network: str, backend: str, precision: str) -> tuple[str, int, Callable[[], Any]]:
    import numpy as np
    import torch

    import mousetal.detector
    import mousetal.mvd
    from mousetal.cores import usable_cores

    torch.set_num_threads(usable_cores())
    count = 1 if backend == "torch" else usable_cores()
    noise = np.random.default_rng(0)
    if network == "detector":
        found = mousetal.detector.load(folder, "cpu", precision, backend=backend)
        side = found.spec.input_size
        images = noise.integers(0, 256, (count, side, side, 3), np.uint8)
        return found.spec.device, count, lambda: found.forward(images)
    model = mousetal.mvd.load(folder, "cpu", precision, backend=backend)
    side, frames = model.spec.input_size, model.spec.num_frames
    clips = noise.integers(0, 256, (count, frames, side, side, 3), np.uint8)
    return model.spec.device, count, lambda: model.predict(clips)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.turns", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout of the code to compare with")
    parser.add_argument("--models", choices=("demo", "full"), default="full", help="whose network (default: full)")
    parser.add_argument("--network", choices=("detector", "mvd"), default="detector")
    parser.add_argument("--backend", choices=("torch", "openvino", "ncnn"), default="ncnn")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="fp32")
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="of either, in turns (default: 11)")
    parser.add_argument(
        "--out", type=Path, default=Path("output/bench"), help="where models are (default: output/bench)"
    )
    return parser


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]), *sys.argv[3:])
    else:
        sys.exit(main())
