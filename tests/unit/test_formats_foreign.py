"""Supervisely projects and the reference system's JSON: what others read is right to the frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal import atomic
from mousetal.errors import RecordError
from mousetal.formats import reference, supervisely
from mousetal.formats.supervisely import Annotation, TaggedRange
from mousetal.types import Bout, FrameRange, Window, WindowScore
from tests.fixtures.stored import NUM_FRAMES, stored_result


def written_and_read(folder: Path, document: object) -> Annotation:
    atomic.write_json(folder / "a.mp4.json", document)
    return supervisely.read_annotation(folder / "a.mp4.json")


@given(st.lists(st.tuples(st.integers(0, NUM_FRAMES - 1), st.integers(1, NUM_FRAMES)), max_size=4))
def test_bouts_survive_the_way_through_inclusive_ranges(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int]]
) -> None:
    bouts = tuple(Bout("Self-Grooming", start, min(start + n, NUM_FRAMES), 0.5, 0.5) for start, n in spans)
    document = supervisely.annotation_document(stored_result(bouts=bouts))
    assert all(tag["frameRange"][1] < NUM_FRAMES for tag in document["tags"])
    read = written_and_read(tmp_path_factory.mktemp("ann"), document)
    found = [tag.frames for tag in read.tags if tag.name == "Self-Grooming"]
    assert found == [FrameRange(bout.start_frame, bout.end_frame) for bout in bouts]


def test_an_annotation_has_tags_with_confidence_and_the_animals_boxes(tmp_path: Path) -> None:
    read = written_and_read(tmp_path, supervisely.annotation_document(stored_result()))
    assert (read.width, read.height, read.num_frames) == (96, 80, NUM_FRAMES)
    assert read.tags[:2] == (
        TaggedRange("Self-Grooming", FrameRange(2, 6)),
        TaggedRange("confidence", FrameRange(2, 6), 0.9),
    )
    assert [figure.frame_index for figure in read.figures] == [0, 2]
    assert read.figures[0].class_title == "mouse"
    assert read.figures[0].box_xyxy == (1, 2, 30, 40)
    assert read.figures[1].box_xyxy == (0, 2, 31, 79), "inside the picture"


def test_the_same_result_gives_the_same_annotation_and_other_videos_other_keys() -> None:
    one = supervisely.annotation_document(stored_result())
    assert one == supervisely.annotation_document(stored_result())
    other = supervisely.annotation_document(stored_result("b.mp4"))
    keys = [tag["key"] for tag in one["tags"] + other["tags"]]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 32 for key in keys)


def test_the_meta_declares_every_tag_and_class_that_annotations_use() -> None:
    result = stored_result()
    meta = supervisely.meta_document(result.classifier.classes, result.detector.classes)
    kinds = {tag["name"]: tag["value_type"] for tag in meta["tags"]}
    assert kinds == {"idle": "none", "Self-Grooming": "none", "Head/Body TWITCH": "none", "confidence": "any_number"}
    document = supervisely.annotation_document(result)
    assert {tag["name"] for tag in document["tags"]} <= set(kinds)
    assert {item["classTitle"] for item in document["objects"]} <= {item["title"] for item in meta["classes"]}
    assert all(len(item["color"]) == 7 for item in meta["tags"] + meta["classes"])


def test_annotations_of_others_are_read_by_frame_index_and_shape(tmp_path: Path) -> None:
    """Frames without figures are left out, tags may span the whole video, figures may be polygons."""
    corners = {"points": {"exterior": [[30, 40], [10, 20]], "interior": []}}
    document = {
        "size": {"height": 10, "width": 20},
        "framesCount": 100,
        "tags": [{"name": "arena", "value": "A1"}, {"name": "Self-Grooming", "value": 3, "frameRange": [5, 5]}],
        "objects": [{"key": "k", "classTitle": "mouse"}],
        "frames": [
            {"index": 7, "figures": [{"objectKey": "k", "geometryType": "rectangle", "geometry": corners}]},
            {"index": 50, "figures": [{"objectKey": "k", "geometryType": "polygon", "geometry": corners}]},
        ],
    }
    read = written_and_read(tmp_path, document)
    assert read.tags == (TaggedRange("arena", None, "A1"), TaggedRange("Self-Grooming", FrameRange(5, 6), 3))
    assert [(figure.frame_index, figure.box_xyxy) for figure in read.figures] == [(7, (10, 20, 30, 40))]


@pytest.mark.parametrize("document", [[], {}, {"size": {"width": 1, "height": 1}}, "text"])
def test_a_file_that_is_no_annotation_is_named(tmp_path: Path, document: object) -> None:
    with pytest.raises(RecordError, match=r"a\.mp4\.json"):
        written_and_read(tmp_path, document)


def test_projects_are_known_by_their_folders_and_nested_datasets_are_found(tmp_path: Path) -> None:
    assert not supervisely.is_project(tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    assert not supervisely.is_project(tmp_path)
    for dataset in ("b", "a", "a/datasets/inner", "a/datasets/inner/datasets/deep"):
        (tmp_path / dataset / "video").mkdir(parents=True)
        (tmp_path / dataset / "ann").mkdir()
    assert supervisely.is_project(tmp_path)
    found = list(supervisely.datasets(tmp_path))
    assert found == ["a", "a/datasets/inner", "a/datasets/inner/datasets/deep", "b"]


def test_our_bouts_as_reference_records_have_class_numbers_and_a_box() -> None:
    result = stored_result()
    assert reference.records(result) == [
        {"frame_range": [2, 6], "label": 1, "confidence": 0.9, "bbox": [-4, 2, 31, 80]},
        {"frame_range": [8, 12], "label": 2, "confidence": 0.6, "bbox": [0, 0, 96, 80]},
    ]


def window(index: int, label: int, confidence: float) -> WindowScore:
    probabilities = np.full(3, (1 - confidence) / 2, np.float32)
    probabilities[label] = confidence
    start = 16 * index
    frames = Window(index, tuple(range(start, start + 32, 2)), FrameRange(start, start + 32))
    return WindowScore(frames, (index, 10, 100 + index, 110), probabilities)


def test_in_compat_mode_records_are_the_reference_systems_merge_of_windows() -> None:
    scores = tuple(window(i, label, 0.9) for i, label in enumerate([0, 1, 0, 1, 2]))
    records = reference.records(stored_result(scores=scores, reference_compat=True))
    assert [(record["frame_range"], record["label"]) for record in records] == [([16, 80], 1), ([64, 96], 2)]
    assert records[0]["bbox"] == [1, 10, 103, 110]
    assert records[0]["confidence"] == pytest.approx(0.9)


def test_the_predictions_file_is_json_dump_to_the_byte() -> None:
    scores = tuple(window(i, label, 0.7) for i, label in enumerate([0, 1, 0, 1, 2]))
    for result in (stored_result(), stored_result(bouts=()), stored_result(scores=scores, reference_compat=True)):
        assert reference.text(result) == json.dumps(reference.records(result), indent=4)
    assert reference.text(stored_result()).startswith('[\n    {\n        "frame_range": [\n            2,\n')


def test_in_compat_mode_tags_copy_the_records_ranges_and_there_are_no_boxes() -> None:
    """Ranges end one past their last frame, the last one after the video of NUM_FRAMES."""
    scores = tuple(window(i, label, 0.9) for i, label in enumerate([0, 1, 0, 1, 2]))
    result = stored_result(scores=scores, reference_compat=True)
    assert result.boxes
    document = supervisely.annotation_document(result)
    assert (document["objects"], document["frames"], document["framesCount"]) == ([], [], NUM_FRAMES)
    assert [(tag["name"], tag["frameRange"]) for tag in document["tags"]] == [
        ("Self-Grooming", [16, 80]),
        ("confidence", [16, 80]),
        ("Head/Body TWITCH", [64, 96]),
        ("confidence", [64, 96]),
    ]
    first, second = (record["confidence"] for record in reference.records(result))
    assert [tag.get("value") for tag in document["tags"]] == [None, first, None, second]
    names = ["name", "value", "frameRange", "isFinished", "nonFinalValue", "key"]
    assert [list(tag) for tag in document["tags"]] == [[n for n in names if n != "value"], names] * 2


def test_compat_records_are_the_golden_ones(golden: Path) -> None:
    """Our windows always have a crop, so cases without one are left to the tests of the merge itself."""
    cases = json.loads((golden / "merge_postprocess.json").read_text())
    with_boxes = [case for case in cases if all("maximal_bbox" in record for record in case["input"])]
    assert len(with_boxes) > 20
    for case in with_boxes:
        scores = tuple(golden_window(number, record) for number, record in enumerate(case["input"]))
        records = reference.records(stored_result(scores=scores, reference_compat=True))
        assert len(records) == len(case["post_None"])
        for record, expected in zip(records, case["post_None"], strict=True):
            assert list(record) == ["frame_range", "label", "confidence", "bbox"]
            assert record == {**expected, "confidence": pytest.approx(expected["confidence"], abs=1e-6)}


def golden_window(number: int, record: dict[str, Any]) -> WindowScore:
    frames = FrameRange(*record["frame_range"])
    probabilities = np.array(record["probabilities"], np.float32)
    return WindowScore(Window(number, (frames.start_frame,), frames), tuple(record["maximal_bbox"]), probabilities)
