"""Which videos INPUT means: one file, a folder with its subfolders, or a Supervisely video project.

A file counts as a video by its content. One that is named like a video but isn't, or can't be read, stays in the list,
so that it ends as `failed` with its reason and does not vanish in silence. Left out: hidden files and folders, our own
output, and folders that a symbolic link leads back to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mousetal.errors import SettingsError
from mousetal.formats import supervisely
from mousetal.video import is_video
from mousetal.videofiles import VIDEO_SUFFIXES, find_files, relative_name

log = logging.getLogger(__name__)


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

    def note(error: OSError) -> None:
        folder = relative_name(Path(error.filename), source)
        unreadable.append((folder, f"folder cannot be read ({error.strerror})"))

    ours = output.resolve()
    videos, ignored = [], 0
    for dataset, root in roots:
        for path in find_files(root, lambda folder: folder.resolve() == ours, note):
            if path.suffix.lower() in VIDEO_SUFFIXES or looks_like_video(path):
                videos.append(InputVideo(relative_name(path, source), path, dataset))
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
