"""Boxes around the animal without a labeller: from what moves, or from a detector that exists already.

    python -m training.autolabel --dataset dataset --out work/boxes
    python -m training.autolabel --videos recordings --out work/boxes --detector models/demo-detector

One fixed camera and one animal per video are assumed. Writes a COCO folder that `training.train_detector --data` reads
(videos are named, not copied) and ``contact_sheet.jpg``, for many videos ``contact_sheet-2.jpg`` and so on, too: look
at them. Frames where the box is in doubt (red there) are left out. With ``--store`` the track goes into the data set as
well, as its boxes. Both files are written at the end: a run that is stopped leaves none, and begins anew.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

import mousetal.detector
from mousetal import dataset as datasets
from mousetal import track, video
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import MousetalError, RecordError, SettingsError, VideoError
from mousetal.geometry import resize_for_detector
from mousetal.sidebyside import Over, per_core
from mousetal.streams import batched
from mousetal.types import Detections, DetectorBatch, Frame, FrameBox, UInt8Array, VideoInfo
from training import boxes as boxing
from training import coco, contactsheet, datasetlock, exitcodes
from training.boxdoubts import doubts
from training.silhouette import Arena, small_grey

LOOKS_PER_SECOND = 5.0  # frames on which the animal is looked for
ARENA_FRAMES = 60  # of all parts of the video, from which the empty arena is made
FOLLOW_GAP_S = 0.5  # seconds over which a track is carried on without a box
LEAST_FIT = 0.3  # of a blob's area with the animal's
HELD_LOOKS = 300  # frames of which small grey pictures are kept, at most 70 MB
SEEK_ABOVE = 1000  # frames between two that are wanted, above which seeking is quicker than reading on
TILES = 12  # of a video on the contact sheet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """A video to label: its file, what its frames are grouped by, its data set entry if it has one."""

    path: Path
    subject: str = ""
    session: str = ""
    split: str = ""
    entry: VideoEntry | None = None

    @property
    def name(self) -> str:
        """What a user knows it by: its path in the data set, or file and folder, since many are called day-1.mp4."""
        return self.entry.path if self.entry else "/".join(self.path.parts[-2:])


@dataclass(frozen=True)
class Boxed:
    """What was found in one video: a box per looked-at frame on which the animal is known, and what is odd about it.

    ``kept`` are the places in ``boxes`` of the frames that go into the COCO file.
    """

    info: VideoInfo
    boxes: tuple[FrameBox, ...]
    doubts: tuple[str, ...]
    looked_at: int
    kept: tuple[int, ...] = ()
    tiles: tuple[UInt8Array, ...] = field(default=(), repr=False)


def by_silhouette(info: VideoInfo, numbers: Sequence[int], over: Over) -> Iterator[Detections]:
    """The animal on the frames ``numbers`` as the blob that differs from the empty arena.

    A short video is decoded once for this, a long one twice. Raises VideoError when there is no animal to be told from
    the arena, as where it hardly moves or several things do, and StoppedError once ``over``.
    """
    spread = [numbers[i] for i in np.linspace(0, len(numbers) - 1, min(ARENA_FRAMES, len(numbers))).astype(int)]
    is_short = len(numbers) <= HELD_LOOKS
    greys = {frame.index: small_grey(frame.rgb) for frame in frames_at(info, numbers if is_short else spread, over)}
    arena = Arena.of([greys[number] for number in spread if number in greys])
    if not arena.has_animal:
        raise VideoError(
            f"{info.path}: no single moving animal can be told from the arena (contrast {arena.contrast:.0f} of 255, "
            f"{arena.oneness:.0%} of what differs is one patch). Use --detector, or boxes drawn by hand."
        )
    log.info("arena video=%s animal=%s contrast=%.0f", called(info.path), "darker" if arena.sign < 0 else "lighter",
             arena.contrast)  # fmt: skip
    scale = max(info.width, info.height) / max(arena.background.shape)
    looks = greys.items() if is_short else ((one.index, small_grey(one.rgb)) for one in frames_at(info, numbers, over))
    for index, grey in looks:
        blobs = arena.blobs(grey)
        boxes = np.array([blob.box_xyxy for blob in blobs], np.float32).reshape(-1, 4) * scale
        fits = np.array([blob.fit for blob in blobs], np.float32)
        yield Detections(index, boxes, fits, np.zeros(len(blobs), np.int64))


def by_detector(info: VideoInfo, numbers: Sequence[int], detector: boxing.Finder, over: Over) -> Iterator[Detections]:
    """What the detector finds on the frames ``numbers``. Raises StoppedError once ``over``."""
    for some in batched(frames_at(info, numbers, over), 8):
        images = np.stack([resize_for_detector(frame.rgb, detector.spec.input_size) for frame in some])
        sizes = tuple((frame.width, frame.height) for frame in some)
        yield from detector.predict(DetectorBatch(tuple(frame.index for frame in some), sizes, images))


def frames_at(info: VideoInfo, numbers: Sequence[int], over: Over) -> Iterator[Frame]:
    """The frames ``numbers`` (increasing), less those that cannot be decoded; far apart ones are sought.

    Raises StoppedError once ``over``.
    """
    if not numbers:
        return
    if len(numbers) < 2 or (numbers[-1] - numbers[0]) / (len(numbers) - 1) <= SEEK_ABOVE:
        wanted = set(numbers)
        for frame in over.until(video.decode(info, numbers[0], np.array(numbers))):
            if frame.index in wanted:
                yield frame
            if frame.index >= numbers[-1]:
                break
        return
    for number in over.until(numbers):
        for frame in video.decode(info, number, np.array([number])):
            if frame.index == number:
                yield frame
            break


def label(path: Path, detector: boxing.Finder | None, every_s: float, most: int, over: Over | None = None) -> Boxed:
    """The animal's track through a video, its doubtful places, and at most ``most`` good frames ``every_s`` apart.

    Raises VideoError, and StoppedError once ``over``.
    """
    over = over or Over()
    info = video.probe(path)
    step = max(1, round(float(info.fps) / LOOKS_PER_SECOND))
    numbers = list(range(0, info.num_frames, step))
    found = by_detector(info, numbers, detector, over) if detector else by_silhouette(info, numbers, over)
    threshold = detector.spec.score_threshold if detector else LEAST_FIT
    followed = track.follow(found, info.pts_seconds, FOLLOW_GAP_S, threshold)
    boxes = tuple(_inside(sighting.box, info) for sighting in followed if sighting.box is not None)
    odd = doubts(boxes, info.pts_seconds)
    kept = _spread(boxes, odd, info, every_s, most)
    if not kept:
        raise VideoError(f"{path}: of {len(numbers)} frames looked at none has a box beyond doubt.")
    return Boxed(info, boxes, odd, len(numbers), kept, tuple(_tiles(info, boxes, odd, kept, over)))


def _inside(box: FrameBox, info: VideoInfo) -> FrameBox:
    x1, y1, x2, y2 = np.clip(box.box_xyxy, 0, [info.width, info.height, info.width, info.height]).tolist()
    return FrameBox(box.frame_index, (x1, y1, x2, y2), box.score, box.source)


def _spread(boxes: Sequence[FrameBox], odd: Sequence[str], info: VideoInfo, every_s: float, most: int,
            ) -> tuple[int, ...]:  # fmt: skip
    kept: list[int] = []
    last = -np.inf
    for place, (box, doubt) in enumerate(zip(boxes, odd, strict=True)):
        now = float(info.pts_seconds[box.frame_index])
        if not doubt and now - last >= every_s - 1e-6:
            kept.append(place)
            last = now
    if len(kept) > most:
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, most).astype(int)]
    return tuple(kept)


def _tiles(info: VideoInfo, boxes: Sequence[FrameBox], odd: Sequence[str], kept: Sequence[int], over: Over,
           ) -> Iterator[UInt8Array]:  # fmt: skip
    """Kept frames and doubtful ones, three to one where there are enough, in order."""
    doubtful = [place for place, doubt in enumerate(odd) if doubt and doubt != "not seen"]
    shown = sorted({*_some(kept, TILES - min(TILES // 4, len(doubtful))), *_some(doubtful, TILES // 4)})
    by_frame = {boxes[place].frame_index: place for place in shown}
    for frame in frames_at(info, sorted(by_frame), over):
        place = by_frame[frame.index]
        caption = f"{called(info.path)[-22:]} {frame.index}"
        yield contactsheet.tile(frame.rgb, boxes[place].box_xyxy, odd[place], caption)


def called(path: Path) -> str:
    """A video's file and folder without what all have in common: ``mouse-01/video/day-1.mp4`` -> ``mouse-01/day-1``."""
    return "/".join([part for part in path.with_suffix("").parts if part != "video"][-2:])


