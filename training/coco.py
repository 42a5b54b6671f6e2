"""Boxes in COCO's format, read, checked, split and made ready for training.

A folder holds ``boxes_coco.json`` and pictures: image files, or videos of which an image names a frame by
``frame_index`` beside ``file_name``. Besides COCO's keys an image may tell ``split`` ("train", "validation", "test"),
``subject``, ``session`` and ``video``. A class is the place of its category in the file's ``categories``; files with
other categories are matched by name. An image without boxes is a picture without an animal, and is learned from.

    data = read([Path("boxes")])
    print(data.report)
    train, validation = by_split(data, share=0.2, seed=0)
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mousetal import atomic
from mousetal.errors import RecordError

BOXES_NAME = "boxes_coco.json"
SPLITS = ("train", "validation", "test")
LISTED = 5  # examples of what is wrong
FRAME_NUMBER = re.compile(r"[-_. ]*(?:frame|img|image)?[-_. ]*\d+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BoxedImage:
    """One picture: an image file (``frame_index`` None) or a frame of a video, and the boxes on it.

    ``boxes_xyxy`` are in pixels of the picture as stored, ``labels`` index the class list. ``group`` names the animal,
    session or video; pictures of a group never part in a split. ``split`` is empty where the file tells none.
    ``folder`` counts the folders that were read, from 0. ``size`` is the picture's width and height where the file
    tells them: its boxes speak of that.
    """

    path: Path
    frame_index: int | None
    boxes_xyxy: tuple[tuple[float, float, float, float], ...]
    labels: tuple[int, ...]
    group: str
    split: str = ""
    folder: int = 0
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class CocoData:
    """What was read: classes in order, pictures, and how many things of each kind were wrong, with examples."""

    classes: tuple[str, ...]
    images: tuple[BoxedImage, ...]
    problems: Mapping[str, tuple[str, ...]]

    @property
    def report(self) -> str:
        """What there is and what was left out, in lines for the user."""
        boxes = sum(len(image.labels) for image in self.images)
        empty = sum(not image.labels for image in self.images)
        groups = len({image.group for image in self.images})
        lines = [
            f"{len(self.images)} pictures of {groups} groups, {boxes} boxes of {', '.join(self.classes)}; "
            f"{empty} pictures without a box"
        ]
        for kind, examples in self.problems.items():
            more = ", ..." if len(examples) > LISTED else ""
            lines.append(f"  {len(examples)} {kind}: {', '.join(examples[:LISTED])}{more}")
        return "\n".join(lines)


def read(paths: Sequence[Path], classes: Sequence[str] = ()) -> CocoData:
    """The boxes of several folders (or COCO files) together.

    ``classes`` fixes the class list; by default it is that of the first file, with what further files add. Left out and
    reported: crowd boxes, boxes of unknown categories or images, without extent or four numbers, or outside the
    picture; images whose file is missing. Boxes that stick out are cut. Raises RecordError for a file that is no COCO
    file, and when no picture is left.
    """
    problems: dict[str, list[str]] = defaultdict(list)
    names = list(classes)
    images: list[BoxedImage] = []
    for folder, path in enumerate(paths):
        found = _read_file(_annotation_file(path), names, bool(classes), problems)
        images += [replace(image, folder=folder) for image in found]
    data = CocoData(tuple(names), tuple(images), {kind: tuple(found) for kind, found in problems.items()})
    if not data.images or not data.classes:
        where = ", ".join(map(str, paths))
        raise RecordError(f"{where}: no picture to learn from.\n{data.report}\nCheck the files named there.")
    return data


def by_split(data: CocoData, share: float, seed: int) -> tuple[CocoData, CocoData]:
    """Training and validation pictures.

    Where the files tell the split it is kept ("test" is in neither); all else is parted by group, about ``share`` of
    the groups for validation. With a single group nothing is left to validate on.
    """
    undecided = [image for image in data.images if not image.split]
    held_out = chosen_groups([image.group for image in undecided], share, seed)
    sides: dict[str, list[BoxedImage]] = {split: [] for split in SPLITS}
    for image in data.images:
        sides[image.split or ("validation" if image.group in held_out else "train")].append(image)
    return (replace(data, images=tuple(sides["train"])), replace(data, images=tuple(sides["validation"])))


def chosen_groups(groups: Iterable[str], share: float, seed: int) -> set[str]:
    """About ``share`` of the different groups, at least one and never all; none of a single group."""
    names = sorted(set(groups))
    if len(names) < 2 or share <= 0:
        return set()
    count = min(len(names) - 1, max(1, round(share * len(names))))
    return {str(name) for name in np.random.default_rng(seed).permutation(names)[:count]}


def write(folder: Path, images: Sequence[dict[str, Any]], boxes: Sequence[Sequence[float]], classes: Sequence[str],
          info: Mapping[str, Any]) -> None:  # fmt: skip
    """Write a COCO file with one box (x1, y1, x2, y2) of the first class per image, numbered from 1."""
    annotations = []
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        bbox = [round(value, 1) for value in (x1, y1, x2 - x1, y2 - y1)]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 1, "bbox": bbox, "area": round(bbox[2] * bbox[3], 1),
             "iscrowd": 0}
        )  # fmt: skip
    document = {
        "info": dict(info),
        "images": [{"id": number, **image} for number, image in enumerate(images, start=1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": name, "supercategory": "animal"} for i, name in enumerate(classes, start=1)],
    }
    atomic.write_json(folder / BOXES_NAME, document)


def _annotation_file(path: Path) -> Path:
    if path.is_file():
        return path
    if (path / BOXES_NAME).is_file():
        return path / BOXES_NAME
    others = sorted(path.glob("*.json"))
    if len(others) == 1:
        return others[0]
    raise RecordError(f"{path}: a folder with {BOXES_NAME} (or one other JSON file) expected, found {len(others)}.")


def _read_file(path: Path, names: list[str], are_fixed: bool, problems: dict[str, list[str]]) -> list[BoxedImage]:
    document = atomic.read_json(path)
    try:
        label_of = _labels(document["categories"], names, are_fixed)
        numbers = Counter(image["id"] for image in document["images"])
        if len(numbers) < len(document["images"]):
            twice = [number for number, count in numbers.items() if count > 1]
            raise ValueError(f"several images have the id {twice[0]!r}, so that nobody knows whose its boxes are")
        boxes = _boxes(
            document["annotations"], {image["id"]: image for image in document["images"]}, label_of, problems
        )
        images = []
        for image in document["images"]:
            file = path.parent / image["file_name"]
            if not file.is_file():
                problems["pictures whose file is missing"].append(str(file))
                continue
            corners, labels = zip(*boxes[image["id"]], strict=True) if boxes[image["id"]] else ((), ())
            index = image.get("frame_index")
            split = str(image.get("split") or "")
            if split not in ("", *SPLITS):
                raise ValueError(f"split {split!r} of {image['file_name']} is none of {', '.join(SPLITS)}")
            frame = None if index is None else int(index)
            size = (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
            images.append(BoxedImage(file, frame, corners, labels, _group(image, path.parent), split, size=size))
        return images
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            f"{path}: expected COCO boxes with images, annotations and categories ({error!r})."
        ) from error


def _labels(categories: Sequence[dict[str, Any]], names: list[str], are_fixed: bool) -> dict[Any, int]:
    """Category id -> label; categories that ``names`` lacks are added to it, unless it is fixed."""
    for category in categories:
        if category["name"] not in names and not are_fixed:
            names.append(str(category["name"]))
    return {category["id"]: names.index(category["name"]) for category in categories if category["name"] in names}


Box = tuple[tuple[float, float, float, float], int]


def _boxes(annotations: Sequence[dict[str, Any]], images: Mapping[Any, dict[str, Any]], label_of: Mapping[Any, int],
           problems: dict[str, list[str]]) -> dict[Any, list[Box]]:  # fmt: skip
    found: dict[Any, list[Box]] = defaultdict(list)
    for annotation in annotations:
        name = f"annotation {annotation.get('id')}"
        image = images.get(annotation["image_id"])
        if image is None:
            problems["boxes of unknown images"].append(f"{name} (image_id {annotation['image_id']!r})")
            continue
        if annotation["category_id"] not in label_of:
            problems["boxes of unknown categories"].append(f"{name} (category_id {annotation['category_id']!r})")
            continue
        if annotation.get("iscrowd"):
            problems["crowd boxes"].append(name)
            continue
        try:
            x, y, width, height = map(float, annotation["bbox"])
        except (KeyError, TypeError, ValueError):
            problems["boxes that are not four numbers"].append(f"{name} {annotation.get('bbox')!r}")
            continue
        if not math.isfinite(x + y + width + height) or width <= 0 or height <= 0:
            problems["boxes without extent"].append(f"{name} {annotation['bbox']}")
            continue
        most_x, most_y = float(image.get("width") or math.inf), float(image.get("height") or math.inf)
        x1, y1, x2, y2 = max(0.0, x), max(0.0, y), min(most_x, x + width), min(most_y, y + height)
        if x1 >= x2 or y1 >= y2:
            problems["boxes outside their picture"].append(f"{name} {annotation['bbox']}")
            continue
        if (x1, y1, x2, y2) != (x, y, x + width, y + height):
            problems["boxes cut at the picture's edge"].append(name)
        found[annotation["image_id"]].append(((x1, y1, x2, y2), label_of[annotation["category_id"]]))
    return found


def _group(image: Mapping[str, Any], folder: Path) -> str:
    """What must stay together: the subject, else the session, else the video, else what the file's name begins with."""
    for key in ("subject", "session", "video"):
        if image.get(key):
            return f"{key} {image[key]}"
    name = PurePosixPath(image["file_name"])
    if image.get("frame_index") is not None:
        return f"video {folder / name}"
    stem = FRAME_NUMBER.sub("", name.stem)  # m1_000123.jpg is a frame of m1
    return f"pictures {folder / name.parent / stem}"


def count_by_class(data: CocoData) -> dict[str, int]:
    """How many boxes there are of each class."""
    counts = Counter(label for image in data.images for label in image.labels)
    return {name: counts[label] for label, name in enumerate(data.classes)}
