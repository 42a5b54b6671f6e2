"""From a labelled data set to training clips: boxes, split, clips. Only what is new or changed is done again.

    python -m training.preprocess --dataset dataset --clips clips --detector models/my-detector --config preprocess.toml

1. Boxes, once per video, stored in the data set: by the detector, unless there are some (from `training.autolabel`, a
   person, or an earlier run). A second pass over a video cuts its clips, because a clip's square needs all its boxes.
2. The split into train, validation and test, by animal, written to the manifest; videos that have a side keep it.
3. Clips of train and validation videos: every bout, idle time, and hard idle (`--hard-negatives` takes the places where
   an earlier model was wrong, from the output of a driver's run over the same data set). Test videos stay whole.

The clips' folder is the run's memory: stopped at any moment, it goes on; a video that changed, was labelled anew or
left the data set loses its old clips. ``preprocess.json`` reports what was done, reused and removed, and what leaks.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mousetal import atomic, records, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import RecordError, SettingsError, VideoError
from mousetal.types import Float64Array, VideoInfo
from training import boxes as boxing
from training.clipping import Loss, Shape, cut_video, prefix_of
from training.clips import TABLE_NAME, Clip, ClipTable, read_table, write_table
from training.cutting import CutRules, frame_labels, plan_cuts
from training.exitcodes import FAILED, OK, guarded
from training.splits import TEST, assign, leaks

if TYPE_CHECKING:
    from mousetal.detector import Detector

VERSION = 1
REPORT_NAME = "preprocess.json"
RECORDS = "records"
TRACK_MOMENTS = 32


@dataclass(frozen=True)
class Knobs:
    """Everything that can be turned; see `CutRules` and `Shape` for what clips look like."""

    seed: int = 0
    test_share: float = 0.2  # of the videos, at most ten of them
    validation_share: float = 0.15
    cut: CutRules = field(default_factory=CutRules)
    shape: Shape = field(default_factory=Shape)


@dataclass
class Report:
    """What a run did, for `preprocess.json` and for people."""

    boxes_found: list[str] = field(default_factory=list)
    boxes_kept: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    without_animal: int = 0
    notes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    loss: Loss = field(default_factory=Loss)


def read_knobs(path: Path | None) -> Knobs:
    """Knobs from a TOML file with the tables ``cut`` and ``shape``. Raises SettingsError for unknown keys."""
    if path is None:
        return Knobs()
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        cut, shape = CutRules(**document.pop("cut", {})), Shape(**document.pop("shape", {}))
        return Knobs(**document, cut=cut, shape=shape)
    except (OSError, TypeError, tomllib.TOMLDecodeError) as error:
        known = ", ".join(one.name for kind in (Knobs, CutRules, Shape) for one in fields(kind))
        raise SettingsError(f"{path}: settings of preprocess expected ({error}). Known are {known}.") from error


def store_boxes(dataset: Dataset, detector_dir: Path | None, report: Report) -> Dataset:
    """Find the boxes of all videos that have none, or whose boxes another detector found. Writes the manifest."""
    detector = _load(detector_dir) if detector_dir else None
    name = f"{detector.spec.name}@{detector.spec.sha256[:12]}" if detector else ""
    for entry in dataset.videos:
        try:
            is_there = bool(datasets.read_stored_boxes(dataset, entry))
            if is_there and (not entry.boxes_by or detector is None or entry.boxes_by == name):
                report.boxes_kept.append(entry.path)
                continue
            if detector is None:
                raise RecordError(f"{entry.path}: no boxes are stored. Give --detector, or run training.autolabel.")
            info = video.probe(dataset.video_path(entry))
            found = boxing.find_boxes(info, detector)
            datasets.write_stored_boxes(dataset, entry, found, info.pts_seconds.tolist())
            dataset = dataset.with_entry(replace(entry, boxes_by=name))
            datasets.write(dataset)
            report.boxes_found.append(entry.path)
            said = f"boxes {len(report.boxes_found)} {entry.path}: {len(found)} of {info.num_frames} frames"
            print(said, file=sys.stderr)
        except (VideoError, RecordError) as error:
            report.failed[entry.path] = str(error)
    return dataset


def _load(detector_dir: Path) -> Detector:
    import mousetal.detector  # takes seconds, and is not needed where all boxes are there

    return mousetal.detector.load(detector_dir)


def split(dataset: Dataset, knobs: Knobs, is_anew: bool, report: Report) -> Dataset:
    """Give every video its side and write the manifest."""
    if is_anew:
        dataset = replace(dataset, videos=tuple(replace(entry, split="") for entry in dataset.videos))
    seconds = {
        entry.path: [
            sum(len(label.frames) for label in labels if label.behavior == behavior) / float(entry.fps)
            for behavior in dataset.behaviors
        ]
        for entry in dataset.videos
        for labels in [datasets.read_labels(dataset, entry)]
    }
    made = assign(dataset.videos, seconds, knobs.test_share, knobs.validation_share, knobs.seed)
    report.notes += made.notes
    dataset = replace(dataset, videos=tuple(replace(entry, split=made.of[entry.path]) for entry in dataset.videos))
    for side in datasets.SPLITS:
        mine = dataset.in_split(side)
        if not mine:
            report.notes.append(f"no video for {side}")
        for place, behavior in enumerate(dataset.behaviors):
            if mine and not sum(seconds[entry.path][place] for entry in mine):
                report.notes.append(f"{behavior} never happens in {side}")
    datasets.write(dataset)
    return dataset


def clips_of(
    dataset: Dataset, entry: VideoEntry, folder: Path, knobs: Knobs, hard: Path | None, report: Report
) -> list[Clip]:
    """One video's clips, as they are or made now."""
    slug = hashlib.sha256(entry.path.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    record = folder / RECORDS / slug
    stored = tuple(datasets.read_stored_boxes(dataset, entry))
    labels = datasets.read_labels(dataset, entry)
    key = _key(entry, labels, stored, dataset.classes, knobs, _suspicion_key(dataset, entry, hard))
    known = _read_record(record, folder, key)
    if known is not None:
        report.reused.append(entry.path)
        return known
    (folder / TABLE_NAME).unlink(missing_ok=True)  # it must not list clips that are about to change
    forget(record, folder)
    path = dataset.video_path(entry)
    info = video.probe(path)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise VideoError(f"{entry.path}: the file is another than when it was imported. Import it again.")
    boxes = boxing.per_frame(stored, info.num_frames)
    interest = boxing.movement(boxes)
    if hard is not None and (doubt := _suspicion(dataset, entry, hard, info)) is not None:
        interest = doubt
    rng = np.random.default_rng([knobs.seed, int(slug[:8], 16)])
    cuts = plan_cuts(dataset, entry, labels, interest, knobs.cut, rng)
    classes = frame_labels(dataset, entry, labels)
    # Known before the first file is written: what an interrupted run leaves behind is found, and taken away.
    _announce(record, entry, key)
    clips, without = cut_video(info, entry, cuts, classes, boxes, folder, knobs.shape, report.loss)
    report.without_animal += without
    _write_record(record, folder, dataset.classes, clips, key)
    report.done.append(entry.path)
    print(f"clips {len(report.done)} {entry.path}: {len(clips)} clips", file=sys.stderr)
    return clips


def weigh(clips: Sequence[Clip], classes: Sequence[str]) -> list[Clip]:
    """The clips with weights that add up to 1 in every class and split.

    Half of a clip's weight is its share of the class's frames, half its share of the class's clips: long bouts do not
    drown short ones, and one scorer's habit of splitting bouts does not count either.
    """
    own = [max(1, int((clip.frame_labels == classes.index(clip.behavior)).sum())) for clip in clips]
    frames: Counter[tuple[str, str]] = Counter()
    mates: Counter[tuple[str, str]] = Counter()
    for clip, count in zip(clips, own, strict=True):
        frames[clip.behavior, clip.split] += count
        mates[clip.behavior, clip.split] += 1
    return [
        replace(clip, weight=0.5 * count / frames[clip.behavior, clip.split] + 0.5 / mates[clip.behavior, clip.split])
        for clip, count in zip(clips, own, strict=True)
    ]


def preprocess(
    root: Path, folder: Path, detector_dir: Path | None, knobs: Knobs, hard: Path | None = None, is_anew: bool = False
) -> tuple[ClipTable, Report]:
    """All three steps; returns what was written. A video that fails is left out and stands in the report."""
    report = Report()
    dataset = datasets.read(root)
    if not dataset.videos:
        raise RecordError(f"{root}: the data set holds no videos. Import some first.")
    dataset = store_boxes(dataset, detector_dir, report)
    dataset = split(dataset, knobs, is_anew, report)
    clips: list[Clip] = []
    for entry in dataset.videos:
        if entry.split == TEST or entry.path in report.failed:
            continue
        try:
            clips += clips_of(dataset, entry, folder, knobs, hard, report)
        except (VideoError, RecordError) as error:
            report.failed[entry.path] = str(error)
    report.removed += _sweep(folder, dataset, {clip.video for clip in clips})
    table = ClipTable(folder, dataset.classes, tuple(weigh(clips, dataset.classes)))
    report.leaks = leaks(dataset.videos, {entry.path: _track(dataset, entry) for entry in dataset.videos})
    for label, behavior in enumerate(dataset.classes):
        if not any((clip.frame_labels == label).any() for clip in clips if clip.split == "train"):
            report.notes.append(f"no clip for training holds {behavior}")
    write_table(table)
    atomic.write_json(folder / REPORT_NAME, report_document(report, table))
    return table, report


def report_document(report: Report, table: ClipTable) -> dict[str, Any]:
    """`preprocess.json`."""
    loss = report.loss
    counts = {
        side: {name: sum(clip.behavior == name for clip in table.in_split(side)) for name in table.classes}
        for side in datasets.SPLITS
    }
    measured = {
        "psnr_db": round(float(np.mean(loss.psnr)), 2) if loss.psnr else None,
        "bytes_per_second": round(loss.bytes / loss.seconds) if loss.seconds else None,
    }
    return {**{k: v for k, v in asdict(report).items() if k != "loss"}, "clips": counts, "stored": measured}


def _key(entry: VideoEntry, labels: Any, boxes: Any, classes: Any, knobs: Knobs, doubt: str) -> str:
    told = [(one.behavior, one.frames) for one in labels]
    facts = [entry.sha256, entry.subject, entry.session, entry.split, entry.scored, entry.behaviors]
    shown = [VERSION, facts, told, boxes, classes, knobs.seed, knobs.cut, knobs.shape, doubt]
    return hashlib.sha256(repr(shown).encode("utf-8", "backslashreplace")).hexdigest()


def _announce(record: Path, entry: VideoEntry, key: str) -> None:
    document = {"video": entry.path, "prefix": prefix_of(entry), "key": key, "is_complete": False}
    atomic.write_json(record / "record.json", document)


def _write_record(record: Path, folder: Path, classes: tuple[str, ...], clips: Sequence[Clip], key: str) -> None:
    write_table(ClipTable(folder, classes, tuple(clips)), record)
    document = atomic.read_json(record / "record.json")
    atomic.write_json(record / "record.json", {**document, "is_complete": True})


def _read_record(record: Path, folder: Path, key: str) -> list[Clip] | None:
    """The clips of a finished record with this key whose files are all there."""
    try:
        document = atomic.read_json(record / "record.json")
        if document["key"] != key or not document["is_complete"]:
            return None
        clips = list(read_table(folder, record).clips)
    except (RecordError, KeyError, TypeError):
        return None
    return clips if all(clip.path.is_file() for clip in clips) else None


def forget(record: Path, folder: Path) -> None:
    """Take away a video's clips, finished or not, and its record."""
    try:
        document = atomic.read_json(record / "record.json")
        for path in folder.glob(f"*/{document['prefix']}*_clip_*.avi"):
            path.unlink()
    except (RecordError, KeyError, TypeError):
        pass
    shutil.rmtree(record, ignore_errors=True)


def _sweep(folder: Path, dataset: Dataset, kept: set[str]) -> list[str]:
    """Remove the clips of videos that give none any more; their names."""
    removed = []
    for record in sorted((folder / RECORDS).glob("*")):
        try:
            name = str(atomic.read_json(record / "record.json")["video"])
        except (RecordError, KeyError, TypeError):
            name = record.name
        entry = next((one for one in dataset.videos if one.path == name), None)
        if entry is None or entry.split == TEST or (name not in kept and not (record / "clips.csv").exists()):
            forget(record, folder)
            removed.append(name)
    return removed


def _track(dataset: Dataset, entry: VideoEntry) -> Float64Array:
    """Boxes at moments spread over the video, in shares of the picture, for the search for leaks."""
    try:
        table = boxing.per_frame(datasets.read_stored_boxes(dataset, entry), entry.num_frames)
    except RecordError:
        table = np.full((1, 4), np.nan)
    moments = np.linspace(0, len(table) - 1, TRACK_MOMENTS).astype(int)
    return table[moments] / np.array([entry.width, entry.height] * 2, np.float64)


def _suspicion(dataset: Dataset, entry: VideoEntry, results: Path, info: VideoInfo) -> Float64Array | None:
    """How sure an earlier model was of a behaviour, per frame; None where it did not see this video."""
    try:
        found = records.read_video(results, entry.path)
    except RecordError:
        return None
    if found.info.num_frames != info.num_frames:
        return None
    background = found.classifier.background
    columns = [i for i in range(len(found.classifier.classes)) if i != background]
    doubt = np.nan_to_num(found.posteriors[:, columns].max(axis=1)).astype(np.float64)
    return np.where(doubt > 0.2, doubt, 0.0)


def _suspicion_key(dataset: Dataset, entry: VideoEntry, results: Path | None) -> str:
    return "" if results is None else records.read_fingerprint(results, entry.path) or ""


def said(report: Report, table: ClipTable) -> str:
    """The report for people."""
    document = report_document(report, table)
    lines = [f"failed {path}: {reason}" for path, reason in report.failed.items()]
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"LEAK: {leak}" for leak in report.leaks] or ["no leak between train, validation and test was found"]
    lines += [f"{side}: " + ", ".join(f"{name} {n}" for name, n in counts.items()) + " clips"
              for side, counts in document["clips"].items() if side != TEST]  # fmt: skip
    lines.append(
        f"videos: {len(report.done)} cut, {len(report.reused)} reused, {len(report.removed)} removed, "
        f"{len(report.failed)} failed; boxes: {len(report.boxes_found)} found, {len(report.boxes_kept)} kept"
    )
    if report.without_animal:
        lines.append(f"{report.without_animal} clips left out: no animal was seen in them")
    if document["stored"]["psnr_db"] is not None:
        lines.append(
            f"stored at {document['stored']['psnr_db']} dB PSNR, "
            f"{document['stored']['bytes_per_second'] / 1e6:.2f} MB per second of clip"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("dataset"), help="the data set's folder")
    parser.add_argument("--clips", type=Path, default=Path("clips"), help="where the clips go")
    parser.add_argument("--detector", type=Path, help="model folder of the detector, for videos without boxes")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--hard-negatives", type=Path, help="OUTPUT of a driver's run over this data set")
    parser.add_argument("--resplit", action="store_true", help="deal the sides out anew")
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given))


def run(given: argparse.Namespace) -> int:
    knobs = read_knobs(given.config)
    table, report = preprocess(given.dataset, given.clips, given.detector, knobs, given.hard_negatives, given.resplit)
    print(said(report, table))
    if not table.clips:
        print("no clip came of it; see above", file=sys.stderr)
        return FAILED
    return FAILED if report.failed else OK


if __name__ == "__main__":
    sys.exit(main())
