"""A plan made true: videos put into the data set, labels written, the manifest last.

Importing again changes nothing but what changed: a video is known by its content, and the labels that an earlier import
took from the same file give way to the new ones; those from other files, and those set in another tool, stay. A video
whose file is gone, because the videos moved or a disk did, is taken from where it lies now.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mousetal import atomic
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import MousetalError, OutputError
from mousetal.intervals import merge
from mousetal.types import FrameRange, Label
from training.importing.earlier import source_of
from training.importing.plan import Plan, PlannedVideo
from training.importing.rows import FACTS
from training.importing.videos import content_hash, path_in_dataset

STORAGES = {"copy": "copied", "link": "linked", "reference": "referenced"}


@dataclass(frozen=True, slots=True)
class Stored:
    """What was done: videos that are new, those that were there, and those that failed with the reason."""

    dataset: Dataset
    new: tuple[str, ...]
    known: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


def store(
    plan: Plan, dataset: Dataset, name: str, storage: str, *, is_project: bool, tell: Callable[[str], None]
) -> Stored:
    """Write the plan into ``dataset`` below ``name``; ``storage`` is a key of STORAGES. Raises OutputError.

    A video that can't be put in its place is left out and reported. However it ends, the manifest names what is done.
    """
    dataset = replace(dataset, behaviors=tuple(dict.fromkeys([*dataset.behaviors, *plan.behaviors])))
    known = {entry.sha256: entry for entry in dataset.videos}
    if storage == "copy":
        _check_space(dataset.root, [one.found.path for one in plan.videos if one.found.sha256 not in known])
    new, there, failed = [], [], []
    try:
        for planned in plan.videos:
            tell(planned.found.name)
            entry = known.get(planned.found.sha256)
            try:
                if entry is None:
                    entry = _put(
                        dataset, planned, path_in_dataset(name, planned.found.name, is_project=is_project), storage
                    )
                    new.append(entry.path)
                else:
                    entry = _kept_at_hand(dataset, planned, entry)
                    there.append(entry.path)
                entry = _write_labels(dataset, planned, entry)
            except MousetalError as error:
                failed.append((planned.found.name, str(error)))
                continue
            dataset = dataset.with_entry(entry)
    finally:
        datasets.write(dataset)
    return Stored(dataset, tuple(new), tuple(there), tuple(failed))


def open_dataset(root: Path) -> Dataset:
    """The data set in ``root``, an empty one where there is none yet."""
    return datasets.read(root) if (root / datasets.MANIFEST_NAME).exists() else Dataset(root, ())


def _put(dataset: Dataset, planned: PlannedVideo, path: str, storage: str) -> VideoEntry:
    """Put a video in its place and make its entry."""
    found, info, target = planned.found, planned.found.info, dataset.root / path
    if target.exists() or target.is_symlink():
        if not target.exists() or (not target.samefile(found.path) and content_hash(target) != found.sha256):
            raise OutputError(
                f"{target}: another video than {found.path} is there. Import under another --name, or take it away."
            )
    else:
        place_file(found.path, target, storage)
    if found.path.parent.name == "video":
        _copy_figures(found.path, dataset.root / datasets.sibling(path, "ann", ".json"))
    before = next((one for one in dataset.videos if one.path == path), None)
    if before is not None:  # the file at this place was exchanged: its boxes are those of another recording
        dataset.boxes_path(before).unlink(missing_ok=True)
    return VideoEntry(
        path, found.sha256, info.num_frames, info.fps, info.width, info.height, info.duration_seconds,
        storage=STORAGES[storage], source=str(found.path.resolve()), scored=(), split=before.split if before else "",
    )  # fmt: skip


def _kept_at_hand(dataset: Dataset, planned: PlannedVideo, entry: VideoEntry) -> VideoEntry:
    """The entry of a video known by its content, after its file is put back where it is missing."""
    target = dataset.video_path(entry)
    if target.exists():
        return entry
    storage = next(one for one, kept in STORAGES.items() if kept == entry.storage)
    place_file(planned.found.path, target, storage)
    return replace(entry, source=str(planned.found.path.resolve()))


def place_file(source: Path, target: Path, storage: str) -> None:
    """Copy, hard-link or link ``source`` to ``target``, whole or not at all; raises OutputError."""
    temporary = target.parent / f"{atomic.TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if storage == "link":
                temporary.hardlink_to(source.resolve())
            elif storage == "reference":
                temporary.symlink_to(source.resolve())
            else:
                shutil.copyfile(source, temporary)
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        if storage == "link":
            raise OutputError(
                f"{target}: no hard link to {source} possible ({error.strerror or error}). "
                "Both must lie on one disk; else use --storage copy or reference."
            ) from error
        raise atomic.output_error(target, error) from error


def _copy_figures(video: Path, target: Path) -> None:
    """Take over the boxes that a Supervisely project holds beside its video."""
    annotation = video.parent.parent / "ann" / f"{video.name}.json"
    if target.exists() or not annotation.exists():
        return
    document = atomic.read_json(annotation)
    if isinstance(document, dict) and document.get("objects"):
        atomic.write_json(target, {**document, "tags": []})


def _write_labels(dataset: Dataset, planned: PlannedVideo, entry: VideoEntry) -> VideoEntry:
    """The entry after this import; its annotation file is written when the labels are others than before."""
    before = datasets.read_labels(dataset, entry)
    kept = [label for label in before if not source_of(label, planned.sources)]
    ours = {(label.behavior, label.frames, label.rater) for label in planned.labels}
    kept = [label for label in kept if (label.behavior, label.frames, label.rater) not in ours]
    labels = tuple(sorted([*kept, *planned.labels], key=_order))
    if labels != before or not dataset.annotation_path(entry).exists():
        entry = datasets.write_labels(dataset, entry, labels)
    said = {fact: getattr(planned.facts, fact) or getattr(entry, fact) for fact in FACTS}
    entry = replace(entry, **said)
    if not planned.sources:
        return entry
    looked_for = None if planned.looked_for is None else tuple(sorted(planned.looked_for))
    if not kept:
        return replace(entry, scored=planned.scored, behaviors=looked_for)
    return replace(entry, scored=_both(entry.scored, planned.scored), behaviors=_union(entry.behaviors, looked_for))


def _order(label: Label) -> tuple[int, int, str]:
    return label.frames.start_frame, label.frames.end_frame, label.behavior


def _both(one: tuple[FrameRange, ...] | None, other: tuple[FrameRange, ...] | None) -> tuple[FrameRange, ...] | None:
    return None if one is None or other is None else tuple(merge([*one, *other]))


def _union(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if one is None or other is None else tuple(sorted({*one, *other}))


def _check_space(root: Path, sources: list[Path]) -> None:
    """Raises OutputError before anything is copied, where the copies would not fit."""
    needed = sum(path.stat().st_size for path in sources)
    existing = next(folder for folder in (root, *root.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise OutputError(
            f"{root}: {needed / 1e9:.1f} GB of videos to copy, {free / 1e9:.1f} GB free. "
            "Free some space, or use --storage link or reference."
        )
