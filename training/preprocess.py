"""From a labelled data set to training clips: boxes, split, clips. Only what is new or changed is done again.

    python -m training.preprocess --dataset dataset --clips clips --detector models/my-detector --config preprocess.toml

1. Boxes, once per video, stored in the data set: by the detector, unless there are some (from `training.autolabel`, a
   person, or an earlier run). A second pass over a video cuts its clips, because a clip's square needs all its boxes.
2. The split into train, validation and test, by animal, written to the manifest; videos that have a side keep it.
   With ``--split-only`` it is made first, so that a detector that is trained next does not see animals of the test.
   Videos that hold the same recording (`training.recordings`), though cut or encoded anew, come on one side together.
3. Clips of train and validation videos: every bout, idle time, and hard idle (`--hard-negatives` takes the places where
   an earlier model was wrong, from the output of a driver's run over the same videos). Test videos stay whole.

The clips' folder is the run's memory: stopped at any moment, it goes on; a video that changed, was labelled anew or
left the data set loses its old clips. ``preprocess.json`` reports what was done, reused and removed, and what leaks.
A second run at once on the same clips or the same data set is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mousetal import atomic, lock, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import MousetalError, RecordError, VideoError
from mousetal.sidebyside import Over, per_core
from training import boxes as boxing
from training import datasetlock, preprocessknobs, preprocessreport, recordings
from training.clipping import Loss, cut_video
from training.cliprecords import Record, key_of, records, slug
from training.clips import TABLE_NAME, Clip, ClipTable, write_table
from training.cutting import frame_labels, plan_cuts
from training.exitcodes import FAILED, OK, guarded
from training.hardnegatives import Earlier
from training.material import Material, gather
from training.preprocessknobs import Knobs
from training.preprocessreport import Report
from training.recordings import Same
from training.splits import TEST, assign, leaks, matters, shared_days


def split(
    dataset: Dataset, materials: Mapping[str, Material], knobs: Knobs, report: Report, is_anew: bool
) -> tuple[Dataset, list[Same]]:
    """Give every video its side and write the manifest; also which videos hold the same recording.

    A video that has a side keeps it, unless all sides are to be dealt out ``anew``.
    """
    if is_anew:
        dataset = replace(dataset, videos=tuple(replace(entry, split="") for entry in dataset.videos))
    same = recordings.find(
        dataset.videos, lambda entry: materials[entry.path].table(entry.num_frames), dataset.video_path, matters
    )
    report.notes += [f"the same recording is in {one}" for one in same]
    seconds = {
        entry.path: [
            sum(len(label.frames) for label in materials[entry.path].labels if label.behavior == behavior)
            / float(entry.fps)
            for behavior in dataset.behaviors
        ]
        for entry in dataset.videos
    }
    made = assign(dataset.videos, seconds, knobs.test_share, knobs.validation_share, knobs.seed, same)
    report.notes += made.notes
    dataset = replace(dataset, videos=tuple(replace(entry, split=made.of[entry.path]) for entry in dataset.videos))
    for side in datasets.SPLITS:
        mine = dataset.in_split(side)
        if not mine:
            report.notes.append(f"no video for {side}")
        for place, behavior in enumerate(dataset.behaviors):
            if mine and not sum(seconds[entry.path][place] for entry in mine):
                report.notes.append(f"{behavior} never happens in {side}")
    report.notes += shared_days(dataset.videos)
    if unscored := [entry.path for entry in dataset.videos if not entry.scored_ranges]:
        report.notes.append(
            f"{len(unscored)} videos give no clips, for nobody has scored them (training.import_videos --unnamed): "
            f"{', '.join(unscored[:3])}{', ...' if len(unscored) > 3 else ''}"
        )
    datasets.write(dataset)
    return dataset, same


@dataclass(frozen=True)
class Cutting:
    """One video's clips, whether they were there already, how many had no animal, and what storing them cost."""

    clips: list[Clip]
    is_reused: bool = False
    without_animal: int = 0
    loss: Loss = field(default_factory=Loss)


