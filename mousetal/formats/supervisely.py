"""Supervisely video projects: which videos one holds, its annotations read, our results as annotations.

    <project>/meta.json, key_id_map.json, <dataset>/{video,ann}/, and nested <dataset>/datasets/<child>/{video,ann}/

There a frame range counts its last frame in; here it never does, and this file is where that changes. As in the
reference system's projects a bout is two tags of one range, the behaviour and `confidence`: a value on the behaviour's
own tag means a count of repeats there. Unlike those, the range ends inside the video and the animal's boxes are there;
not so with `REFERENCE_COMPAT`, where ranges are that system's, one frame too long for the platform, without any box.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mousetal import atomic
from mousetal.errors import RecordError
from mousetal.formats import reference
from mousetal.types import Bout, BoxInt, FrameBox, FrameRange, Label, VideoResult

CONFIDENCE = "confidence"
ANIMAL = "animal"  # the class of the boxes when the detector names none


@dataclass(frozen=True, slots=True)
class TaggedRange:
    """A tag on a run of frames, or (``frames`` None) on the whole video. ``rater`` is who set it, ``key`` its name."""

    name: str
    frames: FrameRange | None
    value: float | str | None = None
    rater: str = ""
    key: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """A rectangle on one frame, ``x1, y1, x2, y2`` in pixels."""

    frame_index: int
    class_title: str
    box_xyxy: BoxInt


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one annotation file says of a video. Frames without a figure may be absent: go by ``frame_index``."""

    width: int
    height: int
    num_frames: int
    tags: tuple[TaggedRange, ...]
    figures: tuple[Figure, ...]


def is_project(folder: Path) -> bool:
    """Whether a folder is a Supervisely video project: a meta.json beside datasets that have a video folder."""
    return (folder / "meta.json").is_file() and next(datasets(folder), None) is not None


def datasets(folder: Path, prefix: str = "") -> Iterator[str]:
    """Paths of a project's datasets, relative to it, nested ones (`parent/datasets/child`) after their parent."""
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        name = f"{prefix}{child.name}"
        if (child / "video").is_dir():
            yield name
        if (child / "datasets").is_dir():
            yield from datasets(child / "datasets", f"{name}/datasets/")


