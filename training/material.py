"""What the data set stores of each video, read once a run: its labels, and where the animal is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mousetal import dataset as datasets
from mousetal import video
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import MousetalError, RecordError, VideoError
from mousetal.packed import packed_boxes
from mousetal.sidebyside import Over, per_core
from mousetal.types import Float64Array, FrameBox, Label, VideoInfo
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


def gather(
    dataset: Dataset, detector_dir: Path | None, report: Report, needs_boxes: bool = True, device: str = "auto"
) -> tuple[Dataset, dict[str, Material]]:
    """Read all videos' material by path, first finding the boxes of those that have none, or another detector's.

    Boxes that were found are stored in the data set at once, its manifest too. A video whose material cannot be had is
    in the report, with as much material as there is. The detector runs on ``device``: auto, cpu, cuda or cuda:N.
    """
    over = Over()
    detector = boxing.Shared(_load(detector_dir, device), over) if detector_dir else None
    name = f"{detector.spec.name}@{detector.spec.sha256[:12]}" if detector else ""
    materials = {entry.path: Material() for entry in dataset.videos}
    wanting = []
    for entry in dataset.videos:
        try:
            labels = datasets.read_labels(dataset, entry)
            materials[entry.path] = Material(labels)
            boxes = datasets.read_stored_boxes(dataset, entry)
            is_kept = not entry.boxes_by or entry.boxes_by.startswith(boxing.BY_AUTOLABEL) or entry.boxes_by == name
            is_found = boxes or (entry.boxes_by and dataset.boxes_path(entry).exists())  # none in an empty arena
            if is_found and (is_kept or detector is None):
                report.boxes_kept.append(entry.path)
                materials[entry.path] = Material(labels, packed_boxes(boxes))
            elif detector is None and needs_boxes:
                raise RecordError(f"{entry.path}: no boxes are stored. Give --detector, or run training.autolabel.")
            elif detector is not None:
                wanting.append(entry)
        except (VideoError, RecordError) as error:
            report.failed[entry.path] = str(error)
    if detector is not None:
        dataset = _find_all(dataset, wanting, detector, over, name, materials, report)
    return dataset, materials


def _find_all(
    dataset: Dataset, wanting: Sequence[VideoEntry], detector: boxing.Shared, over: Over, name: str,
    materials: dict[str, Material], report: Report,
) -> Dataset:  # fmt: skip
    """Find the boxes of the videos ``wanting`` them, one per core at a time, and store each as soon as it is there."""

    def find(entry: VideoEntry) -> tuple[VideoInfo, Sequence[FrameBox]]:
        info = video.probe(dataset.video_path(entry))
        return info, packed_boxes(boxing.find_boxes(info, detector))

    with closing(per_core(find, wanting, over)) as through:
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
            if not boxes:
                report.notes.append(f"{entry.path}: the detector saw no animal, so nothing is cut from it")
    return dataset


def _load(detector_dir: Path, device: str) -> Detector:
    import mousetal.detector  # takes seconds, and is not needed where all boxes are there

    detector = mousetal.detector.load(detector_dir, device, backend="auto")
    print(f"the detector is computed on {detector.spec.device}", file=sys.stderr)
    return detector
