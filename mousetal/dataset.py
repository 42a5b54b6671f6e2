"""A labelled data set on disk: a Supervisely video project, and a manifest of what that format has no place for.

    dataset/
      meta.json, key_id_map.json            the project's classes and tags
      <name>/video/<file>                   the videos: copies, hard links, or symbolic links to where they lie
      <name>/ann/<file>.json                the labels, as tags on ranges of frames (inclusive there, never here)
      <name>/boxes/<file>.csv               where the animal is, as the driver writes it; made by training.preprocess
      dataset.json                          classes in order, and per video: hash, subject, split, scored ranges, ...

What a video is called is its path below the data set's folder, with forward slashes ("cohort3/video/m01.mp4").
The labels are in the annotation files alone, so that a person may change them in any tool that knows the format; the
manifest tells by a tag's key where each label was read.

    dataset = read(Path("dataset"))
    for entry in dataset.videos:
        labels = read_labels(dataset, entry)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

from mousetal import atomic
from mousetal.errors import RecordError
from mousetal.formats import supervisely
from mousetal.formats.csv import box_table, read_boxes
from mousetal.types import FrameBox, FrameRange, Label

MANIFEST_NAME = "dataset.json"
FORMAT_VERSION = 1
BACKGROUND = "idle"
SPLITS = ("train", "validation", "test")
STORAGES = ("copied", "linked", "referenced")
ANIMAL = "mouse"


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """What the manifest says of one video.

    ``path`` is below the data set's folder; ``source`` is where the file came from; ``storage`` says how it is kept
    ("copied", "linked": a hard link, "referenced": a symbolic link). ``subject`` names the animal and may be empty, as
    may ``group``, ``phase`` and ``session``. ``split`` is one of SPLITS, empty while undecided.

    ``provenance`` tells by a tag's key where the label was read, ``boxes_by`` what found the stored boxes.
    ``scored`` are the frames that a person looked at, None for all; frames outside count neither as behaviour nor as
    background. ``behaviors`` are those the person looked for, None for all of the data set's.
    """

    path: str
    sha256: str
    num_frames: int
    fps: Fraction
    width: int
    height: int
    duration_s: float
    storage: str = "copied"
    source: str = ""
    subject: str = ""
    group: str = ""
    phase: str = ""
    session: str = ""
    split: str = ""
    scored: tuple[FrameRange, ...] | None = None
    behaviors: tuple[str, ...] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    boxes_by: str = ""

    @property
    def scored_ranges(self) -> tuple[FrameRange, ...]:
        """The scored frames, spelt out."""
        return (FrameRange(0, self.num_frames),) if self.scored is None else self.scored


@dataclass(frozen=True, slots=True)
class Dataset:
    """The manifest of the data set in ``root``. ``behaviors`` are in the order of the class list, background first."""

    root: Path
    behaviors: tuple[str, ...]
    videos: tuple[VideoEntry, ...] = ()
    background: str = BACKGROUND

    @property
    def classes(self) -> tuple[str, ...]:
        """The class list of models trained on this: the background (index 0), then the behaviours."""
        return (self.background, *self.behaviors)

    def video_path(self, entry: VideoEntry) -> Path:
        return self.root / entry.path

    def annotation_path(self, entry: VideoEntry) -> Path:
        return self.root / sibling(entry.path, "ann", ".json")

    def boxes_path(self, entry: VideoEntry) -> Path:
        return self.root / sibling(entry.path, "boxes", ".csv")

    def in_split(self, split: str) -> tuple[VideoEntry, ...]:
        return tuple(entry for entry in self.videos if entry.split == split)

    def with_entry(self, entry: VideoEntry) -> Dataset:
        """The same with ``entry`` in the place of the one of its path, or added at the end."""
        others = [entry if one.path == entry.path else one for one in self.videos]
        known = any(one.path == entry.path for one in self.videos)
        return replace(self, videos=tuple(others) if known else (*self.videos, entry))


def sibling(path: str, folder: str, suffix: str) -> str:
    """Where a video's other file lies: ``cohort/video/a.mp4`` -> ``cohort/<folder>/a.mp4<suffix>``."""
    video = PurePosixPath(path)
    if video.parent.name != "video":
        raise ValueError(f"a path like <name>/video/<file> expected, got {path!r}")
    return (video.parent.parent / folder / (video.name + suffix)).as_posix()


