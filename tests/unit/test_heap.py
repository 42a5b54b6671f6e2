"""Memory that is free goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import numpy as np
from mousetal import heap

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

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


# Only glibc has the setting; with another C library the function promises to do nothing, and its holes are not ours.
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped: another C library than glibc")
@pytest.mark.parametrize(("way", "least", "most"), [("kept", 150, 300), ("returned", -5, 40)])
def test_frames_of_4k_leave_no_holes(way: str, least: float, most: float, root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, way], cwd=root, capture_output=True, text=True, check=True)
    assert least < float(done.stdout) < most


LITTLE_ONES = """
import sys
from mousetal import heap

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

before = resident_mib()
blocks = [bytes(1000) for _ in range(60_000)]
last = bytes(1000)  # behind them, so that the heap has no free end
blocks.clear()
if sys.argv[1] == "returned":
    heap.give_back()
print(resident_mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped: another C library than glibc")
def test_what_is_free_in_between_is_given_back(root: Path) -> None:
    def left(way: str) -> float:
        command = [sys.executable, "-c", LITTLE_ONES, way]
        return float(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout)

    assert left("kept") > 50
    assert left("returned") < 10
