"""How many CPU cores this process may really use, in a container too, and what they can compute with."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": microseconds of CPU per period, or "max 100000"
CPU_INFO = Path("/proc/cpuinfo")
VNNI = {"avx512_vnni", "avx_vnni"}


def usable_cores(cpu_max: Path = CPU_MAX) -> int:
    """Cores that the scheduler gives us, less where the container has a quota. At least 1.

    Libraries count the machine's cores. With a quota of 2 cores on a machine of 64 that means 64 threads which throttle
    each other.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = cpu_max.read_text().split()
        allowed = min(allowed, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no quota, or no control groups of this kind
    return max(1, allowed)


def instructions(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """What a core of this machine can do, as Linux calls it ("avx2", "avx512_bf16"); empty where it does not tell."""
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def lacks_int8(cpu_info: Path = CPU_INFO) -> bool:
    """Whether this CPU has no instructions to multiply bytes; one with AVX2 takes longer in int8 than in float32."""
    known = instructions(cpu_info)
    return bool(known) and not known & VNNI
