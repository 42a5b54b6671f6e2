"""How near the networks are to what the cores can do: `python -m bench.arithmetic` prints a table in a minute or two.

A faster way to compute the same network cannot need less time than its multiplications and additions do, at the rate of
the fastest large matrix product on the same cores. The share of that rate which a network reaches tells what is left to
gain.

Unless it does with fewer of them: ncnn computes 3x3 convolutions with a quarter of the multiplications (Winograd's
minimal filtering). All ways are credited with what torch does, so that ncnn's share may be above 100 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import mousetal.detector
import mousetal.mvd
from bench import machine, models

ROUNDS = 5
SIDE = 3072  # of the matrices whose product is the cores' best: they leave no time for anything but arithmetic
GIGA = 1e9
# torch first: what it does is counted
WAYS = (("torch", "fp32"), ("openvino", "fp32"), ("ncnn", "fp32"), ("openvino", "bf16"))


@dataclass(frozen=True, slots=True)
class Line:
    """One network computed one way: seconds per item with all cores at work, and the share of ``peak`` in that."""

    network: str
    way: str
    gflop: float
    seconds: float
    peak: float

    @property
    def share(self) -> float:
        return self.gflop / self.seconds / self.peak

    def row(self) -> str:
        return f"| {self.network} | {self.way} | {self.gflop:.2f} | {self.seconds:.4f} | {self.share:.0%} |"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.arithmetic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", choices=("demo", "full"), default="full", help="whose networks (default: full)")
    given = parser.parse_args(argv)
    about = machine.describe("cpu")
    cores = about["cores"]
    torch.set_num_threads(cores)
    print(machine.sentence(about))
    # Without instructions of its own torch takes minutes for one product in bf16.
    precisions = ("fp32", "bf16") if "bf16" in about["instructions"] else ("fp32",)
    peaks = {precision: peak(precision) for precision in precisions}
    print(", ".join(f"a matrix product in {name}: {rate:.0f} GFLOP/s" for name, rate in peaks.items()))
    print("\n| network | computed by | GFLOP | seconds | of the cores' rate |\n| --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as folder:
        pair = models.demo() if given.models == "demo" else models.full(Path(folder))
        for line in lines(pair, peaks, cores):
            print(line.row(), flush=True)
    return 0


def peak(precision: str, device: str = "cpu", side: int = SIDE) -> float:
    """GFLOP/s of all cores, or of the GPU, at a large matrix product.

    In float32 on a CPU the faster of torch's (by MKL, on AMD at two thirds of what the cores can do) and numpy's.
    """
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    one = torch.randn(side, side, device=device).to(kind)
    seconds = seconds_of(lambda: one @ one)
    if device == "cpu" and kind == torch.float32:
        same = one.numpy()
        seconds = min(seconds, seconds_of(lambda: same @ same))
    return 2 * side**3 / GIGA / seconds


def lines(pair: models.ModelPair, peaks: dict[str, float], cores: int) -> Iterator[Line]:
    """Every network in every way that it has: by torch one item a call, all cores for it; else an item per core."""
    noise = np.random.default_rng(models.SEED)
    amounts: dict[str, float] = {}
    for backend, precision in WAYS:
        if precision not in peaks:
            continue
        items = 1 if backend == "torch" else cores
        detector = mousetal.detector.load(pair.detector, "cpu", precision, backend=backend)
        side = detector.spec.input_size
        images = noise.integers(0, 256, (items, side, side, 3), np.uint8)
        calls: dict[str, tuple[str, Callable[[], object]]] = {
            "detector": (detector.spec.device, partial(detector.forward, images))
        }
        if backend != "ncnn":  # which would be OpenVINO once more: the action model has no such convolutions
            classifier = mousetal.mvd.load(pair.mvd, "cpu", precision, backend=backend)
            side = classifier.spec.input_size
            clips = noise.integers(0, 256, (items, classifier.spec.num_frames, side, side, 3), np.uint8)
            calls["action model"] = classifier.spec.device, partial(classifier.predict, clips)
        for network, (way, call) in calls.items():
            if backend == "torch":
                amounts[network] = gflop(call) / items
            seconds = seconds_of(call) / items
            yield Line(network, way, amounts[network], seconds, peaks["bf16" if "bf16" in way else "fp32"])


def gflop(call: Callable[[], object]) -> float:
    """Multiplications and additions, in billions, of what torch computes in ``call``; attention is counted, too."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return float(counter.get_total_flops()) / GIGA


def seconds_of(call: Callable[[], object]) -> float:
    """The median of some calls after one that is not counted; a GPU is waited for."""
    taken = []
    for _ in range(1 + ROUNDS):
        begun = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    sys.exit(main())
