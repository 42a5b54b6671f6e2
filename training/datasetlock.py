"""One program at a time changes a data set: each reads the manifest, adds to it and writes it whole."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from mousetal import lock


def hold(root: Path) -> AbstractContextManager[None]:
    """Hold the data set in ``root`` for as long as the block runs; raises OutputError if another process has it."""
    return lock.hold(root, "another program of training", "give this one a copy of the data set")