def _some(places: Sequence[int], count: int) -> list[int]:
    return [places[i] for i in np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)]


# --- which videos, and what is written


def recordings_of(dataset: Dataset) -> list[Recording]:
    """The videos of a data set, with what it knows of them."""
    return [
        Recording(dataset.video_path(entry), entry.subject, entry.session, entry.split, entry)
        for entry in dataset.videos
    ]


def recordings_in(folder: Path) -> list[Recording]:
    """The videos below a folder; raises RecordError when there is none."""
    found = [Recording(path) for path in sorted(folder.rglob("*")) if path.is_file() and video.is_video(path)]
    if not found:
        raise RecordError(f"{folder}: a folder with videos expected, found none.")
    return found


def with_splits(recordings: Sequence[Recording], share: float, seed: int) -> list[Recording]:
    """The same, each with a split: the data set's where it has one, else by subject (else session, else video)."""
    groups = [one.subject or one.session or str(one.path) for one in recordings]
    held_out = coco.chosen_groups([g for g, one in zip(groups, recordings, strict=True) if not one.split], share, seed)
    return [
        one if one.split else replace(one, split="validation" if group in held_out else "train")
        for group, one in zip(groups, recordings, strict=True)
    ]


def write_coco(out: Path, found: Sequence[tuple[Recording, Boxed]], made_by: str) -> None:
    """The kept frames of all videos as a COCO folder; videos are named by their way from there."""
    images, boxes = [], []
    for one, boxed in found:
        about = {key: value for key, value in (("subject", one.subject), ("session", one.session)) if value}
        name = Path(os.path.relpath(one.path.absolute(), out.absolute())).as_posix()
        for place in boxed.kept:
            box = boxed.boxes[place]
            images.append(
                {"file_name": name, "frame_index": box.frame_index, "width": boxed.info.width,
                 "height": boxed.info.height, "split": one.split, **about}
            )  # fmt: skip
            boxes.append(box.box_xyxy)
    description = f"Boxes by {made_by}, not by hand. image = (file_name, frame_index), frame_index from 0."
    coco.write(out, images, boxes, (datasets.ANIMAL,), {"description": description})


