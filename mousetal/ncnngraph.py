"""A torch module as an ncnn network on the CPU, for convolutions.

    network = NcnnGraph(module, example)
    near, far = network(pixels)               # float32 (C, H, W) -> float32 (c, h, w) per output

ncnn computes 3x3 convolutions of stride 1 by Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 2016): in tiles of 4x4 results with 36 multiplications instead of 144, in float32 and
with rounding errors of the same order. Nothing else that we have does.

One item takes one thread. Several threads may compute one each at the same time, as `openvinograph` has the items of a
batch run side by side, and for its reasons.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mousetal.types import Float32Array

LONGEST_S = 120.0  # a conversion; of a network of published size it takes 8 s of an idle machine
#: What the converter would write for people and other programs: as much again, in a folder that may be memory.
UNWANTED = ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnpy")


class NcnnGraph:
    """A module in evaluation mode, traced on ``example`` (1, C, H, W), ready to compute items of that shape.

    It takes one tensor and returns a tuple of tensors (1, ...). Conversion happens in a temporary folder, which is gone
    afterwards. Raises RuntimeError when the module cannot be converted, or not here.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        try:
            with TemporaryDirectory(prefix="mousetal-ncnn-") as folder:
                self._shapes = _convert(module, example, Path(folder))
                self._net = _loaded(Path(folder))
        except OSError as error:
            raise RuntimeError(f"the network cannot be converted for ncnn ({error})") from error

    def __call__(self, item: Float32Array) -> tuple[Float32Array, ...]:
        """All outputs for one item. May be called from several threads at once. Raises RuntimeError."""
        import ncnn

        extractor = self._net.create_extractor()
        # Cloned, because a channel has to begin where vectors of numbers may, and lives as long as it is needed.
        extractor.input("in0", ncnn.Mat(item).clone())
        return tuple(self._outputs(extractor))

    def _outputs(self, extractor: Any) -> Iterator[Float32Array]:
        for place, shape in enumerate(self._shapes):
            code, found = extractor.extract(f"out{place}")
            output = np.array(found, np.float32)
            if code or output.shape != shape:
                raise RuntimeError(f"ncnn gives {output.shape} as output {place} of {len(self._shapes)}, not {shape}")
            yield output


def _convert(module: nn.Module, example: Tensor, folder: Path) -> list[tuple[int, ...]]:
    """Write a module as ncnn's graph.param and graph.bin; returns the shapes of its outputs, without the first 1."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about constants that are meant
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
        traced.save(str(folder / "graph.pt"))
        shapes = [tuple(output.shape[1:]) for output in traced(example)]
    shape = ",".join(str(side) for side in example.shape)
    command = [
        _converter(), "graph.pt", f"inputshape=[{shape}]",
        "fp16=0",  # it would store weights in half precision
        "optlevel=2",  # what ncnn needs; less leaves operators in that it does not know
        "ncnnparam=graph.param", "ncnnbin=graph.bin", *(f"{name}={os.devnull}" for name in UNWANTED),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=LONGEST_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"pnnx took more than {LONGEST_S:.0f} s to convert the network for ncnn") from error
    if done.returncode or not (folder / "graph.param").is_file():
        said = done.stdout.decode(errors="replace").strip().splitlines() or ["nothing was said"]
        raise RuntimeError(f"pnnx could not convert the network for ncnn (exit code {done.returncode}: {said[-1]})")
    return shapes


def _converter() -> str:
    """pnnx's program, which its package holds."""
    import pnnx  # optional

    return str(pnnx.EXEC_PATH)


def _loaded(folder: Path) -> Any:
    """ncnn's network of a folder, which is not needed afterwards."""
    import ncnn  # optional

    net = ncnn.Net()
    options = net.opt
    options.num_threads = 1  # items run side by side, one per core
    options.openmp_blocktime = 0  # and no thread waits for work by spinning: another service wants the core
    options.use_vulkan_compute = False  # the CPU was asked for
    # Everything in float32: by itself it stores and multiplies in half precision where the CPU can.
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_packed = options.use_bf16_storage = False
    # Tiles of 6x6 results: errors a third larger than with 4x4, and no faster (CONTRIBUTING.md).
    options.use_winograd63_convolution = False
    if net.load_param(str(folder / "graph.param")) or net.load_model(str(folder / "graph.bin")):
        raise RuntimeError("ncnn cannot read what pnnx made of the network")
    return net
