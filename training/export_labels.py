"""The labels of a data set in the formats of other tools.

    python -m training.export_labels --dataset dataset --format csv --out labels.csv

    csv, xlsx      our intervals.csv with rater, subject, group, phase, session and origin; a video that was looked at
                   and has no bout is a row without a behaviour
    boris          a .boris project: one observation per video and rater
    boris-table    its aggregated events, as .csv, .tsv or .xlsx
    supervisely    annotations and meta of the project (the data set is one), with the stored boxes as rectangles

Each can be imported again by `training.import_videos`. No format has a word for which part of a video was scored (the
xlsx has, for people, in a sheet of its own); where that matters, a note says so.

Exit codes: 0 all well, 1 a video failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from mousetal import atomic
from mousetal import dataset as datasets
from mousetal.dataset import ANIMAL, Dataset, VideoEntry
from mousetal.errors import MousetalError, SettingsError
from mousetal.formats import boris, supervisely
from mousetal.formats.csv import INTERVAL_COLUMNS, TIME_DIGITS, safe, table_text
from mousetal.formats.workbook import write_workbook
from mousetal.intervals import merge
from mousetal.seconds import seconds_at
from mousetal.types import FrameRange, Label, VideoInfo
from mousetal.video import probe
from training.exitcodes import FAILED, OK, guarded
from training.importing.known import LABEL_COLUMNS
from training.importing.rows import FACTS

VIDEO_COLUMNS = ("video", "subject", "group", "phase", "session", "split", "frames", "fps", "duration_s", "scored")


class Export:
    """A data set on its way out. A video that can't be read is left out and counted."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.failed: list[str] = []

    def videos(self) -> Iterator[tuple[VideoEntry, VideoInfo, tuple[Label, ...]]]:
        """Every video that was looked at, with its times and labels."""
        for entry in self.dataset.videos:
            if entry.scored == ():
                continue
            try:
                info = probe(self.dataset.video_path(entry))
                labels = datasets.read_labels(self.dataset, entry)
            except MousetalError as error:
                self.failed.append(str(error))
                continue
            yield entry, info, labels

    def interval_rows(self) -> list[list[object]]:
        rows = []
        for entry, info, labels in self.videos():
            rows += [_interval_row(entry, info, label) for label in labels]
            if not labels:
                rows.append(_interval_row(entry, info, None))
        return rows

    def observations(self, out: Path) -> list[boris.Observation]:
        """One per video and rater. Bouts of one behaviour that share frames are one, as BORIS can't tell them apart."""
        found = list(self.videos())
        long = {label.behavior for _, _, labels in found for label in labels if len(label.frames) > 1}
        observations = []
        for entry, info, labels in found:
            media = Path(os.path.relpath(self.dataset.video_path(entry), out.parent)).as_posix()
            variables = {fact: getattr(entry, fact) for fact in FACTS if fact != "subject"}
            for rater in sorted({label.rater for label in labels}) or [""]:
                name = PurePosixPath(entry.path).as_posix() + (f" {rater}" if rater else "")
                bouts = tuple(
                    boris.BorisBout(
                        media, label.behavior, seconds_at(info, label.frames.start_frame),
                        seconds_at(info, label.frames.end_frame) if label.behavior in long else None,
                        label.count, entry.subject,
                    )
                    for label in _apart([label for label in labels if label.rater == rater])
                )  # fmt: skip
                observations.append(
                    boris.Observation(name, media, info.duration_seconds, float(info.fps), bouts, rater, variables)
                )
        return observations


def _interval_row(entry: VideoEntry, info: VideoInfo, label: Label | None) -> list[object]:
    facts = [safe(getattr(entry, fact)) for fact in FACTS]
    if label is None:
        return [safe(entry.path), *[""] * 13, "human", "", "", "", *facts, ""]
    start, end = (seconds_at(info, frame) for frame in (label.frames.start_frame, label.frames.end_frame))
    return [
        safe(entry.path), safe(label.behavior), label.frames.start_frame, label.frames.end_frame,
        round(start, TIME_DIGITS), round(end, TIME_DIGITS), round(end - start, TIME_DIGITS), label.count,
        *[""] * 6, "human", "", "", safe(label.rater), *facts, safe(label.origin),
    ]  # fmt: skip


def _apart(labels: Sequence[Label]) -> Iterator[Label]:
    """The labels with those of one behaviour that share frames made one; its count is all of theirs."""
    for behavior in dict.fromkeys(label.behavior for label in labels):
        same = [label for label in labels if label.behavior == behavior]
        for joined in _joined([label.frames for label in same]):
            inside = [label for label in same if label.frames.overlap(joined)]
            yield Label(behavior, joined, sum(label.count for label in inside), inside[0].rater, inside[0].origin)


