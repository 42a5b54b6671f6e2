"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed.

A crash, a full disk or a pulled plug leaves either the old file or the new one, and never half of one that looks like
a result.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mousetal.errors import OutputError, RecordError

TEMPORARY_PREFIX = ".mousetal-"  # short, so that a name as long as the file system allows stays writable

REMEDIES = {
    errno.ENOSPC: "Free some space or choose another OUTPUT (--out), then run again; what is finished is kept.",
    errno.EDQUOT: "Free some of your quota or choose another OUTPUT (--out), then run again; what is finished is kept.",
    errno.EROFS: "Choose an OUTPUT (--out) that is not read-only.",
    errno.EACCES: "Choose an OUTPUT (--out) that you may write to.",
    errno.EPERM: "Choose an OUTPUT (--out) that you may write to.",
    errno.ENAMETOOLONG: "Shorten the name.",
}


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, making its folders; raises OutputError and leaves what was there."""
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise output_error(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` in UTF-8; a name that is not Unicode (an old disk) is written with escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any, indent: int = 1) -> None:
    """Put ``content`` at ``path`` as JSON. NaN and infinity are refused: JSON has no such numbers."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        data = (json.dumps(content, indent=indent, allow_nan=False) + "\n").encode("ascii")
    write_bytes(path, data)


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises RecordError when it is unreadable or no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: expected a JSON file ({error}).") from error


def write_arrays(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Put named arrays at ``path`` as a compressed npz without pickles."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_bytes(path, content.getvalue())


#: numpy reads headers by way of Python's ast, which in 3.11 counts the depth of all threads together. Once a
#: video failed with a SystemError (python/cpython issue 106905) while another one's results were being read.
ONE_READER = threading.Lock()


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an npz; raises RecordError when it is unreadable or damaged."""
    try:
        with path.open("rb") as file, ONE_READER, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path}: expected an npz of arrays ({error}).") from error


def output_error(path: Path, error: OSError) -> OutputError:
    """What an OSError means to the user, and what to do."""
    remedy = REMEDIES.get(error.errno or 0, "Check the disk, or choose another OUTPUT (--out).")
    return OutputError(f"{path}: cannot be written ({error.strerror or error}). {remedy}")