def told_of(one: Recording, boxed: Boxed) -> str:
    """A line for the user: how much of a video is labelled, and what was in doubt."""
    odd = Counter(doubt for doubt in boxed.doubts if doubt)
    return (
        f"{one.name}: animal on {len(boxed.boxes)} of {boxed.looked_at} frames looked at, "
        f"kept {len(boxed.kept)} ({one.split}); "
        f"in doubt: {', '.join(f'{count} {what}' for what, count in odd.most_common()) or 'none'}"
    )


def store(dataset: Dataset, entry: VideoEntry, boxed: Boxed, made_by: str) -> Dataset:
    """Store a track as a video's boxes, and in the manifest by what it was found; boxes that people drew stay."""
    is_drawn = not entry.boxes_by and not dataset.boxes_path(entry).exists()
    if is_drawn and datasets.read_stored_boxes(dataset, entry):
        print(f"{entry.path}: people have drawn boxes, which stay; nothing is stored")
        return dataset
    datasets.write_stored_boxes(dataset, entry, boxed.boxes, boxed.info.pts_seconds.tolist())
    dataset = dataset.with_entry(replace(entry, boxes_by=f"{boxing.BY_AUTOLABEL}: {made_by}"))
    datasets.write(dataset)
    return dataset


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", type=Path, help="a data set made by training.import_videos")
    source.add_argument("--videos", type=Path, help="a folder of videos")
    parser.add_argument("--out", type=Path, required=True, help="folder for boxes_coco.json and contact_sheet.jpg")
    parser.add_argument("--detector", type=Path, help="model folder to find the animal with, instead of by movement")
    parser.add_argument("--device", default="auto", help="the detector's: auto (a GPU if there is one), cpu, cuda, ...")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two frames kept (default 1)")
    parser.add_argument("--most", type=int, default=200, help="frames kept of one video at most (default 200)")
    parser.add_argument("--validation-share", type=float, default=0.2, help="of the animals, where no split is set")
    parser.add_argument("--seed", type=int, default=0, help="of that split")
    parser.add_argument("--store", action="store_true", help="store the tracks in the data set as its boxes")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads for torch (default: as torch likes)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return exitcodes.guarded(lambda: _main(arguments), stopped="Nothing is written to --out; a new start begins anew.")


