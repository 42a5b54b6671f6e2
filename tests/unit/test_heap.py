"""Memory that is free goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Only glibc has these settings: with another C library the functions promise to do nothing, and its holes are not ours.
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped: another C library than glibc")

RESIDENT = """
import sys
from mousetal import heap

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
"""
LARGE_ONES = """
import numpy as np

if sys.argv[1] == "returned":
    heap.return_large_blocks()
for _ in range(3):  # freed: from here on the C library would keep such blocks
    np.ones(24 << 20, np.uint8)
before = resident_mib()
blocks, between = [], []
for _ in range(10):
    blocks.append(np.ones(24 << 20, np.uint8))
    between.append(np.ones(100_000, np.uint8))
blocks.clear()
print(resident_mib() - before)
"""
LITTLE_ONES = """
before = resident_mib()
blocks = [bytes(1000) for _ in range(60_000)]
last = bytes(1000)  # behind them, so that the heap has no free end
blocks.clear()
if sys.argv[1] == "returned":
    heap.give_back()
print(resident_mib() - before)
"""


def grown(script: str, way: str, root: Path) -> float:
    """MiB by which a process that runs the script is larger at its end."""
    command = [sys.executable, "-c", RESIDENT + script, way]
    return float(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(("way", "least", "most"), [("kept", 150, 300), ("returned", -5, 40)])
def test_frames_of_4k_leave_no_holes(way: str, least: float, most: float, root: Path) -> None:
    assert least < grown(LARGE_ONES, way, root) < most


def test_what_is_free_in_between_is_given_back(root: Path) -> None:
    assert grown(LITTLE_ONES, "kept", root) > 50
    assert grown(LITTLE_ONES, "returned", root) < 10