def read(root: Path) -> Dataset:
    """The data set in ``root``; raises RecordError saying what is wrong with its manifest."""
    path = root / MANIFEST_NAME
    document = atomic.read_json(path)
    try:
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {FORMAT_VERSION} expected, got {document['format_version']}")
        videos = tuple(_read_entry(one) for one in document["videos"])
        return Dataset(root, tuple(document["behaviors"]), videos, document["background"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{path}: expected the manifest of a data set ({error}). Import the videos again.") from error


def write(dataset: Dataset) -> None:
    """Write the manifest and the project's meta.json and key_id_map.json, each whole or not at all."""
    tags = dataset.behaviors
    atomic.write_json(dataset.root / "meta.json", supervisely.dataset_meta(tags, (ANIMAL,)))
    atomic.write_json(dataset.root / "key_id_map.json", supervisely.key_id_document())
    document = {
        "format_version": FORMAT_VERSION,
        "behaviors": list(dataset.behaviors),
        "background": dataset.background,
        "videos": [_entry_document(entry) for entry in dataset.videos],
    }
    atomic.write_json(dataset.root / MANIFEST_NAME, document)


def read_labels(dataset: Dataset, entry: VideoEntry) -> tuple[Label, ...]:
    """The labels of one video, sorted by start; tags that name no behaviour of the data set are left out.

    A range that reaches past the video's end is cut there; a tag on the whole video counts for all its frames. Raises
    RecordError. No annotation file means no labels.
    """
    path = dataset.annotation_path(entry)
    if not path.exists():
        return ()
    labels = []
    for tag in supervisely.read_annotation(path).tags:
        frames = tag.frames or FrameRange(0, entry.num_frames)
        if tag.name not in dataset.behaviors or frames.start_frame >= entry.num_frames:
            continue
        frames = FrameRange(frames.start_frame, min(frames.end_frame, entry.num_frames))
        count = int(tag.value) if isinstance(tag.value, int | float) and tag.value >= 1 else 1
        labels.append(Label(tag.name, frames, count, tag.rater, entry.provenance.get(tag.key, "")))
    return tuple(sorted(labels, key=lambda one: (one.frames.start_frame, one.frames.end_frame, one.behavior)))


def write_labels(dataset: Dataset, entry: VideoEntry, labels: Iterable[Label]) -> VideoEntry:
    """Write a video's annotation file; the entry that is given back knows where each label was read.

    Boxes that the file held before are kept.
    """
    path = dataset.annotation_path(entry)
    tags, provenance = [], {}
    for number, label in enumerate(labels):
        key = hashlib.sha256(f"{entry.path}\0{number}\0{label}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
        tags.append(supervisely.label_tag(label, key))
        if label.origin:
            provenance[key] = label.origin
    document = atomic.read_json(path) if path.exists() else _empty_annotation(entry)
    document["tags"] = tags
    atomic.write_json(path, document)
    return replace(entry, provenance=provenance)


def read_stored_boxes(dataset: Dataset, entry: VideoEntry) -> tuple[FrameBox, ...]:
    """Where the animal is, in order of frames: from the boxes file, else from rectangles in the annotation.

    Of several rectangles on one frame the largest counts. Empty when nothing is stored.
    """
    path = dataset.boxes_path(entry)
    if path.exists():
        return read_boxes(path)
    if not dataset.annotation_path(entry).exists():
        return ()
    largest: dict[int, FrameBox] = {}
    for figure in supervisely.read_annotation(dataset.annotation_path(entry)).figures:
        box = FrameBox(figure.frame_index, tuple(map(float, figure.box_xyxy)), 1.0, "detected")  # type: ignore[arg-type]
        known = largest.get(figure.frame_index)
        if known is None or _area(box) > _area(known):
            largest[figure.frame_index] = box
    return tuple(largest[index] for index in sorted(largest))


def write_stored_boxes(
    dataset: Dataset, entry: VideoEntry, boxes: Sequence[FrameBox], pts_seconds: Sequence[float]
) -> None:
    """Write a video's boxes file, one row per frame on which the animal's place is known."""
    table = box_table(boxes, lambda frame: float(pts_seconds[frame]))
    atomic.write_text(dataset.boxes_path(entry), table)


def _empty_annotation(entry: VideoEntry) -> dict[str, Any]:
    return supervisely.empty_annotation(entry.path, entry.width, entry.height, entry.num_frames)


def _area(box: FrameBox) -> float:
    x1, y1, x2, y2 = box.box_xyxy
    return (x2 - x1) * (y2 - y1)


def _entry_document(entry: VideoEntry) -> dict[str, Any]:
    document = asdict(entry)
    document["fps"] = str(entry.fps)
    document["scored"] = None if entry.scored is None else [[r.start_frame, r.end_frame] for r in entry.scored]
    document["behaviors"] = None if entry.behaviors is None else list(entry.behaviors)
    return document


def _read_entry(document: dict[str, Any]) -> VideoEntry:
    values = dict(document)
    values["fps"] = Fraction(values["fps"])
    if values["scored"] is not None:
        values["scored"] = tuple(FrameRange(int(start), int(end)) for start, end in values["scored"])
    if values["behaviors"] is not None:
        values["behaviors"] = tuple(values["behaviors"])
    entry = VideoEntry(**values)
    if entry.split not in ("", *SPLITS) or entry.storage not in STORAGES:
        raise ValueError(f"{entry.path}: split {entry.split!r} or storage {entry.storage!r} is unknown")
    return entry
