"""What the data set stores of each video, read once a run: its labels, and where the animal is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mousetal import dataset as datasets
from mousetal import video
from mousetal.cores import usable_cores
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import MousetalError, RecordError, VideoError
from mousetal.packed import packed_boxes
from mousetal.sidebyside import finished
from mousetal.types import Detections, DetectorBatch, DetectorSpec, Float64Array, FrameBox, Label, VideoInfo
from training import boxes as boxing
from training.boxes import Finder
from training.preprocessreport import Report

if TYPE_CHECKING:
    from mousetal.detector import Detector


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """One video's labels and boxes; the boxes packed, of which an hour of video takes some 10 MB."""

    labels: tuple[Label, ...] = ()
    boxes: Sequence[FrameBox] = ()

    def table(self, num_frames: int) -> Float64Array:
        """The animal's box on every frame, (num_frames, 4), NaN where it is unknown."""
        return boxing.per_frame(self.boxes, num_frames)


class Shared:
    """One detector for several videos at a time: it is asked by one of them at once, while the others decode."""

    def __init__(self, detector: Finder) -> None:
        self.spec: DetectorSpec = detector.spec
        self._detector, self._turn, self._is_over = detector, threading.Lock(), False

    def predict(self, batch: DetectorBatch) -> list[Detections]:
        if self._is_over:
            raise StoppedError("the run was stopped")
        with self._turn:
            return self._detector.predict(batch)

    def stop(self) -> None:
        """End what the videos under way are at: their next look fails."""
        self._is_over = True


class StoppedError(MousetalError):
    """The run ends, whatever was under way."""


def gather(dataset: Dataset, detector_dir: Path | None, report: Report) -> tuple[Dataset, dict[str, Material]]:
    """Read all videos' material by path, first finding the boxes of those that have none, or another detector's.

    Boxes that were found are stored in the data set at once, its manifest too. A video whose material cannot be had is
    in the report, with as much material as there is.
    """
    detector = Shared(_load(detector_dir)) if detector_dir else None
    name = f"{detector.spec.name}@{detector.spec.sha256[:12]}" if detector else ""
    materials = {entry.path: Material() for entry in dataset.videos}
    wanting = []
    for entry in dataset.videos:
        try:
            labels = datasets.read_labels(dataset, entry)
            materials[entry.path] = Material(labels)
            boxes = datasets.read_stored_boxes(dataset, entry)
            is_kept = not entry.boxes_by or entry.boxes_by.startswith(boxing.BY_AUTOLABEL) or entry.boxes_by == name
            if boxes and (is_kept or detector is None):
                report.boxes_kept.append(entry.path)
                materials[entry.path] = Material(labels, packed_boxes(boxes))
            elif detector is None:
                raise RecordError(f"{entry.path}: no boxes are stored. Give --detector, or run training.autolabel.")
            else:
                wanting.append(entry)
        except (VideoError, RecordError) as error:
            report.failed[entry.path] = str(error)
    if detector is not None:
        dataset = _find_all(dataset, wanting, detector, name, materials, report)
    return dataset, materials


def _find_all(
    dataset: Dataset, wanting: Sequence[VideoEntry], detector: Shared, name: str, materials: dict[str, Material],
    report: Report,
) -> Dataset:  # fmt: skip
    """Find the boxes of the videos ``wanting`` them, one per core at a time, and store each as soon as it is there."""

    def find(entry: VideoEntry) -> tuple[VideoInfo, Sequence[FrameBox]] | MousetalError:
        try:
            info = video.probe(dataset.video_path(entry))
            return info, packed_boxes(boxing.find_boxes(info, detector))
        except (VideoError, RecordError) as error:
            return error

    with closing(finished(find, wanting, usable_cores(), detector.stop)) as through:
        for entry, found in through:
            if isinstance(found, MousetalError):
                report.failed[entry.path] = str(found)
                continue
            info, boxes = found
            datasets.write_stored_boxes(dataset, entry, boxes, info.pts_seconds.tolist())
            dataset = dataset.with_entry(replace(entry, boxes_by=name))
            datasets.write(dataset)
            stored = datasets.read_stored_boxes(dataset, entry)  # rounded as in every later run
            materials[entry.path] = replace(materials[entry.path], boxes=packed_boxes(stored))
            report.boxes_found.append(entry.path)
            said = f"boxes {len(report.boxes_found)} {entry.path}: {len(boxes)} of {info.num_frames} frames"
            print(said, file=sys.stderr)
    return dataset


def _load(detector_dir: Path) -> Detector:
    import mousetal.detector  # takes seconds, and is not needed where all boxes are there

    return mousetal.detector.load(detector_dir, backend="auto")
