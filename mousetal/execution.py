"""Where and in which arithmetic a network runs: the same for both networks, which never import each other."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from mousetal import acceptance, int8
from mousetal.acceptance import Tolerances, Verdict
from mousetal.cores import lacks_int8
from mousetal.errors import SettingsError
from mousetal.modelfolder import Located
from mousetal.settingkeys import BACKENDS, PRECISIONS
from mousetal.types import UInt8Array

NO_COMPILER = re.compile(r"compiler", re.IGNORECASE)  # in what torch and Triton say where they find none
AUTOCAST_TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
#: What each backend but torch needs installed. They run on a CPU.
NEEDS = {"openvino": ("openvino",), "ncnn": ("ncnn", "pnnx", "openvino")}
ONLY_FP32 = ("ncnn",)  # in other precisions OpenVINO takes its place

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


def device_name(asked: str) -> str:
    """The device that ``asked`` stands for in this process, as torch names it.

    "auto" is the GPU if torch sees one, else "cpu"; "cuda" is the GPU whether there is one or not. Of several GPUs it
    is that of this process where a launcher (torchrun, DeepSpeed's) numbered its processes, else the first. All other
    names stand for themselves.
    """
    if asked not in ("auto", "cuda"):
        return asked
    if asked == "auto" and not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and how the network is computed.

    ``compiled`` trades a slow start for faster answers (torch.compile). ``backend`` is "torch", "openvino" or "ncnn";
    the latter two run on ``threads`` cores, 0 for all that may be used. ``in_fp32`` is what computes the network should
    another precision be refused, "" for the same backend. ``graphs``: captured as CUDA graphs (`cudagraph`).
    """

    device: torch.device
    precision: str = "fp32"
    compiled: bool = False
    backend: str = "torch"
    threads: int = 0
    in_fp32: str = ""
    graphs: bool = False

    @classmethod
    def on(
        cls, device: str, precision: str, compiled: bool, backend: str = "torch", threads: int = 0,
        ways: tuple[str, ...] = ("openvino",),
    ) -> Execution:  # fmt: skip
        """Checks what the user asked for: `device_name` says what "auto" and "cuda" are; "auto" as the backend takes,
        on a CPU, the first of ``ways`` that is installed.

        ``ways`` are the backends besides torch that can compute the network, fastest first. Where the one asked for
        cannot, or not in this precision, OpenVINO takes its place.
        Raises SettingsError for an unknown precision, an absent device, or a backend that is not there.
        """
        if precision not in PRECISIONS:
            raise SettingsError(f"PRECISION: one of {', '.join(PRECISIONS)} expected, got {precision!r}")
        try:
            chosen = torch.device(device_name(device))
            torch.empty(1, device=chosen)
        except (RuntimeError, AssertionError) as error:  # torch raises an AssertionError when built without CUDA
            reason = str(error).splitlines()[0]
            raise SettingsError(f"DEVICE: {device!r} is not usable here ({reason}). Set DEVICE=cpu.") from error
        if chosen.type == "cuda":
            _compute_float32_as_such()
        in_fp32 = _backend(backend, chosen, compiled, ways)
        computes = in_fp32
        if precision != "fp32" and in_fp32 in ONLY_FP32:
            computes = "openvino"
        if backend in ONLY_FP32 and computes != backend:
            log.info("BACKEND=%s does not compute this network in %s: %s does", backend, precision, computes)
        if precision == "int8" and computes != "openvino":
            raise SettingsError(
                f"PRECISION: int8 is computed by OpenVINO on a CPU only, here it would be {computes} on {chosen}. "
                "Set PRECISION=bf16, or DEVICE=cpu with BACKEND=openvino."
            )
        if precision == "int8" and lacks_int8():
            log.warning(
                "PRECISION=int8: this CPU has no instructions for it (VNNI), and may take longer than in fp32. "
                "Try PRECISION=fp32 here."
            )
        return cls(chosen, precision, compiled, computes, threads, in_fp32)

    @property
    def is_exact(self) -> bool:
        """Whether this is what all else is measured by."""
        return self.precision == "fp32" and not self.compiled and not self.graphs and self.backend == "torch"

    def exact(self) -> Execution:
        """The same device, in the arithmetic that all else is measured by."""
        return replace(self, precision="fp32", compiled=False, graphs=False, backend="torch")

    def next_best(self) -> Execution:
        """What to try when this cannot be used: bf16 for int8, then float32, by ncnn, OpenVINO and torch in this order,
        beginning with what is fastest, or was asked for.
        """
        if self.precision == "int8":
            return replace(self, precision="bf16")
        if self.precision != "fp32":
            return replace(self, precision="fp32", backend=self.in_fp32 or self.backend)
        return replace(self, backend="openvino") if self.backend == "ncnn" else self.exact()

    def __str__(self) -> str:
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        backend = "" if self.backend == "torch" else f" {self.backend}"
        ways = " compiled" * self.compiled + " graphs" * self.graphs
        return f"{self.device}{name} {self.precision}{backend}{ways}"

    def captured(self) -> Execution:
        """The same, on a GPU with CUDA graphs: what is launched kernel by kernel leaves it waiting."""
        return replace(self, graphs=True) if self.device.type == "cuda" else self

    def plainer(self) -> Execution:
        """The same arithmetic, not compiled, or else not captured."""
        return replace(self, compiled=False) if self.compiled else replace(self, graphs=False)

    def sizes(self, largest: int) -> tuple[int, ...]:
        """The batches for which the network is compiled or captured, rising; none where it takes any.

        Each size is compiled anew, which takes minutes, so that there are few; on a CPU one, and items go one by one.
        """
        if self.graphs:
            return tuple(sorted({1, 4, largest} if self.compiled else {*_powers_of_two(largest), largest}))
        return (1,) if self.compiled else ()

    def placed(self, items: UInt8Array) -> torch.Tensor:
        """A copy on the device; to a GPU by way of pinned memory, which torch keeps until it has been read."""
        return self.pinned(items).to(self.device, non_blocking=True)

    def pinned(self, items: UInt8Array) -> torch.Tensor:
        """A copy from which the device can read by itself.

        Arrays from the wire are read-only, which torch.from_numpy does not take. What is compiled is so for the strides
        of a new tensor, and torch.tensor takes over those of an array, which of a batch of one are anything.
        """
        copied = torch.empty(items.shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        np.copyto(copied.numpy(), items)
        return copied

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which the network runs: mixed precision, or none for fp32."""
        dtype = AUTOCAST_TYPES[self.precision]
        if dtype is None:
            return contextlib.nullcontext()
        # A graph must not read weights that were cast, and kept, outside of it.
        return torch.autocast(self.device.type, dtype=dtype, cache_enabled=not self.graphs)


def accepted(
    located: Located,
    execution: Execution,
    make: Callable[[Execution], Callable[[UInt8Array], Answer]],
    make_inputs: Callable[[], UInt8Array],
    tolerances: Tolerances,
    judge: Callable[[list[Answer], list[Answer], Tolerances], Verdict],
    largest: int = 1,
) -> tuple[Callable[[UInt8Array], Answer], Execution]:
    """What ``make`` makes of an execution, once it has shown that it computes what the exact one does: on made-up
    inputs within ``tolerances``, in int8 on the inputs and within the tolerances that are stored with its graph.

    On a GPU it is captured, too. Else that of the next best, with a loud line; at the last the exact one. ``judge`` is
    given both answers to each batch, the exact ones first, and what is allowed. ``largest`` is the batch that comes
    often. Raises SettingsError when torch finds no compiler here to compile the network with.
    """
    execution = execution.captured()
    while not execution.is_exact:
        try:
            if execution.precision == "int8":
                stored = int8.read(located)
                inputs, allowed = stored.inputs, stored.allowed
            else:
                inputs, allowed = make_inputs(), tolerances.at(execution.precision)
            fast = make(execution)
            batches = acceptance.batches(inputs, execution.sizes(largest))
            verdict = judge(*acceptance.both(make(execution.exact()), fast, batches), allowed)
            problem, instead = verdict.problem, execution.next_best()
        except (RuntimeError, SettingsError) as error:
            problem = str(error).splitlines()[0]
            instead = execution.plainer() if execution.compiled or execution.graphs else execution.next_best()
            if execution.compiled and NO_COMPILER.search(problem):
                sentence = f"COMPILE: the network cannot be compiled here ({problem}). Set COMPILE=0."
                raise SettingsError(sentence) from error
        if not problem:
            log.info("accepted model=%s as=%s: %s", located.name, execution, verdict)
            return fast, execution
        log.warning("NOT USED for %s: %s, because %s. Trying %s instead.", located.name, execution, problem, instead)
        execution = instead
    return make(execution), execution


def identity(located: Located, execution: Execution) -> str:
    """Digest of all that decides what the model says when it is computed this way."""
    sha256 = located.sha256()
    return int8.sha256(located, sha256) if execution.precision == "int8" else sha256


def _compute_float32_as_such() -> None:
    """On a GPU, too: torch's own choice for convolutions is TF32, which rounds to 10 bits.

    By the older of torch's two ways to say so, as what compiles reads it, and raises when it was said in the newer one.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _powers_of_two(most: int) -> set[int]:
    return {1 << exponent for exponent in range(most.bit_length())}


def _backend(name: str, device: torch.device, compiled: bool, ways: tuple[str, ...]) -> str:
    """What computes the network in float32."""
    if name not in BACKENDS:
        raise SettingsError(f"BACKEND: one of {', '.join(BACKENDS)} expected, got {name!r}")
    if name == "auto":
        usable = [way for way in ways if device.type == "cpu" and not compiled and not _missing(way)]
        return usable[0] if usable else "torch"
    if name == "torch":
        return name
    if device.type != "cpu":
        raise SettingsError(f"BACKEND: {name} runs on the CPU, DEVICE is {device}. Set BACKEND=torch or DEVICE=cpu.")
    way = name if name in ways else "openvino"
    if missing := _missing(way):
        are = "is" if len(missing) == 1 else "are"
        raise SettingsError(
            f"BACKEND: {' and '.join(missing)} {are} not installed here. pip install {' '.join(missing)}, or set "
            "BACKEND=torch."
        )
    return way


def _missing(backend: str) -> list[str]:
    """The packages that it lacks here."""
    return [package for package in NEEDS[backend] if importlib.util.find_spec(package) is None]
