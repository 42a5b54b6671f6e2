"""The videos to import: found, looked into, hashed; two files of one content are one video."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mousetal.dataset import Dataset
from mousetal.errors import SettingsError, VideoError
from mousetal.formats import supervisely
from mousetal.types import VideoInfo
from mousetal.video import decode, is_video, probe
from mousetal.videofiles import VIDEO_SUFFIXES, find_files, relative_name
from training.importing.rows import FACTS, VideoFacts

CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """One video. ``name`` is its path below the folder that was searched, or how the data set knows it.

    ``decoded_frames`` counts what the decoder delivers, None where that was not tried. ``also`` names further files of
    the same content.
    """

    name: str
    path: Path
    info: VideoInfo
    sha256: str
    decoded_frames: int | None = None
    also: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        missing = self.info.num_frames - (self.decoded_frames or 0)
        if self.decoded_frames is None or not missing:
            return self.info.warnings
        return (*self.info.warnings, f"{missing} of {self.info.num_frames} frames can't be decoded")


@dataclass(frozen=True, slots=True)
class Found:
    """All that a folder holds. ``failed`` are files that are no readable videos, with the reason."""

    videos: tuple[FoundVideo, ...]
    failed: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    is_project: bool = False


def find_videos(source: Path, left_out: Path, *, count_decodable: bool, tell: Callable[[str], None]) -> Found:
    """The videos of a folder with its subfolders, of a Supervisely project, or one file; raises SettingsError.

    ``left_out`` is the data set's folder, whose videos are not taken again. ``tell`` hears the name of each file.
    """
    if not source.exists():
        raise SettingsError(f"--videos: expected a video or a folder of videos, found nothing at {source}.")
    failed: list[tuple[str, str]] = []
    by_hash: dict[str, FoundVideo] = {}
    ignored = 0
    for path, name in _files(source, left_out, failed):
        if path.suffix.lower() not in VIDEO_SUFFIXES and not is_video(path):
            ignored += 1
            continue
        tell(name)
        try:
            video = look(path, name, count_decodable=count_decodable)
        except VideoError as error:
            failed.append((name, str(error)))
            continue
        first = by_hash.setdefault(video.sha256, video)
        if first is not video:
            also = (*first.also, name)
            by_hash[video.sha256] = FoundVideo(
                first.name, first.path, first.info, first.sha256, first.decoded_frames, also
            )
    return Found(tuple(by_hash.values()), tuple(failed), ignored, source.is_dir() and supervisely.is_project(source))


def stored_videos(dataset: Dataset, name: str, tell: Callable[[str], None]) -> Found:
    """The videos that the data set already has below ``name``."""
    videos, failed = [], []
    for entry in dataset.videos:
        if PurePosixPath(entry.path).parts[0] != name:
            continue
        tell(entry.path)
        try:
            info = probe(dataset.video_path(entry))
        except VideoError as error:
            failed.append((entry.path, str(error)))
            continue
        videos.append(FoundVideo(name_in_source(entry.path), dataset.video_path(entry), info, entry.sha256))
    return Found(tuple(videos), tuple(failed))


def look(path: Path, name: str, *, count_decodable: bool = False) -> FoundVideo:
    """What one file holds; raises VideoError."""
    info = probe(path)
    decoded = sum(1 for _ in decode(info, wanted=np.zeros(0, np.int64))) if count_decodable else None
    try:
        return FoundVideo(name, path, info, content_hash(path), decoded)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror or error}).") from error


def content_hash(path: Path) -> str:
    """The file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def path_in_dataset(name: str, video: str, *, is_project: bool = False) -> str:
    """Where a video is kept: folders become nested data sets, ``a/m1.mp4`` -> ``<name>/datasets/a/video/m1.mp4``."""
    path = PurePosixPath(video)
    folders = list(path.parts[:-1])
    if is_project and folders[-1:] == ["video"]:
        folders = [part for number, part in enumerate(folders[:-1]) if number % 2 == 0 or part != "datasets"]
    nested = [part for folder in folders for part in ("datasets", folder)]
    return PurePosixPath(name, *nested, "video", path.name).as_posix()


def name_in_source(path: str) -> str:
    """The inverse of `path_in_dataset`, as far as names tell: ``<name>/datasets/a/video/m1.mp4`` -> ``a/m1.mp4``."""
    parts = PurePosixPath(path).parts
    return PurePosixPath(*parts[2:-2:2], parts[-1]).as_posix()


def facts_by_pattern(pattern: str, video: str) -> VideoFacts:
    """What a regular expression finds in a video's path: its named groups, or without names the subject."""
    found = re.search(pattern, video)
    if found is None:
        return VideoFacts()
    named = found.groupdict()
    if not named:
        return VideoFacts(subject=found[1] or "")
    return VideoFacts(**{name: named.get(name) or "" for name in FACTS})


def checked_pattern(pattern: str) -> str:
    """The pattern, if it is one that `facts_by_pattern` can use; raises SettingsError."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"--subject-pattern: expected a regular expression, got {pattern!r} ({error}).") from error
    unknown = sorted(set(compiled.groupindex) - set(FACTS))
    if unknown or not compiled.groups:
        raise SettingsError(
            f"--subject-pattern: expected groups named {', '.join(FACTS)}, or one for the subject, got {pattern!r}."
        )
    return pattern


def _files(source: Path, left_out: Path, failed: list[tuple[str, str]]) -> Iterator[tuple[Path, str]]:
    if source.is_file():
        yield source, source.name
        return

    def note(error: OSError) -> None:
        folder = relative_name(Path(error.filename), source)
        failed.append((folder, f"folder cannot be read ({error.strerror})"))

    roots = [source]
    if supervisely.is_project(source):
        roots = [source / dataset / "video" for dataset in supervisely.datasets(source)]
    ours = left_out.resolve()
    for root in roots:
        for path in find_files(root, lambda folder: folder.resolve() == ours, note):
            yield path, relative_name(path, source)
