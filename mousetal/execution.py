"""Where and in which arithmetic a network runs: the same for both networks, which never import each other."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from mousetal import acceptance, int8
from mousetal.acceptance import Tolerances, Verdict
from mousetal.errors import SettingsError
from mousetal.modelfolder import Located
from mousetal.settingkeys import BACKENDS, PRECISIONS
from mousetal.types import UInt8Array

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

    ``compiled`` trades a slow first clip for faster later ones (torch.compile). ``backend`` is "torch", "openvino" or
    "ncnn"; the latter two run on ``threads`` cores, 0 for all that may be used. ``in_fp32`` is what computes the
    network should another precision be refused, "" for the same backend.
    """

    device: torch.device
    precision: str = "fp32"
    compiled: bool = False
    backend: str = "torch"
    threads: int = 0
    in_fp32: str = ""

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
        return cls(chosen, precision, compiled, computes, threads, in_fp32)

    @property
    def is_exact(self) -> bool:
        """Whether this is what all else is measured by."""
        return self.precision == "fp32" and not self.compiled and self.backend == "torch"

    def exact(self) -> Execution:
        """The same device, in the arithmetic that all else is measured by."""
        return replace(self, precision="fp32", compiled=False, backend="torch")

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
        return f"{self.device}{name} {self.precision}{backend}"

    def placed(self, items: UInt8Array) -> torch.Tensor:
        """A copy on the device; to a GPU by way of pinned memory, from which it can read by itself.

        Arrays from the wire are read-only, which torch.from_numpy does not take.
        """
        copied = torch.tensor(items)
        if self.device.type == "cuda":
            copied = copied.pin_memory()
        return copied.to(self.device, non_blocking=True)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which the network runs: mixed precision, or none for fp32."""
        dtype = AUTOCAST_TYPES[self.precision]
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)


def accepted(
    located: Located,
    execution: Execution,
    make: Callable[[Execution], Callable[[UInt8Array], Answer]],
    make_inputs: Callable[[], UInt8Array],
    tolerances: Tolerances,
    judge: Callable[[list[Answer], list[Answer], Tolerances], Verdict],
) -> tuple[Callable[[UInt8Array], Answer], Execution]:
    """What ``make`` makes of an execution, once it has shown that it computes what the exact one does: on made-up
    inputs within ``tolerances``, in int8 on the inputs and within the tolerances that are stored with its graph.

    Else that of the next best, with a loud line; at the last the exact one. ``judge`` is given both answers to each
    input, the exact ones first, and what is allowed. Raises SettingsError when the network cannot be compiled by torch
    here, for lack of a C++ compiler for instance.
    """
    while not execution.is_exact:
        try:
            if execution.precision == "int8":
                stored = int8.read(located)
                inputs, allowed = stored.inputs, stored.allowed
            else:
                inputs, allowed = make_inputs(), tolerances.at(execution.precision)
            fast = make(execution)
            verdict = judge(*acceptance.both(make(execution.exact()), fast, inputs), allowed)
            problem = verdict.problem
        except (RuntimeError, SettingsError) as error:
            problem = str(error).splitlines()[0]
            if execution.compiled:
                sentence = f"COMPILE: the network cannot be compiled here ({problem}). Set COMPILE=0."
                raise SettingsError(sentence) from error
        if not problem:
            log.info("accepted model=%s as=%s: %s", located.name, execution, verdict)
            return fast, execution
        instead = execution.next_best()
        log.warning("NOT USED for %s: %s, because %s. Trying %s instead.", located.name, execution, problem, instead)
        execution = instead
    return make(execution), execution


def identity(located: Located, execution: Execution) -> str:
    """Digest of all that decides what the model says when it is computed this way."""
    sha256 = located.sha256()
    return int8.sha256(located, sha256) if execution.precision == "int8" else sha256


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
