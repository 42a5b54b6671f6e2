"""The rat action clips beside some checkouts, as labelled data sets: one of single clips, one of joined playlists.

266 clips of 16 frames each, cut out of longer recordings by the people who labelled them, a label per clip. Each
becomes a video of its own with one label over all of it. Clips whose label is in doubt stay in the data set, but no
frame of them is scored, so nothing learns from them and no number counts them.

    folder = Path("../shared/data/real/permissive/rat_action_clips")
    clips = read_clips(folder)
    dataset = make_dataset(clips, Path("work/dataset"))
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from mousetal import dataset as datasets
from mousetal import video
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import RecordError
from mousetal.types import FrameBox, FrameRange, Label
from training import boxes as boxing
from training.importing.store import place_file
from training.importing.videos import content_hash
from training.real_boxes import boxes_by_file
from training.real_videos import join_clips

GROOMING = "Self-Grooming"
CLIPS, PLAYLISTS = "clips", "playlists"  # what the two sets are called in their data sets


@dataclass(frozen=True, slots=True)
class RatClip:
    """One clip: ``path`` is its file, ``file`` its name in the folder, ``label`` one of the authors' seven.

    ``session`` is the recording it was cut from. ``boxes`` are those of every frame: three of them are known, the
    others lie between.
    """

    path: Path
    file: str
    label: str
    is_grooming: bool
    session: str
    is_doubtful: bool
    boxes: tuple[FrameBox, ...]


@dataclass(frozen=True, slots=True)
class Playlist:
    """Clips of one cage and session in the order of time; ``name`` tells which."""

    name: str
    clips: tuple[RatClip, ...]


def read_clips(folder: Path) -> tuple[RatClip, ...]:
    """All clips in the folder, in the order of its list. Raises RecordError where the lists are not as expected."""
    listing, boxes = folder / "clips.json", folder / "boxes_coco.json"
    try:
        known = {
            file: [FrameBox(frame, corners, 1.0, "detected") for frame, corners in found.items()]
            for file, found in boxes_by_file(boxes).items()
        }
        return tuple(
            RatClip(
                path=folder / one["file"],
                file=one["file"],
                label=one["label"],
                is_grooming=one["self_grooming"],
                session=one["session"],
                is_doubtful=one["doubtful_label"],
                boxes=_every_frame(known[one["file"]], one["frames"]),
            )
            for one in json.loads(listing.read_text(encoding="utf-8"))
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{listing}: the list of the rat action clips expected, and {boxes.name} ({error})"
        ) from error


def read_playlists(folder: Path, clips: Sequence[RatClip], fold_of: Mapping[str, int]) -> tuple[Playlist, ...]:
    """The folder's playlists, cut where the next clip's session belongs to another fold.

    So every one of them can be judged by a model that has seen none of its sessions. ``fold_of`` is by session.
    """
    path = folder / "playlists.json"
    by_file = {clip.file: clip for clip in clips}
    found = []
    try:
        for listed in json.loads(path.read_text(encoding="utf-8")):
            members = [by_file[one["file"]] for one in listed["clips"]]
            parts = [tuple(part) for _, part in groupby(members, key=lambda clip: fold_of[clip.session])]
            names = [f"{listed['name']}_part_{i + 1}" for i in range(len(parts))] if parts[1:] else [listed["name"]]
            found += [Playlist(name, part) for name, part in zip(names, parts, strict=True)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: the playlists of the rat action clips expected ({error})") from error
    return tuple(found)


def make_dataset(clips: Sequence[RatClip], root: Path) -> Dataset:
    """The data set of the clips in ``root``, its videos linked; made only where it is not there yet."""
    dataset = Dataset(root, (GROOMING,))
    mark = _mark([(clip.file, clip.is_grooming, clip.session, clip.is_doubtful, clip.boxes) for clip in clips])
    if _is_made(root, mark):
        return datasets.read(root)
    for clip in clips:
        target = f"{CLIPS}/video/{name_of(clip)}"
        if not (root / target).is_symlink():
            place_file(clip.path, root / target, "reference")
        entry = _entry(dataset, target, clip.path, clip.session, clip.label)
        if clip.is_doubtful:
            entry = replace(entry, scored=())
        labels = [Label(GROOMING, FrameRange(0, entry.num_frames), origin=clip.file)] if clip.is_grooming else []
        dataset = _with(dataset, entry, labels, clip.boxes)
    return _finished(dataset, mark)


def make_playlists(playlists: Sequence[Playlist], fold_of: Mapping[str, int], root: Path) -> Dataset:
    """The data set of the joined playlists in ``root``; the group of each video is the number of its fold."""
    dataset = Dataset(root, (GROOMING,))
    mark = _mark([
        (one.name, fold_of[one.clips[0].session], [(clip.file, clip.is_grooming, clip.boxes) for clip in one.clips])
        for one in playlists
    ])  # fmt: skip
    if _is_made(root, mark):
        return datasets.read(root)
    for one in playlists:
        target = f"{PLAYLISTS}/video/{one.name}.mkv"
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.mkv")
        join_clips([clip.path for clip in one.clips], unfinished)
        unfinished.replace(path)
        entry = _entry(dataset, target, path, one.name, str(fold_of[one.clips[0].session]))
        dataset = _with(dataset, entry, bouts_of(one), boxes_of(one))
    return _finished(dataset, mark)


def bouts_of(playlist: Playlist) -> list[Label]:
    """Grooming on the joined time line: neighbouring clips of it are one bout."""
    bouts, start = [], 0
    for is_grooming, run in groupby(playlist.clips, key=lambda clip: clip.is_grooming):
        end = start + sum(len(clip.boxes) for clip in run)
        if is_grooming:
            bouts.append(Label(GROOMING, FrameRange(start, end)))
        start = end
    return bouts


def boxes_of(playlist: Playlist) -> list[FrameBox]:
    """The clips' boxes on the joined time line."""
    boxes: list[FrameBox] = []
    for clip in playlist.clips:
        first = len(boxes)
        boxes += [replace(box, frame_index=first + box.frame_index) for box in clip.boxes]
    return boxes


