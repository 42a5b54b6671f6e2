"""Real pictures with a box around the animal, from COCO files whose images are frames of videos.

A folder holds videos and ``boxes_coco.json``, where an image names a video (``file_name``) and a frame in it
(``frame_index``). Frames of one recording are near copies of each other, so the split is by session where
``clips.json`` tells sessions, and by time (the last third is held out) where there is one long video.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mousetal import video
from mousetal.geometry import resize_for_detector
from mousetal.types import UInt8Array
from training.boxaugment import to_shares
from training.samples import Images

HELD_OUT_SHARE = 3  # every third session, or the last third of a video


@dataclass(frozen=True, eq=False)
class BoxedFrame:
    """One real frame: ``rgb`` uint8 (height, width, 3), the box in its pixels, and whether it is held out."""

    rgb: UInt8Array
    box_xyxy: np.ndarray
    is_held_out: bool


def read_folder(folder: Path) -> Iterator[BoxedFrame]:
    """All boxed frames of one folder, in order of file and frame."""
    coco = json.loads((folder / "boxes_coco.json").read_text())
    box_of = {a["image_id"]: np.array(a["bbox"], float) for a in coco["annotations"]}
    wanted: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for image in coco["images"]:
        x, y, width, height = box_of[image["id"]]
        wanted[image["file_name"]][image["frame_index"]] = np.array([x, y, x + width, y + height])
    held_out = _held_out_sessions(folder)
    for name, boxes in sorted(wanted.items()):
        late = sorted(boxes)[len(boxes) - len(boxes) // HELD_OUT_SHARE]
        for frame in video.decode(video.probe(folder / name)):
            if frame.index in boxes:
                is_held_out = name in held_out if held_out else frame.index >= late
                yield BoxedFrame(frame.rgb, boxes[frame.index], is_held_out)


def _held_out_sessions(folder: Path) -> set[str]:
    """Names of the video files of every third session; empty when the folder does not tell sessions."""
    listing = folder / "clips.json"
    if not listing.exists():
        return set()
    clips = json.loads(listing.read_text())
    sessions = sorted({clip["session"] for clip in clips})
    held_out = set(sessions[::HELD_OUT_SHARE])
    return {clip["file"] for clip in clips if clip["session"] in held_out}


def load_real(folder: Path, input_size: int, is_held_out: bool, variants: int = 4, seed: int = 0) -> Images:
    """Frames of one side of the split at the detector's input size.

    For training each comes ``variants`` times: whole, and as random parts that hold the animal. Held out: whole, once.
    """
    rng = np.random.default_rng(seed)
    images, boxes = [], []
    for frame in read_folder(folder):
        if frame.is_held_out != is_held_out:
            continue
        for variant in range(1 if is_held_out else variants):
            rgb, box = (frame.rgb, frame.box_xyxy) if variant == 0 else _random_part(frame, rng)
            images.append(resize_for_detector(np.ascontiguousarray(rgb), input_size))
            boxes.append(to_shares(box, rgb.shape[1], rgb.shape[0]))
    return Images(np.stack(images), np.stack(boxes))


def _random_part(frame: BoxedFrame, rng: np.random.Generator) -> tuple[UInt8Array, np.ndarray]:
    height, width = frame.rgb.shape[:2]
    box = np.clip(frame.box_xyxy, 0, [width, height, width, height])
    keep = rng.uniform(0, 1, 4)
    x1, y1 = (keep[:2] * box[:2]).astype(int)
    x2, y2 = np.ceil(box[2:] + keep[2:] * (np.array([width, height]) - box[2:])).astype(int)
    return frame.rgb[y1:y2, x1:x2], box - [x1, y1, x1, y1]
