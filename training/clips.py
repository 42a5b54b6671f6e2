"""Training clips on disk: what `training.preprocess` cuts and `training.finetune_mvd` learns from.

    clips/
      clips.csv                        one row per clip; source frames, both ends counted, as the reference has it
      clips.npz                        per frame of every clip: its class, the animal's box, where its picture lies
      <Class>/<stem>_clip_001.avi      motion JPEG: any player shows it; every frame is found without decoding others

A clip is longer than the network's window and wider than the animal's square, so that training draws windows and crops
from it by the same functions as inference does (`mousetal.windows`, `mousetal.geometry`): boxes are in the clip's own
pixels.

    table = read_table(Path("clips"))
    pixels = read_frames(table.clips[0], [0, 2, 4])           # uint8 (3, height, width, 3), RGB
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from mousetal import atomic
from mousetal.errors import RecordError, VideoError
from mousetal.formats.csv import table_text
from mousetal.types import Float32Array, FrameRange, Int64Array, UInt8Array

TABLE_NAME = "clips.csv"
ARRAYS_NAME = "clips.npz"
COLUMNS = (
    "orig_file", "clip_file", "start", "end", "label", "range_length",  # as the reference system's tables
    "behavior", "subject", "session", "split", "fps", "weight", "bout_start", "bout_end",
)  # fmt: skip
UNSCORED = -1  # class of a frame that nobody looked at


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One clip and all that is known about its frames.

    ``video`` is the source's path in the data set; ``frames`` are those of the source that the clip holds, all of them;
    ``behavior`` is the class it was cut for. ``frame_labels`` int8 (n,) indexes the class list, UNSCORED where nobody
    looked; ``boxes_xyxy`` float32 (n, 4) is the animal in the clip's pixels, NaN where unknown. ``weight`` is how often
    the sampler should draw it against others of its class. ``offsets`` and ``sizes`` int64 (n,) are where each frame's
    JPEG lies in ``path``. ``bout`` are the source's frames of the bout that it was cut for, of which a long one is in
    several clips; None for idle.
    """

    path: Path
    video: str
    behavior: str
    frames: FrameRange
    fps: Fraction
    subject: str
    session: str
    split: str
    weight: float
    frame_labels: np.ndarray[Any, np.dtype[np.int8]]
    boxes_xyxy: Float32Array
    offsets: Int64Array
    sizes: Int64Array
    bout: FrameRange | None = None

    def __len__(self) -> int:
        return len(self.frame_labels)


@dataclass(frozen=True, slots=True, eq=False)
class ClipTable:
    """All clips in ``folder``; ``classes`` in the order of the labels, the background first."""

    folder: Path
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]

    def in_split(self, split: str) -> tuple[Clip, ...]:
        return tuple(clip for clip in self.clips if clip.split == split)


def folder_name(behavior: str) -> str:
    """The class's folder, spelt as the reference system does: ``Head/Body TWITCH`` -> ``Head-Body_TWITCH``."""
    name = behavior.replace("/", "-").replace("\\", "-").replace(" ", "_")
    return f"_{name}" if name.startswith(".") else name  # never hidden, never a way out of the folder


def encode(frame_rgb: UInt8Array, quality: int) -> bytes:
    """One frame as a JPEG of this quality (0 to 100), its colour at full resolution (4:4:4)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality,
               cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # fmt: skip
    return cv2.imencode(".jpg", frame_rgb[..., ::-1], options)[1].tobytes()


def decode(picture: bytes) -> UInt8Array | None:
    """What `encode` was given, about: uint8 (height, width, 3), RGB; None when it is damaged."""
    found = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) if picture else None
    return None if found is None else np.asarray(found, np.uint8)[..., ::-1]


def write_frames(
    path: Path, frames: Sequence[UInt8Array], fps: Fraction, quality: int
) -> tuple[Int64Array, Int64Array]:
    """Write RGB frames (height, width, 3) of one size as a motion JPEG; gives offsets and sizes of its pictures."""
    return write_pictures(path, [encode(frame, quality) for frame in frames], frames[0].shape[:2], fps)


def write_pictures(
    path: Path, pictures: Sequence[bytes], shape: tuple[int, ...], fps: Fraction
) -> tuple[Int64Array, Int64Array]:
    """Write JPEGs of one ``shape`` (height, width) as a motion JPEG; gives where each lies, and its size in bytes."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=fps)
        stream.height, stream.width = shape
        stream.pix_fmt = "yuvj444p"
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.stream, packet.time_base = stream, 1 / fps
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            container.mux(packet)
    content = file.getvalue()
    offsets, at = [], 0
    for picture in pictures:
        at = content.index(picture, at)
        offsets.append(at)
        at += len(picture)
    atomic.write_bytes(path, content)
    return np.array(offsets, np.int64), np.array([len(picture) for picture in pictures], np.int64)


