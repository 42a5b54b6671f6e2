"""Gives an output folder of root's to a user without rights, so that no video is decoded as root.

    python -m inference_script.handover FOLDER UID GID

Run by the driver's image, as root, before the driver. Only what we wrote ourselves changes hands: an OUTPUT that was
misspelt may be anybody's folder. Exit codes: 0 the folder is the user's, 2 it is left alone, and one sentence says why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mousetal.atomic import TEMPORARY_PREFIX
from mousetal.errors import SettingsError
from mousetal.lock import LOCK_FILE
from mousetal.records import HASHES_NAME

ROOT = 0
OK, REFUSED = 0, 2
FILES = (LOCK_FILE, HASHES_NAME, "intervals.csv", "videos.csv", "run.json", "report.html", "defect.txt")
# Our folders, and how the names of their files end.
FOLDERS = {
    "predictions": (".json",),
    "windows": (".npz",),
    "boxes": (".csv",),
    "logs": (".log",),
    "thumbnails": (".jpg",),
    ".parts": (".npz", ".txt"),
    "SLY_project": (".json",),
}
CHECKOUT_FILE = ".gitkeep"  # what the shipped output folder holds


def stranger(folder: Path, is_marked: bool = False) -> Path | None:
    """A path in the folder that is not known to be ours; None where all is, or the folder is empty.

    Ours are the names that a driver writes, in a folder that holds a driver's lock file or (``is_marked``) lies in one.
    Raises OSError.
    """
    is_marked = is_marked or (folder / LOCK_FILE).is_file()
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            return path
        if not path.is_dir():
            found = None if path.is_file() and _is_our_file(path.name, is_marked) else path
        elif is_marked and path.name in FOLDERS:
            found = _other_kind(path, FOLDERS[path.name])
        else:  # another run's output, or the folder named like the input that holds foreign formats
            found = stranger(path, is_marked) if is_marked or any(path.iterdir()) else path
        if found is not None:
            return found
    return None


def give(folder: Path, user: int, group: int) -> None:
    """Make root's ``folder`` and what is in it the user's; raises SettingsError when that is not ours to do."""
    try:
        found = stranger(folder)
        if found is not None:
            raise SettingsError(
                f"OUTPUT belongs to root and holds {found.relative_to(folder)}, which mousetal did not write"
            )
        # The folder itself comes last: as long as it is root's, a start that was cut short is made good by the next.
        for path in (*_below(folder), folder):
            if path.lstat().st_uid == ROOT:
                os.chown(path, user, group, follow_symlinks=False)
    except OSError as error:
        raise SettingsError(
            f"OUTPUT belongs to root and cannot be given to user {user} ({error.strerror}: {error.filename})"
        ) from error


def main(arguments: Sequence[str]) -> int:
    folder, user, group = arguments
    try:
        give(Path(folder), int(user), int(group))
    except SettingsError as error:
        print(
            f"error: {error}. Videos are not decoded as root: give the folder to a user (sudo chown -R USER OUTPUT) or "
            "choose another OUTPUT.",
            file=sys.stderr,
        )
        return REFUSED
    return OK


def _is_our_file(name: str, is_marked: bool) -> bool:
    return name == CHECKOUT_FILE or (is_marked and (name in FILES or name.startswith(TEMPORARY_PREFIX)))


def _other_kind(folder: Path, suffixes: tuple[str, ...]) -> Path | None:
    """A path below the folder that is neither a folder nor a file with one of the suffixes."""
    for path in _below(folder):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            return path
        if path.is_file() and path.suffix not in suffixes and not path.name.startswith(TEMPORARY_PREFIX):
            return path
    return None


def _below(folder: Path) -> Iterator[Path]:
    """All paths in the folder; what a symbolic link points to is not looked at. Raises OSError."""
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