def read_annotation(path: Path) -> Annotation:
    """One ann/<video>.json; raises RecordError naming what is wrong. Figures that are no rectangles are left out."""
    document = atomic.read_json(path)
    try:
        size = document["size"]
        titles = {item["key"]: item["classTitle"] for item in document.get("objects", ())}
        return Annotation(
            width=int(size["width"]),
            height=int(size["height"]),
            num_frames=int(document["framesCount"]),
            tags=tuple(_read_tag(tag) for tag in document.get("tags", ())),
            figures=tuple(_read_figures(document.get("frames", ()), titles)),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RecordError(f"{path}: expected a Supervisely video annotation ({error!r}).") from error


def annotation_document(result: VideoResult) -> dict[str, Any]:
    """One video's bouts and boxes as an annotation. The keys come from the content, so a second run gives the same."""
    video, info = result.video, result.info
    told = _reference_segments(result) if result.reference_compat else [_segment(bout) for bout in result.bouts]
    document = {
        **empty_annotation(video, info.width, info.height, info.num_frames),
        "tags": [tag for number, segment in enumerate(told) for tag in _segment_tags(video, number, *segment)],
    }
    return document if result.reference_compat else with_boxes(document, video, result.boxes, animal_class(result))


def with_boxes(document: dict[str, Any], video: str, boxes: Sequence[FrameBox], class_title: str) -> dict[str, Any]:
    """An annotation with these boxes in place of its own, as rectangles of one object."""
    animal, size = _key(video, "object"), (document["size"]["width"], document["size"]["height"])
    return {
        **document,
        "objects": [{"key": animal, "classTitle": class_title, "tags": []}] if boxes else [],
        "frames": _frames(video, boxes, animal, size, document["framesCount"]),
    }


def label_tag(label: Label, key: str) -> dict[str, Any]:
    """A person's label as a tag; its value is the count of repeats."""
    return {
        "name": label.behavior,
        "value": label.count,
        "frameRange": [label.frames.start_frame, label.frames.end_frame - 1],
        "isFinished": True,
        "nonFinalValue": False,
        "labelerLogin": label.rater,
        "key": key,
    }


def empty_annotation(video: str, width: int, height: int, num_frames: int) -> dict[str, Any]:
    """The annotation of a video about which nothing was said yet."""
    return {
        "size": {"height": height, "width": width},
        "description": "",
        "key": _key(video, "video"),
        "tags": [],
        "objects": [],
        "frames": [],
        "framesCount": num_frames,
    }


def meta_document(behaviors: Sequence[str], animals: Sequence[str]) -> dict[str, Any]:
    """The meta.json of a project of results: a tag per behaviour, `confidence`, a rectangle class per animal."""
    tags = [(name, "none") for name in dict.fromkeys(behaviors)] + [(CONFIDENCE, "any_number")]
    return _meta(tags, animals)


def dataset_meta(behaviors: Sequence[str], animals: Sequence[str]) -> dict[str, Any]:
    """The meta.json of a project of labels: a tag per behaviour whose value counts repeats."""
    return _meta([(name, "any_number") for name in dict.fromkeys(behaviors)], animals)


def _meta(tags: Sequence[tuple[str, str]], animals: Sequence[str]) -> dict[str, Any]:
    return {
        "classes": [
            {"title": name, "shape": "rectangle", "color": _color(name), "geometry_config": {}, "hotkey": ""}
            for name in dict.fromkeys(animals)
        ],
        "tags": [
            {
                "name": name,
                "value_type": value_type,
                "color": _color(name),
                "hotkey": "",
                "applicable_type": "all",
                "classes": [],
                "target_type": "all",
            }
            for name, value_type in tags
        ],
    }


def key_id_document() -> dict[str, Any]:
    """The project's key_id_map.json: nothing has been on a server yet."""
    return {"tags": {}, "objects": {}, "figures": {}, "videos": {}}


def animal_class(result: VideoResult) -> str:
    """The class of the animal's boxes: the detector's first."""
    return result.detector.classes[0] if result.detector.classes else ANIMAL


def _segment(bout: Bout) -> tuple[str, list[int], float]:
    return bout.behavior, [bout.start_frame, bout.end_frame - 1], bout.confidence


def _reference_segments(result: VideoResult) -> list[tuple[str, list[int], float]]:
    """What the predictions file holds, its ranges copied as they are: the last may end after the video."""
    classes = result.classifier.classes
    return [(classes[one["label"]], one["frame_range"], one["confidence"]) for one in reference.records(result)]


def _segment_tags(
    video: str, number: int, name: str, frame_range: list[int], confidence: float
) -> list[dict[str, Any]]:
    shared = {"frameRange": frame_range, "isFinished": True, "nonFinalValue": False}
    return [
        {"name": name, **shared, "key": _key(video, f"tag {number}")},
        {"name": CONFIDENCE, "value": confidence, **shared, "key": _key(video, f"confidence {number}")},
    ]


def _frames(
    video: str, boxes: Sequence[FrameBox], animal: str, size: tuple[int, int], num_frames: int
) -> list[dict[str, Any]]:
    return [
        {"index": box.frame_index, "figures": [_figure(video, box, animal, size)]}
        for box in boxes
        if box.frame_index < num_frames
    ]


def _figure(video: str, box: FrameBox, animal: str, size: tuple[int, int]) -> dict[str, Any]:
    """A rectangle inside the picture of ``size`` (width, height), corners counted in, as the platform has it."""
    x1, y1, x2, y2 = (round(side) for side in box.box_xyxy)
    right, bottom = size[0] - 1, size[1] - 1
    corners = [[min(max(x1, 0), right), min(max(y1, 0), bottom)], [min(max(x2, 0), right), min(max(y2, 0), bottom)]]
    return {
        "key": _key(video, f"figure {box.frame_index}"),
        "objectKey": animal,
        "geometryType": "rectangle",
        "geometry": {"points": {"exterior": corners, "interior": []}},
    }


def _read_tag(tag: dict[str, Any]) -> TaggedRange:
    span = tag.get("frameRange")
    frames = FrameRange(int(span[0]), int(span[1]) + 1) if span else None
    return TaggedRange(tag["name"], frames, tag.get("value"), tag.get("labelerLogin") or "", tag.get("key") or "")


def _read_figures(frames: Sequence[dict[str, Any]], titles: dict[str, str]) -> Iterator[Figure]:
    for frame in frames:
        for figure in frame.get("figures", ()):
            if figure["geometryType"] != "rectangle":
                continue
            corners = figure["geometry"]["points"]["exterior"]
            xs, ys = sorted(int(x) for x, _ in corners), sorted(int(y) for _, y in corners)
            yield Figure(int(frame["index"]), titles[figure["objectKey"]], (xs[0], ys[0], xs[-1], ys[-1]))


def _key(video: str, part: str) -> str:
    """32 hexadecimal digits that name one thing of one video."""
    return hashlib.sha256(f"{video}\0{part}".encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _color(name: str) -> str:
    return "#" + hashlib.sha256(name.encode()).hexdigest()[:6].upper()
