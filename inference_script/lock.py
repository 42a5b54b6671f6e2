"""One driver per output folder: two at once would work on the same videos and overwrite each other's tables.

The operating system holds the lock and drops it when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from mousetal.atomic import output_error
from mousetal.errors import OutputError

log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
HELD_BY_ANOTHER = (errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def hold(output: Path) -> Iterator[None]:
    """Hold the folder (made if missing) for as long as the block runs; raises OutputError if another driver has it."""
    path = output / LOCK_FILE
    try:
        output.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise output_error(path, error) from error
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD_BY_ANOTHER:
                raise OutputError(
                    f"{output} is in use by another driver ({file.read().strip() or 'unknown process'}). "
                    "Wait for it to end, or choose another OUTPUT."
                ) from error
            # Some network disks have no locks; better to work unguarded there than not at all.
            log.warning("output=%s cannot be locked (%s); start no second driver in it", output, error.strerror)
        with contextlib.suppress(OSError):  # the name is for the sentence above; a full disk is met where it matters
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        yield
