"""What a process has used so far, from /proc. Linux only: elsewhere nothing is known, and nothing is claimed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from inference_script import embedded

PROC = Path("/proc")
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the process began (its own, not its children's), resident memory now and at its highest."""

    cpu_s: float
    resident_mib: float
    peak_mib: float


def usage(pid: int) -> Usage | None:
    """None when the process is gone or the system has no /proc."""
    try:
        # The name in the second field may hold spaces and parentheses: what follows the last one is fixed.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    parts = [line.partition(":") for line in lines]
    sizes = {name: float(rest.split()[0]) / KIB_PER_MIB for name, _, rest in parts if name.startswith("Vm")}
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), sizes.get("VmRSS", 0.0), sizes.get("VmHWM", 0.0))


def children(pid: int) -> dict[int, str]:
    """The running child processes of ``pid`` and their command lines."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile
            continue
    return found


def usages(own_name: str, pid: int) -> dict[str, Usage]:
    """What a driver and the services that it started have used, by name."""
    pids = {own_name: pid}
    for child, command in children(pid).items():
        pids |= {name: child for name, module in embedded.PROGRAMS.items() if f" {module} " in command}
    found = {name: usage(one) for name, one in pids.items()}
    return {name: used for name, used in found.items() if used is not None}


def load_average() -> float:
    """How many processes wanted a core in the last minute, on average; 0 where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
