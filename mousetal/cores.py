"""How many CPU cores this process may really use, in a container too."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": microseconds of CPU per period, or "max 100000"


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
