"""What the data set stores of each video, read once a run: its labels, and where the animal is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mousetal import dataset as datasets
from mousetal import video
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import RecordError, VideoError
from mousetal.packed import packed_boxes
from mousetal.types import Float64Array, FrameBox, Label
from training import boxes as boxing
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


def gather(dataset: Dataset, detector_dir: Path | None, report: Report) -> tuple[Dataset, dict[str, Material]]:
    """Read all videos' material by path, first finding the boxes of those that have none, or another detector's.

    Boxes that were found are stored in the data set at once, its manifest too. A video whose material cannot be had is
    in the report, with as much material as there is.
    """
    detector = _load(detector_dir) if detector_dir else None
    name = f"{detector.spec.name}@{detector.spec.sha256[:12]}" if detector else ""
    materials: dict[str, Material] = {}
    for entry in dataset.videos:
        materials[entry.path] = Material()
        try:
            labels = datasets.read_labels(dataset, entry)
            materials[entry.path] = Material(labels)
            boxes = datasets.read_stored_boxes(dataset, entry)
            is_kept = not entry.boxes_by or entry.boxes_by.startswith(boxing.BY_AUTOLABEL) or entry.boxes_by == name
            if boxes and (is_kept or detector is None):
                report.boxes_kept.append(entry.path)
            elif detector is None:
                raise RecordError(f"{entry.path}: no boxes are stored. Give --detector, or run training.autolabel.")
            else:
                dataset = _find(dataset, entry, detector, name, report)
                boxes = datasets.read_stored_boxes(dataset, entry)  # rounded as in every later run
            materials[entry.path] = Material(labels, packed_boxes(boxes))
        except (VideoError, RecordError) as error:
            report.failed[entry.path] = str(error)
    return dataset, materials


def _find(dataset: Dataset, entry: VideoEntry, detector: Detector, name: str, report: Report) -> Dataset:
    info = video.probe(dataset.video_path(entry))
    found = boxing.find_boxes(info, detector)
    datasets.write_stored_boxes(dataset, entry, found, info.pts_seconds.tolist())
    dataset = dataset.with_entry(replace(entry, boxes_by=name))
    datasets.write(dataset)
    report.boxes_found.append(entry.path)
    said = f"boxes {len(report.boxes_found)} {entry.path}: {len(found)} of {info.num_frames} frames"
    print(said, file=sys.stderr)
    return dataset


def _load(detector_dir: Path) -> Detector:
    import mousetal.detector  # takes seconds, and is not needed where all boxes are there

    return mousetal.detector.load(detector_dir, backend="auto")