def read_frames(clip: Clip, indices: Sequence[int]) -> UInt8Array:
    """Frames of a clip by their place in it: uint8 (len(indices), height, width, 3), RGB. Raises VideoError."""
    decoded: dict[int, UInt8Array] = {}
    try:
        with clip.path.open("rb") as file:
            for index in sorted(set(indices)):
                file.seek(int(clip.offsets[index]))
                picture = decode(file.read(int(clip.sizes[index])))
                if picture is None:
                    raise VideoError(f"{clip.path}: frame {index} is damaged. Run training.preprocess again.")
                decoded[index] = picture
    except OSError as error:
        raise VideoError(f"{clip.path}: cannot be read ({error.strerror}). Run training.preprocess again.") from error
    return np.stack([decoded[index] for index in indices])


def write_table(table: ClipTable, at: Path | None = None) -> None:
    """Write clips.npz and clips.csv into the clips' folder (or ``at``); the csv last, it says that all is there."""
    clips, at = table.clips, at or table.folder

    def joined(name: str, empty: tuple[int, ...], kind: type) -> np.ndarray[Any, Any]:
        return np.concatenate([getattr(clip, name) for clip in clips]) if clips else np.zeros(empty, kind)

    arrays = {
        "lengths": np.array([len(clip) for clip in clips], np.int64),
        "frame_labels": joined("frame_labels", (0,), np.int8),
        "boxes_xyxy": joined("boxes_xyxy", (0, 4), np.float32),
        "offsets": joined("offsets", (0,), np.int64),
        "sizes": joined("sizes", (0,), np.int64),
        "classes": np.array(table.classes),
    }
    rows = [
        [clip.video, clip.path.relative_to(table.folder).as_posix(), *_inclusive(clip.frames),
         table.classes.index(clip.behavior), len(clip.frames), clip.behavior, clip.subject, clip.session, clip.split,
         str(clip.fps), round(clip.weight, 6), *(_inclusive(clip.bout) if clip.bout else ("", ""))]
        for clip in clips
    ]  # fmt: skip
    atomic.write_arrays(at / ARRAYS_NAME, arrays)
    atomic.write_text(at / TABLE_NAME, table_text(COLUMNS, rows))


def _inclusive(frames: FrameRange) -> tuple[int, int]:
    return frames.start_frame, frames.end_frame - 1


def read_table(folder: Path, at: Path | None = None) -> ClipTable:
    """The clips in ``folder`` (by the table in ``at``); raises RecordError when the table does not fit its arrays."""
    path = (at or folder) / TABLE_NAME
    if not path.exists():
        raise RecordError(f"{path}: there is no such table. training.preprocess --clips {folder} makes the clips.")
    arrays = atomic.read_arrays((at or folder) / ARRAYS_NAME)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        ends = np.cumsum(arrays["lengths"])
        if len(ends) != len(rows):
            raise ValueError(f"{len(rows)} rows, but arrays for {len(ends)} clips")
        clips = [
            _clip(folder, row, arrays, slice(int(end - length), int(end)))
            for row, end, length in zip(rows, ends, arrays["lengths"], strict=True)
        ]
        return ClipTable(folder, tuple(arrays["classes"].tolist()), tuple(clips))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: expected a table of clips ({error}). Run training.preprocess again.") from error


def _clip(folder: Path, row: dict[str, str], arrays: dict[str, np.ndarray[Any, Any]], part: slice) -> Clip:
    return Clip(
        path=folder / row["clip_file"],
        video=row["orig_file"],
        behavior=row["behavior"],
        frames=FrameRange(int(row["start"]), int(row["end"]) + 1),
        fps=Fraction(row["fps"]),
        subject=row["subject"],
        session=row["session"],
        split=row["split"],
        weight=float(row["weight"]),
        frame_labels=arrays["frame_labels"][part],
        boxes_xyxy=arrays["boxes_xyxy"][part],
        offsets=arrays["offsets"][part],
        sizes=arrays["sizes"][part],
        bout=FrameRange(int(row["bout_start"]), int(row["bout_end"]) + 1) if row.get("bout_start") else None,
    )
