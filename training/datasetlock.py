"""One program at a time changes a data set: each reads the manifest, adds to it and writes it whole.

The same lock serves other folders of training: `training.runlock`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mousetal import lock


@contextlib.contextmanager
def hold(
    root: Path, user: str = "another program of training", remedy: str = "give this one a copy of the data set"
) -> Iterator[None]:
    """Hold the data set in ``root`` for as long as the block runs; raises OutputError if another process has it.

    A folder that was made for that and in which nothing was put is taken away again.
    """
    is_new = not root.exists()
    with lock.hold(root, user, remedy):
        try:
            yield
        finally:
            if is_new and [path.name for path in root.iterdir()] == [lock.LOCK_FILE]:
                with contextlib.suppress(OSError):
                    (root / lock.LOCK_FILE).unlink()
                    root.rmdir()
