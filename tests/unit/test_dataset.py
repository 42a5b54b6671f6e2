"""A data set on disk: manifest, labels and boxes come back; what other tools wrote is understood."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import RecordError
from mousetal.formats import supervisely
from mousetal.types import FrameBox, FrameRange, Label

ENTRY = VideoEntry(
    "mice/datasets/day 1/video/m1.mp4", "ab" * 32, 300, Fraction(30000, 1001), 640, 480, 10.01, "referenced",
    "/data/m1.mp4", "m1", "drug", "post", "s1", "train", (FrameRange(0, 100), FrameRange(200, 300)), ("Self-Grooming",),
)  # fmt: skip
LABELS = (
    Label("Self-Grooming", FrameRange(10, 40), 1, "ann", "scores.xlsx!Day 1!B7:C7"),
    Label("Head/Body TWITCH", FrameRange(50, 51), 3, "", "scores.xlsx!Day 1!B8:C8"),
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path, ("Self-Grooming", "Head/Body TWITCH"), (ENTRY,))


def test_the_manifest_comes_back(dataset: Dataset) -> None:
    plain = VideoEntry("mice/video/m2.mp4", "cd" * 32, 10, Fraction(25), 64, 48, 0.4)
    dataset = dataset.with_entry(plain).with_entry(replace(plain, subject="m2"))
    datasets.write(dataset)
    assert datasets.read(dataset.root) == dataset
    assert dataset.videos[1].scored_ranges == (FrameRange(0, 10),)
    assert dataset.classes == ("idle", "Self-Grooming", "Head/Body TWITCH")
    assert dataset.in_split("train") == (ENTRY,)


def test_labels_come_back_with_where_they_were_read(dataset: Dataset) -> None:
    entry = datasets.write_labels(dataset, ENTRY, LABELS)
    assert datasets.read_labels(dataset, entry) == LABELS


def test_the_project_is_one_that_supervisely_reads(dataset: Dataset) -> None:
    datasets.write(dataset.with_entry(datasets.write_labels(dataset, ENTRY, LABELS)))
    (dataset.root / "mice/datasets/day 1/video").mkdir(parents=True)
    assert supervisely.is_project(dataset.root)
    annotation = json.loads((dataset.root / "mice/datasets/day 1/ann/m1.mp4.json").read_text())
    assert [tag["frameRange"] for tag in annotation["tags"]] == [[10, 39], [50, 50]]
    assert annotation["tags"][1]["value"] == 3
    assert annotation["size"] == {"height": 480, "width": 640}


def test_tags_of_other_tools_are_cut_to_the_video_and_foreign_ones_left_out(dataset: Dataset) -> None:
    document = supervisely.empty_annotation(ENTRY.path, 640, 480, 300)
    document["tags"] = [
        {"name": "Self-Grooming", "frameRange": [290, 400]},
        {"name": "Self-Grooming"},
        {"name": "camera moved", "frameRange": [0, 5]},
        {"name": "Self-Grooming", "frameRange": [300, 400]},
    ]
    path = dataset.annotation_path(ENTRY)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    assert datasets.read_labels(dataset, ENTRY) == (
        Label("Self-Grooming", FrameRange(0, 300)),
        Label("Self-Grooming", FrameRange(290, 300)),
    )


def test_boxes_come_from_their_file_else_from_the_annotation(dataset: Dataset) -> None:
    assert datasets.read_stored_boxes(dataset, ENTRY) == ()
    document = supervisely.empty_annotation(ENTRY.path, 640, 480, 300)
    document["objects"] = [{"key": "k", "classTitle": "mouse", "tags": []}]
    corners = ([[1, 2], [5, 6]], [[10, 20], [50, 60]])
    figures = [
        {"objectKey": "k", "geometryType": "rectangle", "geometry": {"points": {"exterior": c, "interior": []}}}
        for c in corners
    ]
    document["frames"] = [{"index": 7, "figures": figures}]
    path = dataset.annotation_path(ENTRY)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    assert datasets.read_stored_boxes(dataset, ENTRY) == (FrameBox(7, (10.0, 20.0, 50.0, 60.0), 1.0, "detected"),)
    boxes = (FrameBox(0, (1.0, 2.0, 3.25, 4.0), 0.5, "detected"), FrameBox(2, (1.0, 2.0, 3.0, 4.0), 0.0, "held"))
    datasets.write_stored_boxes(dataset, ENTRY, boxes, [0.0, 0.033, 0.066])
    assert datasets.read_stored_boxes(dataset, ENTRY) == boxes


@pytest.mark.parametrize("change", [{"split": "tset"}, {"fps": "fast"}, {"colour": 1}])
def test_a_manifest_that_makes_no_sense_is_refused(dataset: Dataset, change: dict[str, object]) -> None:
    datasets.write(dataset)
    path = dataset.root / datasets.MANIFEST_NAME
    document = json.loads(path.read_text())
    document["videos"][0] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(RecordError, match=r"dataset\.json: expected the manifest"):
        datasets.read(dataset.root)
