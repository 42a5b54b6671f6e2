"""True boxes in pictures of their own: what is read, what is judged, and what the page says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mousetal import atomic
from mousetal.errors import RecordError
from mousetal.types import Detections, DetectorBatch, DetectorSpec
from tests.fixtures.videos import write_video
from training import coco
from training.evaluation import boxtruth

SPEC = DetectorSpec("toy", "d0" * 32, ("mouse",), 64, 0.5)
BOX = (10.0, 10.0, 50.0, 40.0)


class Toy:
    """Says the same of every picture: these boxes with these scores, best first."""

    spec = SPEC

    def __init__(self, *said: tuple[tuple[float, float, float, float], float]) -> None:
        self.said = said
        self.sizes: list[tuple[int, int]] = []

    def predict(self, batch: DetectorBatch, score_threshold: float) -> list[Detections]:
        assert score_threshold == 0
        assert batch.images.shape[1:] == (64, 64, 3)
        self.sizes += batch.source_sizes
        boxes = np.array([box for box, _ in self.said], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score in self.said], np.float32)
        return [Detections(i, boxes, scores, np.zeros(len(scores), np.int64)) for i in batch.frame_indices]


def boxed(folder: Path, images: Sequence[dict[str, Any]], name: str = "mouse") -> Path:
    """A folder with one BOX on each image; image files are made."""
    folder.mkdir(exist_ok=True)
    for image in images:
        if "frame_index" not in image:
            cv2.imwrite(str(folder / image["file_name"]), np.full((48, 80, 3), 90, np.uint8))
    coco.write(folder, list(images), [BOX] * len(images), (name,), {})
    return folder


def judged(toy: Toy, folder: Path, split: str = "test") -> boxtruth.BoxScores:
    return boxtruth.judge(toy, boxtruth.read(folder, split, SPEC))  # type: ignore[arg-type]


def test_a_detector_that_is_right_is_perfect_and_one_below_its_threshold_recalls_nothing(tmp_path: Path) -> None:
    folder = boxed(tmp_path / "b", [{"file_name": f"{n}.png"} for n in range(6)])
    right = Toy((BOX, 0.9), ((60.0, 0.0, 70.0, 9.0), 0.1))
    found = judged(right, folder)
    assert (found.pictures, found.ap50_95, found.ap50, found.recall50) == (6, pytest.approx(1), pytest.approx(1), 1)
    assert right.sizes == [(80, 48)] * 6
    unsure = judged(Toy((BOX, 0.4)), folder)
    assert (unsure.ap50, unsure.recall50) == (pytest.approx(1), 0), "the product does not use such boxes"
    off = judged(Toy(((10.0, 10.0, 50.0, 62.0), 0.9)), folder)  # an overlap of 0.58
    assert (off.recall50, off.ap50) == (1, pytest.approx(1))
    assert off.ap50_95 == pytest.approx(0.2)
    nothing = judged(Toy(), folder)
    assert (nothing.ap50_95, nothing.recall50) == (0, 0)


def test_pictures_of_other_splits_do_not_count(tmp_path: Path) -> None:
    images = [{"file_name": "a.png", "split": "test"}, {"file_name": "b.png", "split": "train"}, {"file_name": "c.png"}]
    folder = boxed(tmp_path / "b", images)
    assert judged(Toy((BOX, 0.9)), folder).pictures == 2
    assert judged(Toy((BOX, 0.9)), folder, "all").pictures == 3
    with pytest.raises(RecordError, match="on a picture of the split 'validation'"):
        boxtruth.read(boxed(tmp_path / "c", images[:2]), "validation", SPEC)


def test_frames_of_videos_count_and_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    write_video(folder / "m1.mp4", num_frames=20)
    (folder / "m2.mp4").write_bytes(b"no video")
    images = [{"file_name": "m1.mp4", "frame_index": n} for n in (3, 9, 500)]
    images.append({"file_name": "m2.mp4", "frame_index": 0})
    found = judged(Toy((BOX, 0.9)), boxed(folder, images))
    assert (found.pictures, found.ap50) == (2, pytest.approx(1))
    assert len(found.lost) == 2
    assert "frame 500 could not be decoded" in found.lost[0]


def test_a_class_of_another_name_is_the_animal_where_there_is_no_choice(tmp_path: Path) -> None:
    folder = boxed(tmp_path / "b", [{"file_name": "a.png"}], name="animal")
    assert judged(Toy((BOX, 0.9)), folder).recall50 == 1
    two = DetectorSpec("toy", "d0" * 32, ("mouse", "hand"), 64, 0.5)
    with pytest.raises(RecordError, match="no box of mouse, hand"):
        boxtruth.read(folder, "test", two)


def test_a_folder_without_boxes_is_refused(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "boxes_coco.json", {"images": [], "annotations": [], "categories": []})
    with pytest.raises(RecordError, match="no picture"):
        boxtruth.read(tmp_path, "test", SPEC)
