"""Puts mouse, arena and performance together: frames with exact truth, and video files of them.

    film = Film(seed=7, seconds=20)
    for number in range(film.num_frames):
        rgb, box_xyxy = film.frame(number)
    write_video(film, Path("videos/demo-1.mp4"))     # and demo-1.truth.json beside it

A film is the same for the same seed and settings. Truth intervals are half-open: frame i, shown at i / fps, belongs to
a bout [start, end) in seconds when start <= i / fps < end.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from mousetal.errors import RecordError
from mousetal.types import UInt8Array
from training.synthetic.arena import CAGES, build_arena
from training.synthetic.motion import SELF_GROOMING, TWITCH, perform
from training.synthetic.mouse import DARK_FURS, FURS, draw_mouse, grow_fur

BEHAVIORS = (SELF_GROOMING, TWITCH)
SIZES = ((480, 360), (640, 480), (416, 416), (640, 360))
FRAME_RATES = (25, 30, 60)
NOISE_SHIFT = 32  # pixels by which the camera's noise, made once, is shifted from frame to frame
MARGIN_CM = 4.0  # the body's centre keeps this far from the walls
SHORTEST_PAUSE = Fraction(1, 2)  # seconds
TRUTH_SUFFIX = ".truth.json"


@dataclass(frozen=True)
class Truth:
    """A true bout: frames ``[start_frame, end_frame)``."""

    behavior: str
    start_frame: int
    end_frame: int


class Film:
    """A video that is rendered on demand, any frame at any time. What is not given is drawn from the seed.

    ``size`` is (width, height) in pixels, ``fps`` whole frames per second, ``cage`` and ``fur`` name entries of CAGES
    and FURS.
    """

    def __init__(self, seed: int, seconds: float = 20.0, *, size: tuple[int, int] | None = None, fps: int | None = None,
                 cage: str | None = None, fur: str | None = None) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        self.seed = seed
        drawn_size, drawn_fps = SIZES[rng.integers(len(SIZES))], int(rng.choice(FRAME_RATES, p=[0.3, 0.5, 0.2]))
        drawn_cage, drawn_fur = str(rng.choice(list(CAGES))), str(rng.choice(list(FURS)))
        self.width, self.height = size or drawn_size
        self.fps = Fraction(fps or drawn_fps)
        self.num_frames = int(seconds * self.fps)
        fur_name = fur or drawn_fur
        self.arena = build_arena(rng, self.width, self.height, cage or drawn_cage, fur_name in DARK_FURS)
        self.fur = grow_fur(rng, fur_name, self.arena.scale)
        self.lamp = float(rng.uniform(-np.pi, np.pi))
        self.is_grey = bool(rng.random() < 0.3)  # an infrared camera
        self.sharpness = float(rng.uniform(0.0, 0.8))  # blur of the lens, pixels
        self.exposure = float(rng.uniform(0.15, 0.5)) / float(self.fps)
        self.flicker = float(rng.uniform(0, 0.012))
        self.brighter, self.darker = self.make_noise(rng, float(rng.uniform(0.5, 4.0)))
        floor_width, floor_height = self.floor_size()
        self.performance = perform(rng, seconds, floor_width, floor_height, CAGES[self.arena.cage][2])

    def floor_size(self) -> tuple[float, float]:
        """Width and height in cm that the body's centre may use."""
        width, height, _ = CAGES[self.arena.cage]
        if (width > height) != (self.width > self.height) and width != height:
            width, height = height, width
        return width - 2 * MARGIN_CM, height - 2 * MARGIN_CM

    @property
    def truth(self) -> tuple[Truth, ...]:
        """The true bouts that begin within the film, in order; a pause under half a second does not end a bout."""
        bouts: list[Truth] = []
        for act in self.acts():
            last = next((bout for bout in reversed(bouts) if bout.behavior == act.behavior), None)
            if last is not None and act.start_frame - last.end_frame < SHORTEST_PAUSE * self.fps:
                bouts.remove(last)
                act = Truth(act.behavior, last.start_frame, act.end_frame)
            bouts.append(act)
        return tuple(bouts)

    def acts(self) -> list[Truth]:
        """What is done on which frames, pauses and all, in order."""
        found = []
        for act in self.performance.acts:
            start, end = (min(self.num_frames, math.ceil(seconds * self.fps)) for seconds in (act.start, act.end))
            if start < end:
                found.append(Truth(act.behavior, start, end))
        return sorted(found, key=lambda act: act.start_frame)

    def labels(self) -> np.ndarray:
        """What is done on each frame, 0 (nothing of note), 1 (self-grooming) or 2 (twitch): int64 (num_frames,)."""
        labels = np.zeros(self.num_frames, np.int64)
        for act in self.acts():
            labels[act.start_frame : act.end_frame] = 1 + BEHAVIORS.index(act.behavior)
        return labels

    def frame(self, number: int) -> tuple[UInt8Array, tuple[float, float, float, float]]:
        """RGB uint8 (height, width, 3) and the box of body and head without tail, in pixels."""
        rng = np.random.default_rng((self.seed, number))
        seconds = number / float(self.fps)
        picture = self.arena.background.copy()
        box = self.draw(picture, seconds)
        exposures = 1 + min(4, int(self.pixels_moved(seconds)))
        for n in range(1, exposures):  # motion blur: the shutter stays open
            later = self.arena.background.copy()
            self.draw(later, seconds + self.exposure * n / exposures)
            picture = np.asarray(cv2.addWeighted(picture, n / (n + 1), later, 1 / (n + 1), 0), np.uint8)
        if self.is_grey:
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
        if self.sharpness > 0.3:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), self.sharpness), np.uint8)
        alpha = 1 + self.flicker * float(rng.standard_normal())
        picture = np.asarray(cv2.convertScaleAbs(picture, alpha=alpha), np.uint8)
        a, b, c, d = rng.integers(NOISE_SHIFT, size=4)
        cv2.add(picture, self.brighter[a:, b:][: self.height, : self.width], dst=picture)
        cv2.subtract(picture, self.darker[c:, d:][: self.height, : self.width], dst=picture)
        return picture, box

    def make_noise(self, rng: np.random.Generator, strength: float) -> tuple[UInt8Array, UInt8Array]:
        """What to add to a frame and what to take away, each a little larger than the frame."""
        shape = (self.height + NOISE_SHIFT, self.width + NOISE_SHIFT)
        noise = rng.normal(0, strength, (*shape, 1 if self.is_grey else 3)).astype(np.float32)
        noise = np.broadcast_to(noise, (*shape, 3))
        return np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)

    def draw(self, picture: UInt8Array, seconds: float) -> tuple[float, float, float, float]:
        pose = self.performance.at(seconds)
        centre = self.arena.to_pixels(pose["x"], pose["y"])
        heading = pose["heading"] + self.arena.rotation
        return draw_mouse(picture, pose, self.fur, self.arena.scale, centre, heading, self.lamp)

    def pixels_moved(self, seconds: float) -> float:
        """About how far the animal's fastest part moves while the shutter is open."""
        a, b = self.performance.at(seconds), self.performance.at(seconds + self.exposure)
        moved = math.hypot(b["x"] - a["x"], b["y"] - a["y"]) + 3 * abs(b["heading"] - a["heading"])
        moved += 2.5 * abs(b["neck"] - a["neck"]) + abs(b["reach"] - a["reach"])
        return moved * self.arena.scale


