"""Boxes of a data set's videos: found by looking at some frames, stored once, found anew only for another detector."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mousetal import dataset as datasets
from mousetal import video
from mousetal.dataset import Dataset
from mousetal.types import Detections, DetectorBatch, DetectorSpec, FrameBox
from tests.fixtures.datasets import small_dataset, true_box
from training import boxes as boxing
from training import material, preprocessreport
from training.synthetic import Film


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A data set of three films; tests that change it copy it first."""
    root = tmp_path_factory.mktemp("material") / "dataset"
    small_dataset(root)
    return datasets.read(root)


@pytest.fixture
def copied(made: Dataset, tmp_path: Path) -> Dataset:
    shutil.copytree(made.root, tmp_path / "dataset")
    return datasets.read(tmp_path / "dataset")


class Watcher:
    """A detector that knows the truth and counts how often it is asked."""

    spec = DetectorSpec("watcher", "ab" * 32, ("mouse",), 64, 0.4)

    def __init__(self, film: Film) -> None:
        self.film, self.batches = film, list[tuple[int, ...]]()

    @property
    def asked(self) -> int:
        return sum(map(len, self.batches))

    def predict(self, batch: DetectorBatch) -> list[Detections]:
        assert len(batch.images) == len(batch.source_sizes) == len(batch.frame_indices)
        self.batches.append(batch.frame_indices)
        return [self.answer(frame) for frame in batch.frame_indices]

    def answer(self, frame: int) -> Detections:
        box = np.array([true_box(self.film, frame).box_xyxy], np.float32)
        return Detections(frame, box, np.array([0.9], np.float32), np.zeros(1, np.int64))


def test_boxes_are_found_for_every_frame_by_looking_at_some(made: Dataset) -> None:
    dataset = made
    watcher = Watcher(Film(50_000, 4.0, size=(160, 120), fps=25))
    info = video.probe(dataset.video_path(dataset.videos[0]))
    found = boxing.find_boxes(info, watcher)
    assert [box.frame_index for box in found] == list(range(info.num_frames))
    assert watcher.asked < 0.8 * info.num_frames
    errors = [
        np.abs(np.subtract(box.box_xyxy, true_box(watcher.film, box.frame_index).box_xyxy)).max() for box in found
    ]
    assert np.mean(errors) < 1.5


def test_boxes_of_every_nth_frame_become_boxes_of_all_and_gaps_stay() -> None:
    known = tuple(FrameBox(n, (n, 0.0, n + 10.0, 10.0), 1.0, "detected") for n in (0, 5, 10, 60, 65))
    table = boxing.per_frame(known, 80)
    assert table[7].tolist() == [7, 0, 17, 10]
    assert np.isnan(table[30]).all()
    assert np.isnan(table[70]).all()


def test_there_is_no_movement_where_no_box_is_known() -> None:
    boxes = np.full((40, 4), np.nan)
    assert boxing.movement(boxes).tolist() == [0.0] * 40
    boxes[20:] = [[n, 0, n + 10, 10] for n in range(20)]
    assert boxing.movement(boxes)[:17].tolist() == [0.0] * 17
    assert boxing.movement(boxes)[30] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("boxes_by", "found"),
    [("", 0), ("training.autolabel: movement", 0), ("watcher@" + "ab" * 6, 0), ("another@0123456789ab", 3)],
)
def test_only_boxes_of_another_detector_are_found_anew(
    boxes_by: str, found: int, copied: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = replace(copied, videos=tuple(replace(entry, boxes_by=boxes_by) for entry in copied.videos))
    monkeypatch.setattr(material, "_load", lambda *_: Watcher(Film(50_000, 4.0, size=(160, 120), fps=25)))
    report = preprocessreport.Report()
    after, _ = material.gather(dataset, Path("detector"), report)
    assert len(report.boxes_found) == found
    expected = "watcher@" + "ab" * 6 if found else boxes_by
    assert {entry.boxes_by for entry in after.videos} == {expected}


def test_a_video_in_which_no_animal_was_found_is_not_looked_through_again(
    copied: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(Watcher):
        def answer(self, frame: int) -> Detections:
            nothing = np.zeros(0, np.float32)
            return Detections(frame, nothing.reshape(0, 4), nothing, np.zeros(0, np.int64))

    blind = Blind(Film(50_000, 4.0, size=(160, 120), fps=25))
    monkeypatch.setattr(material, "_load", lambda *_: blind)
    dataset = replace(copied, videos=tuple(replace(entry, boxes_by="another") for entry in copied.videos))
    after, _ = material.gather(dataset, Path("detector"), preprocessreport.Report())
    asked, report = blind.asked, preprocessreport.Report()
    assert asked
    after, materials = material.gather(after, Path("detector"), report)
    assert (blind.asked, report.boxes_found, len(report.boxes_kept)) == (asked, [], 3)
    assert all(len(one.boxes) == 0 for one in materials.values())
    after.boxes_path(after.videos[0]).unlink()
    material.gather(after, Path("detector"), report)
    assert report.boxes_found == [after.videos[0].path], "boxes that were thrown away are found again"


def test_an_interrupt_while_boxes_are_found_keeps_those_that_are_there(
    copied: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = replace(copied, videos=tuple(replace(entry, boxes_by="another") for entry in copied.videos))
    stored = []
    whole = datasets.write

    def write_twice(changed: Dataset) -> None:
        whole(changed)
        stored.append(changed)
        if len(stored) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(material, "_load", lambda *_: Watcher(Film(50_000, 4.0, size=(160, 120), fps=25)))
    monkeypatch.setattr(datasets, "write", write_twice)
    with pytest.raises(KeyboardInterrupt):
        material.gather(dataset, Path("detector"), preprocessreport.Report())
    assert sorted(entry.boxes_by for entry in datasets.read(dataset.root).videos) == [
        "another",
        *["watcher@" + "ab" * 6] * 2,
    ]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("video")]


def test_movement_is_a_boxs_way_in_shares_of_its_side_and_none_where_it_is_unknown() -> None:
    boxes = np.full((40, 4), np.nan)
    boxes[:20] = [(2.0 * n, 0.0, 2.0 * n + 10, 5.0) for n in range(20)]
    moved = boxing.movement(boxes)
    assert moved[4:17] == pytest.approx(0.2)
    assert moved[24:].tolist() == [0.0] * 16
    assert boxing.movement(np.full((5, 4), np.nan)).tolist() == [0.0] * 5
    assert len(boxing.movement(boxes[:1])) == 1


def test_a_video_in_which_the_detector_sees_no_animal_is_named(
    copied: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(Watcher):
        def predict(self, batch: DetectorBatch) -> list[Detections]:
            return [Detections.empty(frame) for frame in batch.frame_indices]

    dataset = replace(copied, videos=tuple(replace(entry, boxes_by="another@01") for entry in copied.videos))
    monkeypatch.setattr(material, "_load", lambda *_: Blind(Film(50_000, 4.0, size=(160, 120), fps=25)))
    report = preprocessreport.Report()
    material.gather(dataset, Path("detector"), report)
    assert {note.split(": ")[0] for note in report.notes} == {entry.path for entry in dataset.videos}
    assert "the detector saw no animal" in report.notes[0]
