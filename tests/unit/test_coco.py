"""COCO data: what is wrong with it is told and left out, the rest becomes pictures, and videos are never parted."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal.errors import RecordError
from training import coco, coco_pictures
from training.boxaugment import Augmentation, augment, iou_crop, mirrored, sanitised, to_input, turned, zoom_out
from training.pictures import Picture
from training.synthetic import Film, write_video

CLEAN: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a_001.png", "width": 64, "height": 48},
        {"id": 8, "file_name": "a_002.png", "width": 64, "height": 48},
        {"id": 9, "file_name": "film.mp4", "frame_index": 3, "width": 160, "height": 120},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 10, 20, 12], "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 3, "bbox": [100, 60, 40, 30]},
    ],
    "categories": [{"id": 3, "name": "mouse"}, {"id": 5, "name": "rat"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        picture = np.full((48, 64, 3), 40 * number, np.uint8)
        picture[10:22, 10:30] = (0, 0, 255)
        cv2.imwrite(str(tmp_path / f"a_00{number}.png"), picture)
    write_video(Film(1, 0.4, size=(160, 120), fps=25), tmp_path / "film.mp4")
    write(tmp_path, CLEAN)
    return tmp_path


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / coco.BOXES_NAME).write_text(json.dumps(document))


def test_classes_are_places_in_the_categories_and_pictures_without_boxes_stay(folder: Path) -> None:
    data = coco.read([folder])
    assert data.classes == ("mouse", "rat")
    assert [image.labels for image in data.images] == [(1,), (), (0,)]
    assert data.images[0].boxes_xyxy == ((10.0, 10.0, 30.0, 22.0),)
    assert data.images[2].frame_index == 3
    assert data.report == "3 pictures of 2 groups, 2 boxes of mouse, rat; 1 pictures without a box"
    assert coco.count_by_class(data) == {"mouse": 1, "rat": 1}


def test_what_is_wrong_is_left_out_and_counted(folder: Path) -> None:
    document = copy.deepcopy(CLEAN)
    document["images"].append({"id": 10, "file_name": "gone.png"})
    wrong = [
        {"id": 11, "image_id": 7, "category_id": 4, "bbox": [1, 1, 5, 5]},
        {"id": 12, "image_id": 99, "category_id": 3, "bbox": [1, 1, 5, 5]},
        {"id": 13, "image_id": 8, "category_id": 3, "bbox": [1, 1, 0, 5]},
        {"id": 14, "image_id": 8, "category_id": 3, "bbox": [64, 1, 9, 5]},
        {"id": 15, "image_id": 8, "category_id": 3, "bbox": [1, 1, 5, 5], "iscrowd": 1},
        {"id": 16, "image_id": 8, "category_id": 3, "bbox": [-4, 40, 10, 20]},
        {"id": 17, "image_id": 8, "category_id": 3, "bbox": [float("nan"), 1, 5, 5]},
        {"id": 18, "image_id": 8, "category_id": 3, "bbox": [1, 1, 5]},
        {"id": 19, "image_id": 8, "category_id": 3},
    ]
    document["annotations"] += wrong
    write(folder, document)
    data = coco.read([folder])
    assert {kind: len(found) for kind, found in data.problems.items()} == {
        "boxes of unknown categories": 1,
        "boxes of unknown images": 1,
        "boxes without extent": 2,
        "boxes that are not four numbers": 2,
        "boxes outside their picture": 1,
        "crowd boxes": 1,
        "boxes cut at the picture's edge": 1,
        "pictures whose file is missing": 1,
    }
    assert "  1 boxes of unknown categories: annotation 11 (category_id 4)" in data.report
    assert data.images[1].boxes_xyxy == ((0.0, 40.0, 6.0, 48.0),)
    assert len(data.images) == 3


def test_files_with_other_categories_are_matched_by_name(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "b.png"), np.zeros((48, 64, 3), np.uint8))
    document = {
        "images": [{"id": 1, "file_name": "b.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 1, 5, 5]},
                        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
        "categories": [{"id": 0, "name": "rat"}, {"id": 1, "name": "vole"}],
    }  # fmt: skip
    (other / "labels.json").write_text(json.dumps(document))
    assert coco.read([folder, other]).images[-1].labels == (1, 2)
    fixed = coco.read([folder, other], classes=("rat", "mouse"))
    assert fixed.images[-1].labels == (0,)
    assert len(fixed.problems["boxes of unknown categories"]) == 1


@pytest.mark.parametrize(
    "change",
    [{"annotations": None}, {"images": [{"id": 1}]}, {"categories": [{"id": 1}]},
     {"images": [{"id": 7, "file_name": "a_001.png", "split": "tset"}]},
     {"images": [{"id": 7, "file_name": "a_001.png"}, {"id": 7, "file_name": "a_002.png"}]}],
)  # fmt: skip
def test_a_file_that_is_no_coco_file_is_refused(folder: Path, change: dict[str, Any]) -> None:
    write(folder, CLEAN | change)
    with pytest.raises(RecordError, match=r"boxes_coco\.json: expected COCO boxes"):
        coco.read([folder])


def test_no_picture_left_is_an_error_with_the_report(folder: Path) -> None:
    write(folder, CLEAN | {"images": [{"id": 7, "file_name": "gone.png"}], "annotations": []})
    with pytest.raises(RecordError, match=r"no picture to learn from.\n(.|\n)*1 pictures whose file is missing"):
        coco.read([folder])


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_group_is_on_one_side_of_the_split_and_both_have_some(groups: list[str], share: float, seed: int) -> None:
    images = tuple(coco.BoxedImage(Path(str(i)), None, (), (), group) for i, group in enumerate(groups))
    train, held_out = coco.by_split(coco.CocoData(("mouse",), images, {}), share, seed)
    sides = [{image.group for image in one.images} for one in (train, held_out)]
    assert not sides[0] & sides[1]
    assert len(train.images) + len(held_out.images) == len(images)
    assert train.images
    assert bool(held_out.images) == (len(set(groups)) > 1)


def test_a_split_that_the_file_tells_is_kept(folder: Path) -> None:
    document = copy.deepcopy(CLEAN)
    for image, split in zip(document["images"], ("validation", "test", "train"), strict=True):
        image["split"] = split
    write(folder, document)
    train, held_out = coco.by_split(coco.read([folder]), 0.5, 0)
    assert [image.path.name for image in train.images] == ["film.mp4"]
    assert [image.path.name for image in held_out.images] == ["a_001.png"]


def test_frames_cut_from_one_video_are_one_group_as_are_videos_of_one_animal(folder: Path) -> None:
    groups = [image.group for image in coco.read([folder]).images]
    assert groups[0] == groups[1] != groups[2]
    document = copy.deepcopy(CLEAN)
    for image in document["images"]:
        image["subject"] = "m1"
    write(folder, document)
    assert {image.group for image in coco.read([folder]).images} == {"subject m1"}


def test_pictures_are_decoded_once_and_made_smaller(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    pictures, _ = coco_pictures.load(coco.read([folder]), cache, limit=80)
    film = pictures.picture(2)
    assert film.rgb.shape == (60, 80, 3)
    np.testing.assert_allclose(film.boxes_xyxy, [[50, 30, 70, 45]])
    rgb, _ = Film(1, 0.4, size=(160, 120), fps=25).frame(3)
    assert np.abs(cv2.resize(rgb, (80, 60), interpolation=cv2.INTER_AREA).astype(int) - film.rgb).mean() < 8
    red = pictures.picture(0)
    assert red.rgb[16, 20].tolist()[0] > 200 > 60 > red.rgb[16, 20].tolist()[2]
    assert pictures.picture(1).boxes_xyxy.shape == (0, 4)
    monkeypatch.setattr(coco_pictures, "frames", lambda *_: pytest.fail("decoded again"))
    again, _ = coco_pictures.load(coco.read([folder]), cache, limit=80)
    assert again.digest == pictures.digest
    np.testing.assert_array_equal(again.picture(2).rgb, film.rgb)


def test_an_unfinished_cache_is_made_again_and_a_damaged_one_named(folder: Path, tmp_path: Path) -> None:
    data, cache = coco.read([folder]), tmp_path / "cache"
    pictures, _ = coco_pictures.load(data, cache, limit=80)
    before = pictures.picture(2).rgb
    file = pictures.cached[2].file
    (file.parent / coco_pictures.INDEX_NAME).unlink()
    file.write_bytes(file.read_bytes()[:30])
    again, _ = coco_pictures.load(data, cache, limit=80)
    np.testing.assert_array_equal(again.picture(2).rgb, before)
    file.write_bytes(b"nonsense")
    with pytest.raises(RecordError, match=r"a cached picture is damaged\. Delete the folder"):
        again.picture(2)


def test_files_and_frames_that_cannot_be_read_are_told_and_left_out(folder: Path, tmp_path: Path) -> None:
    document = copy.deepcopy(CLEAN)
    document["images"].append({"id": 10, "file_name": "film.mp4", "frame_index": 300})
    write(folder, document)
    (folder / "a_001.png").write_bytes(b"no picture")
    pictures, left = coco_pictures.load(coco.read([folder]), tmp_path / "cache", limit=80)
    assert len(pictures) == len(left.images) == 2
    assert "1 files that cannot be read" in left.report
    assert "1 frames that cannot be decoded: film.mp4 frame 300" in left.report
    for name in ("a_002.png", "film.mp4"):
        (folder / name).write_bytes(b"neither")
    with pytest.raises(RecordError, match="not one picture can be read"):
        coco_pictures.load(coco.read([folder]), tmp_path / "cache", limit=80)


def test_a_picture_of_another_size_than_its_boxes_speak_of_is_told_and_left_out(folder: Path, tmp_path: Path) -> None:
    document = copy.deepcopy(CLEAN)
    document["images"][0] |= {"width": 640, "height": 480}  # labelled before it was made smaller
    write(folder, document)
    pictures, left = coco_pictures.load(coco.read([folder]), tmp_path / "cache", limit=80)
    assert [image.path.name for image in left.images] == ["a_002.png", "film.mp4"]
    assert len(pictures) == 2
    assert "1 pictures of another size than the file of boxes says: a_001.png (64x48, not 640x480)" in left.report


def test_boxes_outside_a_picture_whose_size_the_file_does_not_tell_are_left_out(folder: Path, tmp_path: Path) -> None:
    document = copy.deepcopy(CLEAN)
    del document["images"][0]["width"]
    document["annotations"].append({"id": 3, "image_id": 7, "category_id": 3, "bbox": [500, 10, 20, 12]})
    write(folder, document)
    pictures, left = coco_pictures.load(coco.read([folder]), tmp_path / "cache", limit=80)
    assert pictures.picture(0).boxes_xyxy.tolist() == [[10, 10, 30, 22]]
    assert pictures.picture(0).labels.tolist() == [1]
    assert "1 boxes outside their picture: a_001.png" in left.report


# --- augmentation: whatever is done to a picture, its box stays on what it was on


def marked(rng: np.random.Generator) -> Picture:
    """A dark picture with one bright box."""
    x1, y1 = rng.integers(5, 40, 2)
    width, height = rng.integers(12, 30, 2)
    rgb = np.full((80, 100, 3), 30, np.uint8)
    rgb[y1 : y1 + height, x1 : x1 + width] = 220
    return Picture(rgb, np.array([[x1, y1, x1 + width, y1 + height]], np.float32), np.zeros(1, np.int64))


def bright(picture: Picture) -> list[int]:
    rows, columns = np.where(picture.rgb[..., 0] > 125)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@settings(deadline=None, max_examples=40)  # pictures take a while on a busy machine
@given(st.integers(0, 10_000))
def test_boxes_stay_on_the_animal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = marked(rng)
    for change in (
        mirrored, turned, sanitised, lambda p: zoom_out(p, 2.0, rng), lambda p: iou_crop(p, rng),
        lambda p: augment(p, Augmentation(photometric=0.0), rng),
    ):  # fmt: skip
        changed = change(picture)
        assert len(changed.boxes_xyxy) == len(changed.labels) == 1
        np.testing.assert_allclose(changed.boxes_xyxy[0], bright(changed), atol=1e-4)


@settings(deadline=None, max_examples=40)  # pictures take a while on a busy machine
@given(st.integers(0, 10_000))
def test_every_augmentation_leaves_boxes_inside_and_is_the_same_for_the_same_numbers(seed: int) -> None:
    how = Augmentation(grey=0.5, invert=0.5)
    picture = marked(np.random.default_rng(seed))
    one, other = (augment(picture, how, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one.rgb, other.rgb)
    pixels, labels = to_input(one, 64)
    assert pixels.shape == (3, 64, 64)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    centre, extent = labels["boxes"].chunk(2, dim=-1)
    assert (centre - extent / 2 >= -1e-6).all()
    assert (centre + extent / 2 <= 1 + 1e-6).all()


def test_turns_and_mirrors_undo_themselves() -> None:
    picture = marked(np.random.default_rng(3))
    for back in (mirrored(mirrored(picture)), turned(turned(turned(turned(picture))))):
        np.testing.assert_array_equal(back.rgb, picture.rgb)
        np.testing.assert_allclose(back.boxes_xyxy, picture.boxes_xyxy)


def test_boxes_of_which_nothing_is_left_are_dropped() -> None:
    picture = marked(np.random.default_rng(3))
    boxes = np.array([[-30, 0, -2, 40], [-5, -5, 10, 10], [99.5, 0, 200, 50]], np.float32)
    kept = sanitised(Picture(picture.rgb, boxes, np.arange(3)))
    assert kept.labels.tolist() == [1]
    assert kept.boxes_xyxy.tolist() == [[0, 0, 10, 10]]


def test_a_picture_without_boxes_passes_through_all_augmentations() -> None:
    picture = Picture(np.full((50, 60, 3), 9, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    for seed in range(20):
        _, labels = to_input(augment(picture, Augmentation(), np.random.default_rng(seed)), 32)
        assert labels["boxes"].shape == (0, 4)