def _main(arguments: argparse.Namespace) -> int:
    if arguments.store and not arguments.dataset:
        raise SettingsError("--store needs --dataset: there is no data set to store boxes in.")
    if arguments.every <= 0 or arguments.most < 1:
        raise SettingsError("--every above 0 and --most of at least 1 expected.")
    detector = (
        mousetal.detector.load(arguments.detector, arguments.device, backend="auto") if arguments.detector else None
    )
    if detector is not None:
        print(f"the detector is computed on {detector.spec.device}")
    if arguments.store:
        datasets.read(arguments.dataset)  # what is no data set is not locked, for that would make the folder
        with datasetlock.hold(arguments.dataset):
            return _label_all(arguments, detector)
    return _label_all(arguments, detector)


def _label_all(arguments: argparse.Namespace, detector: mousetal.detector.Detector | None) -> int:
    dataset = datasets.read(arguments.dataset) if arguments.dataset else None
    recordings = recordings_of(dataset) if dataset else recordings_in(arguments.videos)
    recordings = with_splits(recordings, arguments.validation_share, arguments.seed)
    made_by = f"the detector {detector.spec.name}" if detector else "movement against the empty arena"
    over = Over()
    shared = boxing.Shared(detector, over) if detector else None

    def boxed_at(place: int) -> Boxed:
        return label(recordings[place].path, shared, arguments.every, arguments.most, over)

    labelled: dict[int, Boxed] = {}
    failed: list[str] = []
    with closing(per_core(boxed_at, range(len(recordings)), over)) as through:
        for place, boxed in through:
            one = recordings[place]
            try:
                if isinstance(boxed, MousetalError):
                    raise boxed
                if arguments.store and dataset and one.entry:
                    dataset = store(dataset, one.entry, boxed, made_by)
            except (VideoError, RecordError) as error:
                failed.append(str(error))
                print(f"skipped: {error}")
                continue
            labelled[place] = boxed
            print(told_of(one, boxed))
    found = [(recordings[place], labelled[place]) for place in sorted(labelled)]  # whichever was through first
    if not found:
        raise RecordError(f"none of {len(recordings)} videos could be labelled; nothing is written.")
    write_coco(arguments.out, found, made_by)
    sheets = contactsheet.write(arguments.out, [tile for _, boxed in found for tile in boxed.tiles])
    kept = sum(len(boxed.kept) for _, boxed in found)
    look = "; look at " + " and ".join(path.name for path in sheets) + " before you train on them" if sheets else ""
    print(f"{arguments.out}: {kept} boxes of {len(found)} videos{look}")
    return exitcodes.FAILED if failed else exitcodes.OK


if __name__ == "__main__":
    sys.exit(main())
