"""One program per folder at a time: two at once would do the same work and overwrite each other's tables.

The operating system holds the lock and drops it when the process ends, however it ends. Processes that are forked while
it is held do not have it: one that outlives a killed parent for a moment would keep the next program out.
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
from typing import IO

from mousetal.atomic import output_error
from mousetal.errors import OutputError

log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
HELD_BY_ANOTHER = (errno.EAGAIN, errno.EACCES)

_held: set[IO[str]] = set()  # the files that this process holds


def _leave_to_parent() -> None:
    for file in _held:
        with contextlib.suppress(OSError):
            file.close()
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextlib.contextmanager
def hold(folder: Path, user: str, remedy: str) -> Iterator[None]:
    """Hold the folder (made if missing) for as long as the block runs; raises OutputError if another process has it.

    ``user`` is what may hold it ("another driver"), ``remedy`` what else can be done than wait; both for the sentence.
    """
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise output_error(path, error) from error
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD_BY_ANOTHER:
                raise OutputError(
                    f"{folder} is in use by {user} ({file.read().strip() or 'unknown process'}). "
                    f"Wait for it to end, or {remedy}."
                ) from error
            # Some network disks have no locks; better to work unguarded there than not at all.
            log.warning("%s cannot be locked (%s); start nothing else that writes in it", folder, error.strerror)
        with contextlib.suppress(OSError):  # the name is for the sentence above; a full disk is met where it matters
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)
