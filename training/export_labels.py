"""A data set's labels for other programs.

    python -m training.export_labels --dataset dataset --format boris --out labels.boris
    python -m training.export_labels --dataset dataset --format csv --out labels.csv          # also .xlsx

The data set itself is a Supervisely project; "supervisely" copies its annotations and meta files, with the stored boxes
as rectangles and without the videos.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import openpyxl

from mousetal import atomic, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.formats import boris, supervisely
from mousetal.formats.csv import safe, table_text
from mousetal.seconds import seconds_at
from mousetal.types import Label, VideoInfo
from training.exitcodes import guarded

FORMATS = ("supervisely", "boris", "csv", "xlsx")
COLUMNS = (
    "video", "behavior", "start_frame", "end_frame", "start_s", "end_s", "duration_s", "count", "rater", "subject",
    "group", "phase", "session", "origin",
)  # fmt: skip


def rows(dataset: Dataset) -> Iterator[list[object]]:
    """One row per label, in the columns of COLUMNS; frames half-open, seconds by the video's own time stamps."""
    for entry, info, labels in _labelled(dataset):
        for label in labels:
            start, end = (seconds_at(info, frame) for frame in (label.frames.start_frame, label.frames.end_frame))
            times = [round(value, 6) for value in (start, end, end - start)]
            texts = [label.rater, entry.subject, entry.group, entry.phase, entry.session, label.origin]
            yield [
                safe(entry.path), safe(label.behavior), label.frames.start_frame, label.frames.end_frame, *times,
                label.count, *map(safe, texts),
            ]  # fmt: skip


def boris_document(dataset: Dataset) -> dict[str, object]:
    """The data set as a BORIS project; bouts of a single frame are point events where all of their behaviour are."""
    every = list(_labelled(dataset))
    spans = {b: [len(one.frames) for _, _, ls in every for one in ls if one.behavior == b] for b in dataset.behaviors}
    points = {behavior: bool(lengths) and max(lengths) == 1 for behavior, lengths in spans.items()}
    observations = []
    facts = {}
    for entry, info, labels in every:
        events = [
            boris.Event(
                behavior=label.behavior,
                start_s=seconds_at(info, label.frames.start_frame),
                end_s=None if points[label.behavior] else seconds_at(info, label.frames.end_frame),
                subject=entry.subject,
                origin=label.origin,
            )
            for label in labels
        ]
        observations.append(boris.Observation(entry.path, entry.path, tuple(events)))
        facts[entry.path] = (info.duration_seconds, float(info.fps))
    return boris.project_document(observations, points, facts)


def write_supervisely(dataset: Dataset, out: Path) -> None:
    """Meta files and annotations, the stored boxes in them."""
    for name in ("meta.json", "key_id_map.json"):
        atomic.write_json(out / name, atomic.read_json(dataset.root / name))
    for entry in dataset.videos:
        path = dataset.annotation_path(entry)
        document = (
            atomic.read_json(path)
            if path.exists()
            else supervisely.empty_annotation(entry.path, entry.width, entry.height, entry.num_frames)
        )
        boxes = datasets.read_stored_boxes(dataset, entry)
        if boxes:
            document |= supervisely.boxes_document(entry.path, boxes, entry.width, entry.height, datasets.ANIMAL)
        atomic.write_json(out / path.relative_to(dataset.root), document)


def _labelled(dataset: Dataset) -> Iterator[tuple[VideoEntry, VideoInfo, tuple[Label, ...]]]:
    for entry in dataset.videos:
        yield entry, video.probe(dataset.video_path(entry)), datasets.read_labels(dataset, entry)


def run(arguments: argparse.Namespace) -> int:
    dataset = datasets.read(arguments.dataset)
    out: Path = arguments.out
    if arguments.format == "supervisely":
        write_supervisely(dataset, out)
    elif arguments.format == "boris":
        atomic.write_json(out, boris_document(dataset))
    elif arguments.format == "csv":
        atomic.write_text(out, table_text(COLUMNS, rows(dataset)))
    else:
        _write_workbook(out, list(rows(dataset)))
    print(f"wrote {out}")
    return 0


def _write_workbook(out: Path, content: Sequence[Sequence[object]]) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Labels"
    for row in (COLUMNS, *content):
        sheet.append(list(row))
    file = io.BytesIO()
    book.save(file)
    atomic.write_bytes(out, file.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("dataset"), help="the data set's folder")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="file to write; for supervisely a folder")
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given))


if __name__ == "__main__":
    sys.exit(main())