def name_of(clip: RatClip) -> str:
    """What the clip's file is called in the data set: names are only unique within the authors' folders."""
    return "_".join(Path(clip.file).parts[1:])


def _every_frame(known: Sequence[FrameBox], num_frames: int) -> tuple[FrameBox, ...]:
    seen = {box.frame_index: box for box in known}
    table = boxing.per_frame(tuple(seen[index] for index in sorted(seen)), num_frames)
    if not np.isfinite(table).all():
        raise ValueError(f"boxes at both ends of {num_frames} frames expected, got those of {sorted(seen)}")
    return tuple(
        seen.get(index) or FrameBox(index, (x1, y1, x2, y2), 0.0, "interpolated")
        for index, (x1, y1, x2, y2) in enumerate(table.tolist())
    )


def _entry(dataset: Dataset, target: str, source: Path, session: str, group: str) -> VideoEntry:
    info = video.probe(dataset.root / target)
    return VideoEntry(
        target, content_hash(source), info.num_frames, info.fps, info.width, info.height, info.duration_seconds,
        storage="referenced", source=str(source.resolve()), session=session, group=group, boxes_by="boxes_coco.json",
    )  # fmt: skip


def _with(dataset: Dataset, entry: VideoEntry, labels: Sequence[Label], boxes: Sequence[FrameBox]) -> Dataset:
    entry = datasets.write_labels(dataset, entry, labels)
    seconds = [index / float(entry.fps) for index in range(entry.num_frames)]
    datasets.write_stored_boxes(dataset, entry, boxes, seconds)
    return dataset.with_entry(entry)


def _mark(facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _is_made(root: Path, mark: str) -> bool:
    return (root / "made.txt").exists() and (root / "made.txt").read_text("utf-8") == mark


def _finished(dataset: Dataset, mark: str) -> Dataset:
    datasets.write(dataset)
    (dataset.root / "made.txt").write_text(mark, "utf-8")
    return dataset
