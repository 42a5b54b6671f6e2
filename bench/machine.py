"""On what was measured: numbers of two machines, or of a busy and an idle one, do not compare."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from bench import process
from mousetal import cores

PACKAGES = ("torch", "transformers", "openvino", "ncnn", "av", "opencv-python-headless", "grpcio", "protobuf", "numpy")
# What a CPU computes many numbers at a time with: one without AVX-512 or without bf16 is another machine.
INSTRUCTIONS = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "bf16", "amx_tile": "AMX"
}  # fmt: skip
GIB = 1 << 20  # in KiB, which /proc counts in


def describe(device: str) -> dict[str, Any]:
    """The machine as JSON. Absent packages are left out; what the system does not tell is empty or 0."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = cores.instructions()
    return {
        "cpu": _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "instructions": [name for flag, name in INSTRUCTIONS.items() if flag in known],
        "cores": usable,
        "memory_gib": round(float((_line("/proc/meminfo", "MemTotal") or "0").split()[0]) / GIB, 1),
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else "",
        "os": _system(),
        "python": platform.python_version(),
        "packages": _versions(),
        "load_average": process.load_average(),
    }


def sentence(machine: dict[str, Any]) -> str:
    """The machine for people."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    cpu = machine["cpu"] + (f" with {', '.join(machine['instructions'])}" if machine["instructions"] else "")
    return (
        f"{cpu}, {machine['cores']} cores, {machine['memory_gib']:g} GiB{gpu}; {machine['os']}, "
        f"Python {machine['python']}, {packages}; load average {machine['load_average']:g} before the first run."
    )


def _system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.machine()}"
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}, {platform.machine()}"


def _line(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