def _joined(ranges: Sequence[FrameRange]) -> list[FrameRange]:
    """The ranges, those that share frames merged; neighbours that only touch stay two."""
    joined: list[FrameRange] = []
    for one in sorted(ranges, key=lambda one: (one.start_frame, one.end_frame)):
        if joined and joined[-1].overlap(one):
            joined[-1:] = merge([joined[-1], one])
        else:
            joined.append(one)
    return joined


def write_csv(export: Export, out: Path) -> None:
    atomic.write_text(out, table_text((*INTERVAL_COLUMNS, *LABEL_COLUMNS), export.interval_rows()))


def write_xlsx(export: Export, out: Path) -> None:
    videos = [
        [
            entry.path, *(getattr(entry, fact) for fact in FACTS), entry.split, entry.num_frames, float(entry.fps),
            entry.duration_s, " ".join(f"[{one.start_frame}, {one.end_frame})" for one in entry.scored_ranges),
        ]
        for entry in export.dataset.videos
    ]  # fmt: skip
    labels: list[list[object]] = [[*INTERVAL_COLUMNS, *LABEL_COLUMNS], *export.interval_rows()]
    write_workbook(out, {"labels": labels, "videos": [[*VIDEO_COLUMNS], *videos]})


def write_boris(export: Export, out: Path) -> None:
    observations = export.observations(out)
    atomic.write_json(out, boris.project_document(out.stem, observations, export.dataset.behaviors))


def write_boris_table(export: Export, out: Path) -> None:
    rows = boris.aggregated_rows(export.observations(out))
    if out.suffix.lower() == ".xlsx":
        write_workbook(out, {"events": [[*boris.AGGREGATED_COLUMNS], *rows]})
    else:
        delimiter = "\t" if out.suffix.lower() == ".tsv" else ","
        atomic.write_text(out, table_text(boris.AGGREGATED_COLUMNS, rows, delimiter))


def write_supervisely(export: Export, out: Path) -> None:
    """A project beside the data set: its videos' folders are empty, for the videos to be put there."""
    dataset = export.dataset
    atomic.write_json(out / "meta.json", supervisely.dataset_meta(dataset.behaviors, (ANIMAL,)))
    atomic.write_json(out / "key_id_map.json", supervisely.key_id_document())
    for entry in dataset.videos:
        try:
            path = dataset.annotation_path(entry)
            document = atomic.read_json(path) if path.exists() else supervisely.empty_annotation(
                entry.path, entry.width, entry.height, entry.num_frames)  # fmt: skip
            boxes = datasets.read_stored_boxes(dataset, entry)
        except MousetalError as error:
            export.failed.append(str(error))
            continue
        if boxes:
            document = supervisely.with_boxes(document, entry.path, boxes, ANIMAL)
        (out / entry.path).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(out / datasets.sibling(entry.path, "ann", ".json"), document)


WRITERS: dict[str, Callable[[Export, Path], None]] = {
    "csv": write_csv,
    "xlsx": write_xlsx,
    "boris": write_boris,
    "boris-table": write_boris_table,
    "supervisely": write_supervisely,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return guarded(lambda: _export(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", type=Path, default=Path("dataset"), help="folder of the data set")
    parser.add_argument("--format", choices=WRITERS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="file to write (supervisely: folder)")
    return parser


def _export(arguments: argparse.Namespace) -> int:
    if arguments.out.resolve() == arguments.dataset.resolve():
        raise SettingsError(f"--out: expected another folder than the data set, got {arguments.out} for both.")
    export = Export(datasets.read(arguments.dataset))
    WRITERS[arguments.format](export, arguments.out)
    for why in export.failed:
        print(f"FAILED {why}", file=sys.stderr)
    untold = _untold(export.dataset, arguments.format)
    if untold:
        more = f" and {len(untold) - 1} more" if len(untold) > 1 else ""
        print(
            f"note: {untold[0]}{more}: not scored, scored in part, or for some behaviours only, and this format has no "
            "word for that: imported again, all of their frames count as scored",
            file=sys.stderr,
        )
    print(f"{arguments.out}: {len(export.dataset.videos) - len(export.failed)} videos")
    return FAILED if export.failed else OK


def _untold(dataset: Dataset, kind: str) -> list[str]:
    """The videos of which the format can't tell what was scored. Those that nobody looked at are in a project only."""
    told = (None,) if kind == "supervisely" else (None, ())
    return [
        one.path for one in dataset.videos if one.scored not in told or (one.scored != () and one.behaviors is not None)
    ]


if __name__ == "__main__":
    sys.exit(main())
