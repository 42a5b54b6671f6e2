"""Videos into a data set: found by content, kept as copies, hard links or references, each file once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mousetal import video
from mousetal.dataset import VideoEntry
from mousetal.errors import OutputError, SettingsError, VideoError
from mousetal.types import VideoInfo
from training.importing.mapping import FACTS

KINDS = {"copy": "copied", "link": "linked", "reference": "referenced"}
NOT_VIDEOS = (
    ".json",
    ".csv",
    ".tsv",
    ".xlsx",
    ".xlsm",
    ".xls",
    ".txt",
    ".toml",
    ".md",
    ".boris",
    ".jpg",
    ".png",
    ".npz",
)


@dataclass(frozen=True, slots=True)
class Found:
    """A video in the source folder: ``name`` is its path below it, with forward slashes."""

    name: str
    path: Path
    info: VideoInfo
    sha256: str


@dataclass(frozen=True, slots=True)
class Search:
    """``videos`` by name; ``bad`` are files that should be videos and are none, with the reason; ``doubles`` repeat the
    content of another, which they map to."""

    videos: tuple[Found, ...]
    bad: dict[str, str]
    doubles: dict[str, str]


def search(folder: Path) -> Search:
    """All videos below a folder (or the one file), known by content; of each only the first picture is decoded."""
    if not folder.exists():
        raise SettingsError(f"--videos: a folder of videos expected, found nothing at {folder}.")
    paths = (
        [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file() and _is_shown(p, folder))
    )
    root = folder.parent if folder.is_file() else folder
    videos: list[Found] = []
    bad: dict[str, str] = {}
    doubles: dict[str, str] = {}
    first: dict[str, str] = {}
    for path in paths:
        if path.suffix.lower() in NOT_VIDEOS:
            continue
        name = path.relative_to(root).as_posix()
        try:
            info = video.probe(path)
            digest = hash_of(path)
        except VideoError as error:
            bad[name] = str(error)
            continue
        if digest in first:
            doubles[name] = first[digest]
            continue
        first[digest] = name
        videos.append(Found(name, path, info, digest))
    return Search(tuple(videos), bad, doubles)


def hash_of(path: Path) -> str:
    """SHA-256 of a file's content; raises VideoError when it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror or error}).") from error


def place_of(name: str, dataset_name: str) -> str:
    """A video's path in the data set: subfolders become nested data sets, as Supervisely has them."""
    path = PurePosixPath(name)
    nested = "".join(f"/datasets/{part}" for part in path.parts[:-1])
    return f"{dataset_name}{nested}/video/{path.name}"


def entry_of(found: Found, dataset_name: str, kind: str, pattern: re.Pattern[str] | None) -> VideoEntry:
    """The manifest's entry of a video. ``pattern`` has named groups (subject, group, phase, session) for its name."""
    match = pattern.search(found.name) if pattern else None
    facts = {name: text for name, text in (match.groupdict() if match else {}).items() if name in FACTS and text}
    return VideoEntry(
        path=place_of(found.name, dataset_name),
        sha256=found.sha256,
        num_frames=found.info.num_frames,
        fps=found.info.fps,
        width=found.info.width,
        height=found.info.height,
        duration_s=round(found.info.duration_seconds, 6),
        storage=KINDS[kind],
        source=str(found.path.absolute()),
        **facts,
    )


def keep(found: Found, target: Path, kind: str) -> None:
    """Put a video where the data set wants it, whole or not at all; one that is there already stays."""
    if target.exists() and (target.samefile(found.path) or hash_of(target) == found.sha256):
        return
    temporary = target.parent / f".mousetal-{os.getpid()}-{target.name}"[:200]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        if kind == "reference":
            temporary.symlink_to(found.path.absolute())
        elif kind == "link":
            os.link(found.path, temporary)
        else:
            shutil.copy2(found.path, temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        advice = " Hard links work within one disk only: use --storage copy or reference." if kind == "link" else ""
        raise OutputError(f"{target}: cannot be written ({error.strerror or error}).{advice}") from error


def probe_notes(videos: Sequence[Found]) -> list[str]:
    """What a look at the files showed that a person should know."""
    return [f"{one.name}: {warning}" for one in videos for warning in one.info.warnings]


def _is_shown(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)
