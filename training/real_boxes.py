"""Real pictures with a box around the animal, from COCO files whose images are frames of videos.

A folder holds videos and ``boxes_coco.json``, where an image names a video (``file_name``) and a frame in it
(``frame_index``). Frames of one recording are near copies of each other, so the split is by session where
``clips.json`` tells sessions, and by time (the last third is held out) where there is one long video.

    python -m training.real_boxes rat_action_clips openfield_m3v1 --out work/real

writes the same boxes as one COCO folder for `training.train_detector --data`, what is held out marked "test".
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mousetal import video
from mousetal.geometry import resize_for_detector
from mousetal.types import UInt8Array
from training import coco, exitcodes
from training.boxaugment import to_shares
from training.pictures import Images

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2
HELD_OUT_SHARE = 3  # every third session, or the last third of a video


@dataclass(frozen=True, eq=False)
class BoxedFrame:
    """One real frame: ``rgb`` uint8 (height, width, 3), the box in its pixels, and whether it is held out."""

    rgb: UInt8Array
    box_xyxy: np.ndarray
    is_held_out: bool


def read_folder(folder: Path) -> Iterator[BoxedFrame]:
    """All boxed frames of one folder, in order of file and frame."""
    for name, (boxes, held_out) in _listed(folder).items():
        for frame in video.decode(video.probe(folder / name)):
            if frame.index in boxes:
                yield BoxedFrame(frame.rgb, boxes[frame.index], frame.index in held_out)


def write_split(folders: Sequence[Path], out: Path) -> int:
    """The boxes of ``folders`` as one COCO folder with the split; videos are named, not copied. How many there are."""
    images, boxes = [], []
    for folder in folders:
        for name, (box_of, held_out) in _listed(folder).items():
            path = folder / name
            info = video.probe(path)
            for index, box in sorted(box_of.items()):
                images.append(
                    {"file_name": os.path.relpath(path, out), "frame_index": index, "width": info.width,
                     "height": info.height, "split": "test" if index in held_out else "train", "video": str(path)}
                )  # fmt: skip
                boxes.append(box.tolist())
    coco.write(out, images, boxes, ("mouse",), {"description": "boxes of real frames, with the split"})
    return len(boxes)


def boxes_by_file(path: Path) -> dict[str, dict[int, Corners]]:
    """The boxes of a COCO file in which every image is a frame of a video and has one box: by video and by frame.

    Raises OSError, KeyError, TypeError or ValueError for another file.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    box_of = {one["image_id"]: one["bbox"] for one in document["annotations"]}
    found: dict[str, dict[int, Corners]] = defaultdict(dict)
    for image in document["images"]:
        x, y, width, height = box_of[image["id"]]
        found[image["file_name"]][image["frame_index"]] = (x, y, x + width, y + height)
    return dict(found)


def _listed(folder: Path) -> dict[str, tuple[dict[int, np.ndarray], set[int]]]:
    """Per video, in order of name: the boxes (x1, y1, x2, y2) by frame, and the frames that are held out."""
    wanted = {
        name: {frame: np.array(corners, float) for frame, corners in boxes.items()}
        for name, boxes in boxes_by_file(folder / coco.BOXES_NAME).items()
    }
    sessions = _held_out_sessions(folder)
    listed = {}
    for name, boxes in sorted(wanted.items()):
        late = sorted(boxes)[len(boxes) - len(boxes) // HELD_OUT_SHARE]
        listed[name] = boxes, {i for i in boxes if (name in sessions if sessions else i >= late)}
    return listed


def _held_out_sessions(folder: Path) -> set[str]:
    """Names of the video files of every third session; empty when the folder does not tell sessions."""
    listing = folder / "clips.json"
    if not listing.exists():
        return set()
    clips = json.loads(listing.read_text())
    sessions = sorted({clip["session"] for clip in clips})
    held_out = set(sessions[::HELD_OUT_SHARE])
    return {clip["file"] for clip in clips if clip["session"] in held_out}


def load_real(folder: Path, input_size: int, is_held_out: bool) -> Images:
    """Frames of one side of the split at the detector's input size."""
    images, boxes = [], []
    for frame in read_folder(folder):
        if frame.is_held_out == is_held_out:
            images.append(resize_for_detector(frame.rgb, input_size))
            boxes.append(to_shares(frame.box_xyxy, frame.rgb.shape[1], frame.rgb.shape[0]))
    return Images(np.stack(images), np.stack(boxes))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help=f"folders of videos and {coco.BOXES_NAME}")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    given = parser.parse_args(arguments)

    def run() -> int:
        print(f"{write_split(given.folders, given.out)} boxed frames in {given.out}")
        return exitcodes.OK

    return exitcodes.guarded(run)


if __name__ == "__main__":
    sys.exit(main())
