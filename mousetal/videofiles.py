"""Files of a folder and its subfolders in a fixed order, and which endings are those of videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Without .ts, which is a programming language too; a real transport stream is known by its content.
VIDEO_SUFFIXES = (
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ogv", ".webm", ".wmv",
)  # fmt: skip


def find_files(root: Path, is_left_out: Callable[[Path], bool], on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """All files below ``root`` in order; each real folder is entered once, so that a loop of links ends.

    Hidden files and folders are left out, as are folders for which ``is_left_out`` holds. A link that leads nowhere is
    among the files: named like a video, it is one that is missing. ``on_error`` hears of folders that can't be listed.
    """
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=on_error):
        here = Path(folder)
        status = here.stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_left_out(here / name))
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and (path.is_file() or (path.is_symlink() and not path.exists())):
                yield path


def relative_name(path: Path, root: Path) -> str:
    """The path below ``root``; bytes of an old disk that are not Unicode are written out as escapes."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
