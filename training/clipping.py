"""One video's clips onto the disk, in one pass over its frames.

Each clip is a square part of the picture that holds the animal through all of it, and enough around for training to
shift and enlarge the network's own square. What lies outside the picture repeats its edge, as in `geometry.crop_clip`.
A frame is cut and compressed as it comes, so that no clip is ever held as pixels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from mousetal import video
from mousetal.dataset import VideoEntry
from mousetal.geometry import crop_clip, square, union
from mousetal.sidebyside import Over
from mousetal.types import BoxInt, Float64Array, FrameRange, VideoInfo
from training.clips import UNSCORED, Clip, decode, encode, folder_name, write_pictures
from training.cutting import Cut

MEASURED_EVERY = 40  # frames: how often the loss of the compression is measured


@dataclass(frozen=True, slots=True)
class Shape:
    """How large clips are. ``margin`` is kept around the animal's way, in shares of its square's side, on each edge.

    A clip is made smaller when the animal's own square would still be ``oversize`` times the network's ``input_size``,
    and never exceeds ``max_side`` pixels. ``quality`` is JPEG's.
    """

    input_size: int = 224
    oversize: float = 1.3
    margin: float = 0.2
    max_side: int = 640
    quality: int = 92


@dataclass
class Loss:
    """What storing clips costs: errors of single frames, and bytes."""

    psnr: list[float] = field(default_factory=list)
    bytes: int = 0
    seconds: float = 0.0


@dataclass
class _Open:
    """A clip in the making."""

    cut: Cut
    crop: BoxInt
    size: int
    pictures: list[bytes] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)


def prefix_of(entry: VideoEntry) -> str:
    """What the names of a video's clips begin with: by its path, for one file may be in a data set twice."""
    return hashlib.sha256(entry.path.encode("utf-8", "backslashreplace")).hexdigest()[:8] + "_"


def cut_video(
    info: VideoInfo,
    entry: VideoEntry,
    cuts: Sequence[Cut],
    labels: npt.NDArray[np.int8],
    boxes: Float64Array,
    folder: Path,
    shape: Shape,
    loss: Loss,
    over: Over | None = None,
) -> tuple[list[Clip], int]:
    """Write all clips of one video; gives them, and how many were left out because the animal was nowhere in them.

    ``labels`` (num_frames,) and ``boxes`` (num_frames, 4) speak of the source's frames. Frames that can't be decoded
    repeat the one before and are not scored. Raises VideoError, and StoppedError once ``over``.
    """
    over = over or Over()
    planned = [made for cut in cuts if (made := _opened(cut, boxes, shape)) is not None]
    waiting = sorted(planned, key=lambda one: one.cut.frames.start_frame)
    clips: list[Clip] = []
    running: list[_Open] = []
    if waiting:
        for frame in over.until(video.decode(info, waiting[0].cut.frames.start_frame)):
            while waiting and waiting[0].cut.frames.start_frame <= frame.index:
                running.append(waiting.pop(0))
            done = [one for one in running if one.cut.frames.end_frame <= frame.index]
            clips += [
                _close(one, info, entry, labels, boxes, folder, shape, len(clips) + i, loss)
                for i, one in enumerate(done)
            ]
            running = [one for one in running if one.cut.frames.end_frame > frame.index]
            for one in running:
                _add(one, frame.index, frame.rgb, shape, loss)
            if not waiting and not running:
                break
    late = [one for one in running if one.pictures]
    clips += [
        _close(one, info, entry, labels, boxes, folder, shape, len(clips) + i, loss) for i, one in enumerate(late)
    ]
    return clips, len(cuts) - len(planned)


def _opened(cut: Cut, boxes: Float64Array, shape: Shape) -> _Open | None:
    inside = boxes[cut.frames.start_frame : cut.frames.end_frame]
    known = inside[np.isfinite(inside).all(axis=1)]
    if len(known) == 0:
        return None
    crop = square(union(known), shape.margin)
    side = crop[2] - crop[0]
    animal = float(np.median(np.maximum(known[:, 2] - known[:, 0], known[:, 3] - known[:, 1])))
    useful = math.ceil(side * shape.oversize * shape.input_size / max(1.0, animal))
    size = max(16, min(side, shape.max_side, useful))
    return _Open(cut, crop, size)


def _add(one: _Open, index: int, rgb: np.ndarray, shape: Shape, loss: Loss) -> None:
    (picture,) = crop_clip([rgb], one.crop, one.size)
    coded = encode(picture, shape.quality)
    if len(one.pictures) % MEASURED_EVERY == 0:
        again = decode(coded)
        assert again is not None  # just made
        error = float(np.square(again.astype(np.float32) - picture).mean())
        loss.psnr.append(10 * math.log10(255**2 / max(error, 1e-6)))
    one.pictures.append(coded)
    one.frames.append(index)


def _close(one: _Open, info: VideoInfo, entry: VideoEntry, labels: npt.NDArray[np.int8], boxes: Float64Array,
           folder: Path, shape: Shape, number: int, loss: Loss) -> Clip:  # fmt: skip
    first, last = one.cut.frames.start_frame, min(one.cut.frames.end_frame, info.num_frames)
    there = dict(zip(one.frames, one.pictures, strict=True))
    pictures, classes, held = [], labels[first:last].copy(), one.pictures[0]
    for place, index in enumerate(range(first, last)):
        if index in there:
            held = there[index]
        else:
            classes[place] = UNSCORED
        pictures.append(held)
    scale = one.size / (one.crop[2] - one.crop[0])
    inside = (boxes[first:last] - [one.crop[0], one.crop[1]] * 2) * scale
    name = f"{prefix_of(entry)}{PurePosixPath(entry.path).stem}_clip_{number + 1:03}.avi"
    path = folder / folder_name(one.cut.behavior) / name
    offsets, sizes = write_pictures(path, pictures, (one.size, one.size), info.fps)
    loss.bytes += int(sizes.sum())
    loss.seconds += len(pictures) / float(info.fps)
    return Clip(
        path=path,
        video=entry.path,
        behavior=one.cut.behavior,
        frames=FrameRange(first, last),
        fps=info.fps,
        subject=entry.subject,
        session=entry.session,
        split=entry.split,
        weight=1.0,
        frame_labels=classes,
        boxes_xyxy=inside.astype(np.float32),
        offsets=offsets,
        sizes=sizes,
        bout=one.cut.bout,
    )