def write_video(film: Film, path: Path, crf: int = 27) -> None:
    """Encode a film as H.264 in MP4 and write its truth beside it as ``<stem>.truth.json``."""
    boxes = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=film.fps, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(film.num_frames):
            rgb, box = film.frame(number)
            boxes.append([round(v, 1) for v in box])
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    truth = {
        "video": path.name, "seed": film.seed, "fps": str(film.fps), "num_frames": film.num_frames,
        "width": film.width, "height": film.height, "cage": film.arena.cage, "fur": film.fur.name,
        "behaviors": list(BEHAVIORS),
        "bouts": [{"behavior": b.behavior, "start_frame": b.start_frame, "end_frame": b.end_frame} for b in film.truth],
        "boxes_xyxy": boxes,
    }  # fmt: skip
    path.with_suffix(TRUTH_SUFFIX).write_text(json.dumps(truth) + "\n")


def read_truth(path: Path) -> tuple[str, int, tuple[Truth, ...]]:
    """The video's name, its number of frames and its true bouts, from a ``*.truth.json``. Raises RecordError."""
    try:
        document = json.loads(path.read_text())
        bouts = tuple(Truth(b["behavior"], b["start_frame"], b["end_frame"]) for b in document["bouts"])
        return document["video"], document["num_frames"], bouts
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: a truth file of a synthetic film expected ({error!r})") from error
