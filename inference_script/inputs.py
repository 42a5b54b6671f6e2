"""Which videos INPUT means: one file, a folder with its subfolders, or a Supervisely video project.

A file counts as a video by its content. One that is named like a video but isn't, or can't be read, stays in the list,
so that it ends as `failed` with its reason and does not vanish in silence. Left out: hidden files and folders, our own
output, and folders that a symbolic link leads back to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mousetal.errors import SettingsError
from mousetal.formats import supervisely
from mousetal.video import is_video

log = logging.getLogger(__name__)

# Without .ts, which is a programming language too; a real transport stream is known by its content.
VIDEO_SUFFIXES = (
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ogv", ".webm", ".wmv",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InputVideo:
    """One file to work on.

    ``name`` is its path relative to the input, with forward slashes: it names the results. ``dataset`` is the path of
    its data set in a Supervisely project, "" elsewhere.
    """

    name: str
    path: Path
    dataset: str = ""

    @property
    def size(self) -> int:
        """Bytes on disk; 0 where there is no looking."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


@dataclass(frozen=True, slots=True)
class Inputs:
    """What INPUT holds. ``unreadable`` names folders that could not be listed, with the reason."""

    name: str
    videos: tuple[InputVideo, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    ignored: int = 0


def find(source: Path, output: Path, name: str = "", looks_like_video: Callable[[Path], bool] = is_video) -> Inputs:
    """The videos of ``source`` in order of name; raises SettingsError when there is nothing to work on.

    ``name`` is what the input is called in results, if not by its own name (a container sees only a mount point).
    """
    name = name or source.name
    if not source.exists():
        raise SettingsError(f"INPUT: expected a video, a folder or a Supervisely project, found nothing at {source}.")
    if source.is_file():
        return Inputs(name, (InputVideo(name, source),))
    if source.resolve() == output.resolve():
        raise SettingsError(f"OUTPUT: expected another folder than INPUT, got {output} for both.")
    unreadable: list[tuple[str, str]] = []
    try:
        roots = _roots(source)
    except OSError as error:
        raise SettingsError(f"INPUT: {source} cannot be read ({error.strerror}).") from error
    videos, ignored = [], 0
    for dataset, root in roots:
        for path in _files(root, source, output.resolve(), unreadable):
            if path.suffix.lower() in VIDEO_SUFFIXES or looks_like_video(path):
                videos.append(InputVideo(_name(path, source), path, dataset))
            else:
                ignored += 1
    if not videos and not unreadable:
        raise SettingsError(f"INPUT: expected videos in {source}, found none ({ignored} other files).")
    return Inputs(name, tuple(sorted(videos, key=lambda video: video.name)), tuple(unreadable), ignored)


def _roots(source: Path) -> list[tuple[str, Path]]:
    """The folders to search, each with its dataset: those of a project, else the one folder with none."""
    if supervisely.is_project(source):
        return [(dataset, source / dataset / "video") for dataset in supervisely.datasets(source)]
    return [("", source)]


def _files(root: Path, source: Path, output: Path, unreadable: list[tuple[str, str]]) -> Iterator[Path]:
    """All files below ``root`` in order; each real folder is entered once, so that a loop of links ends."""
    entered: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        unreadable.append((_name(Path(error.filename), source), f"folder cannot be read ({error.strerror})"))

    for folder, folders, files in os.walk(root, followlinks=True, onerror=note):
        here = Path(folder)
        status = here.stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _is_left_out(here / name, output))
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and (path.is_file() or _is_broken_link(path)):
                yield path


def _is_broken_link(path: Path) -> bool:
    """Whether a link leads nowhere or to itself: named like a video, it is one that is missing."""
    return path.is_symlink() and not path.exists()


def _is_left_out(folder: Path, output: Path) -> bool:
    return folder.name.startswith(".") or folder.resolve() == output


def _name(path: Path, source: Path) -> str:
    """The path relative to the input; bytes of an old disk that are not Unicode are written out as escapes."""
    return os.fsencode(path.relative_to(source).as_posix()).decode("utf-8", "backslashreplace")