def clips_of(
    dataset: Dataset, entry: VideoEntry, material: Material, folder: Path, knobs: Knobs, hard: Earlier | None,
    over: Over,
) -> Cutting:  # fmt: skip
    """One video's clips, as they are or made now. Raises VideoError, RecordError, and StoppedError once ``over``."""
    record = Record.of(folder, entry)
    doubt = hard.key(entry) if hard is not None else ""
    key = key_of(entry, material.labels, material.boxes, dataset.classes, knobs.seed, knobs.cut, knobs.shape, doubt)
    path = dataset.video_path(entry)
    if (known := record.read(key)) is not None:
        if not record.is_of(path):
            _require_content(path, entry)
            record.now_of(path)
        return Cutting(known, is_reused=True, loss=record.loss)
    (folder / TABLE_NAME).unlink(missing_ok=True)  # it must not list clips that are about to change
    record.forget()
    info = video.probe(path)
    _require_content(path, entry)
    boxes = material.table(info.num_frames)
    interest = boxing.movement(boxes)
    if hard is not None and (sure := hard.sureness(entry, info.num_frames)) is not None:
        interest = np.where(sure > 0, 1 + sure, interest / (1 + interest.max(initial=0)))  # doubt first, then movement
    rng = np.random.default_rng([knobs.seed, int(slug(entry)[:8], 16)])
    classes = frame_labels(dataset, entry, material.labels)
    cuts = plan_cuts(dataset, entry, material.labels, classes, interest, knobs.cut, rng)
    record.begin(entry, key)
    loss = Loss()
    clips, without = cut_video(info, entry, cuts, classes, boxes, folder, knobs.shape, loss, over)
    record.finish(dataset.classes, clips, loss, path)
    return Cutting(clips, False, without, loss)


def _require_content(path: Path, entry: VideoEntry) -> None:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise VideoError(f"{entry.path}: the file is another than when it was imported. Import it again.")


def cut_all(
    dataset: Dataset, materials: Mapping[str, Material], folder: Path, knobs: Knobs, hard: Earlier | None,
    report: Report,
) -> list[Clip]:  # fmt: skip
    """The clips of all videos to learn from, made in one video per core at a time, in the data set's order."""
    over = Over()

    def cut(entry: VideoEntry) -> Cutting:
        return clips_of(dataset, entry, materials[entry.path], folder, knobs, hard, over)

    wanted = [entry for entry in dataset.videos if entry.split != TEST and entry.path not in report.failed]
    made: dict[str, list[Clip]] = {}
    with closing(per_core(cut, wanted, over)) as through:
        for entry, cutting in through:
            if isinstance(cutting, MousetalError):
                report.failed[entry.path] = str(cutting)
                continue
            made[entry.path] = cutting.clips
            report.add_loss(cutting.loss)
            report.without_animal += cutting.without_animal
            (report.reused if cutting.is_reused else report.done).append(entry.path)
            if not cutting.is_reused:
                print(f"clips {len(report.done)} {entry.path}: {len(cutting.clips)} clips", file=sys.stderr)
    return [clip for entry in wanted for clip in made.get(entry.path, ())]


def weigh(clips: Sequence[Clip], classes: Sequence[str]) -> list[Clip]:
    """The clips with weights that add up to 1 in every class and split.

    Half of a clip's weight is its share of the class's frames, half its share of the class's events: a bout that is cut
    into several clips is one event, and so is an idle clip. So long bouts do not drown short ones, and one scorer's
    habit of splitting bouts does not count for all either.
    """
    own = [max(1, int((clip.frame_labels == classes.index(clip.behavior)).sum())) for clip in clips]
    frames: Counter[tuple[str, str]] = Counter()
    for clip, count in zip(clips, own, strict=True):
        frames[clip.behavior, clip.split] += count
    events = [(clip.behavior, clip.split, clip.video, clip.bout or clip.frames) for clip in clips]
    pieces = Counter(events)
    mates = Counter((behavior, split) for behavior, split, *_ in pieces)
    return [
        replace(
            clip,
            weight=0.5 * count / frames[clip.behavior, clip.split]
            + 0.5 / mates[clip.behavior, clip.split] / pieces[event],
        )
        for clip, count, event in zip(clips, own, events, strict=True)
    ]


def split_only(root: Path, knobs: Knobs, is_anew: bool = False) -> tuple[Dataset, Report]:
    """The second step alone, before there are boxes: so that no detector learns from animals that are tested on.

    Copies of a recording are found only among videos whose boxes are stored already.
    """
    datasets.read(root)
    report = Report()
    with datasetlock.hold(root):
        dataset, materials = gather(datasets.read(root), None, report, needs_boxes=False)
        dataset, same = split(dataset, materials, knobs, report, is_anew)
    report.leaks = leaks(dataset.videos, same)
    return dataset, report


