"""A detector against true boxes in pictures of their own (COCO, as `training.coco` reads it), not of evaluated videos.

    told = boxtruth.read(Path("boxes"), "test", detector.spec)
    scores = boxtruth.judge(detector, told)

Here the detector itself is judged, every box that it gives on a picture, by COCO's own evaluator; the animal's track,
which joins and mends boxes over time, has no part in it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import mousetal.detector
from mousetal.errors import RecordError, VideoError
from mousetal.geometry import resize_for_detector
from mousetal.streams import batched
from mousetal.types import Detections, DetectorBatch, DetectorSpec, UInt8Array
from training import coco, coco_pictures
from training.boxscores import Found, matched
from training.coco import BoxedImage, CocoData
from training.coco_scores import MOST_FOUND, coco_scores
from training.evaluation.detector import OVERLAPS
from training.evaluation.share import Number, ratio
from training.evaluation.truth import ALL

BATCH = 4


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Of ``pictures`` that could be read. ``recall50`` counts boxes that the product would use: from the detector's
    score threshold on, at an overlap of 0.5. ``lost`` are files and frames that could not be read."""

    pictures: int
    ap50_95: Number
    ap50: Number
    recall50: Number
    lost: tuple[str, ...] = ()


def read(folder: Path, split: str, spec: DetectorSpec) -> CocoData:
    """The pictures of a split ("all": of all), and those of which no split is told; raises RecordError without one.

    Boxes are taken by the names of the detector's classes; where it has one class and the folder has another one, both
    are the animal.
    """
    data = coco.read([folder], spec.classes)
    if not any(image.labels for image in data.images) and len(spec.classes) == 1:
        other = coco.read([folder])
        if len(other.classes) == 1:
            data = replace(other, classes=spec.classes)
    images = tuple(image for image in data.images if split == ALL or image.split in ("", split))
    if not any(image.labels for image in images):
        raise RecordError(
            f"{folder}: no box of {', '.join(spec.classes)} on a picture of the split {split!r}.\n{data.report}"
        )
    return replace(data, images=images)


def judge(detector: mousetal.detector.Detector, data: CocoData) -> BoxScores:
    """What the detector finds on the pictures beside the boxes there; raises RecordError when none can be read."""
    by_file: dict[Path, list[BoxedImage]] = defaultdict(list)
    for image in data.images:
        by_file[image.path].append(image)
    found: list[Found] = []
    lost: list[str] = []
    for path, images in by_file.items():
        wanted = {image.frame_index: image for image in images}
        try:
            for pictures in batched(coco_pictures.frames(path, set(wanted)), BATCH):  # all would be too many
                answers = detector.predict(_batch(pictures, detector.spec.input_size), 0.0)
                found += [
                    _found(answer, wanted.pop(index)) for answer, (index, _) in zip(answers, pictures, strict=True)
                ]
        except (RecordError, VideoError) as error:
            lost.append(str(error))
        else:
            lost += [f"{path}: frame {index} could not be decoded" for index in wanted]
    if not found:
        raise RecordError(f"not one picture with true boxes could be read. The first: {lost[0]}")
    scores = coco_scores(found, data.classes)
    _, hits, num_true = matched([_from(one, detector.spec.score_threshold) for one in found], OVERLAPS[0])
    return BoxScores(len(found), scores["AP"], scores["AP50"], ratio(int(hits.sum()), num_true), tuple(lost))


Pictures = list[tuple[int | None, UInt8Array]]


def _batch(pictures: Pictures, size: int) -> DetectorBatch:
    """Resized as at inference."""
    images = np.stack([resize_for_detector(rgb, size) for _, rgb in pictures])
    sizes = tuple((rgb.shape[1], rgb.shape[0]) for _, rgb in pictures)
    return DetectorBatch(tuple(range(len(pictures))), sizes, images)


def _found(answer: Detections, image: BoxedImage) -> Found:
    true = np.array(image.boxes_xyxy, np.float64).reshape(-1, 4)
    best = slice(0, MOST_FOUND)
    return Found(
        answer.boxes_xyxy[best], answer.scores[best], answer.labels[best], true, np.array(image.labels, np.int64)
    )


def _from(found: Found, threshold: float) -> Found:
    kept = found.scores >= np.float32(threshold)
    return replace(found, boxes=found.boxes[kept], scores=found.scores[kept], labels=found.labels[kept])