def preprocess(
    root: Path,
    folder: Path,
    detector_dir: Path | None,
    knobs: Knobs,
    hard: Path | None = None,
    is_anew: bool = False,
    device: str = "auto",
) -> tuple[ClipTable, Report]:
    """All three steps; returns what was written. A video that fails is left out and stands in the report.

    Raises OutputError while another process works on the same clips or writes in the same data set.
    """
    datasets.read(root)  # what is no data set is not locked, for that would make the folder
    held = lock.hold(folder, "another training.preprocess", "choose another --clips")
    with held, datasetlock.hold(root):
        return _preprocess(root, folder, detector_dir, knobs, hard, is_anew, device)


def _preprocess(
    root: Path, folder: Path, detector_dir: Path | None, knobs: Knobs, hard: Path | None, is_anew: bool, device: str
) -> tuple[ClipTable, Report]:
    report = Report()
    dataset = datasets.read(root)
    if not dataset.videos:
        raise RecordError(f"{root}: the data set holds no videos. Import some first.")
    earlier = Earlier.read(hard) if hard is not None else None
    if earlier is not None:
        matched = sum(earlier.name_of(entry) is not None for entry in dataset.videos)
        report.notes.append(f"hard negatives: {hard} has results of {matched} of {len(dataset.videos)} videos")
    dataset, materials = gather(dataset, detector_dir, report, device=device)
    dataset, same = split(dataset, materials, knobs, report, is_anew)
    clips = cut_all(dataset, materials, folder, knobs, earlier, report)
    report.removed += sweep(folder, dataset, {clip.video for clip in clips})
    table = ClipTable(folder, dataset.classes, tuple(weigh(clips, dataset.classes)))
    report.leaks = leaks(dataset.videos, same)
    for label, behavior in enumerate(dataset.classes):
        if not any((clip.frame_labels == label).any() for clip in clips if clip.split == "train"):
            report.notes.append(f"no clip for training holds {behavior}")
    write_table(table)
    atomic.write_json(folder / preprocessreport.NAME, preprocessreport.document(report, table))
    return table, report


def sweep(folder: Path, dataset: Dataset, kept: set[str]) -> list[str]:
    """Remove the clips of videos that give none any more; their names."""
    sides = {entry.path: entry.split for entry in dataset.videos}
    removed = []
    for record in records(folder):
        name = record.video
        if sides.get(name, TEST) == TEST or (name not in kept and not record.has_clips):
            record.forget()
            removed.append(name)
    return removed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("dataset"), help="the data set's folder")
    parser.add_argument("--clips", type=Path, default=Path("clips"), help="where the clips go")
    parser.add_argument("--detector", type=Path, help="model folder of the detector, for videos without boxes")
    parser.add_argument("--device", default="auto", help="the detector's: auto (a GPU if there is one), cpu, cuda, ...")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--hard-negatives", type=Path, help="OUTPUT of a driver's run over the same videos")
    parser.add_argument("--split-only", action="store_true", help="write the split into the manifest, and stop")
    parser.add_argument("--resplit", action="store_true", help="deal the sides out anew")
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given))


def run(given: argparse.Namespace) -> int:
    knobs = preprocessknobs.read(given.config)
    if given.split_only:
        dataset, report = split_only(given.dataset, knobs, given.resplit)
        print("\n".join(preprocessreport.said_of_split(report, dataset)))
        return _code(report)
    table, report = preprocess(
        given.dataset, given.clips, given.detector, knobs, given.hard_negatives, given.resplit, given.device
    )
    print(preprocessreport.said(report, table))
    if not table.clips:
        print("no clip came of it; see above", file=sys.stderr)
        return FAILED
    return _code(report)


def _code(report: Report) -> int:
    """The exit code; a leak is a failure, for whatever is measured after it looks better than it is."""
    if report.leaks:
        print(f"{len(report.leaks)} leaks between train, validation and test: see LEAK above. The same command with "
              "--resplit deals the sides out anew; train again what has learned from the old ones, the detector, too.",
              file=sys.stderr)  # fmt: skip
    return FAILED if report.failed or report.leaks else OK


if __name__ == "__main__":
    sys.exit(main())
