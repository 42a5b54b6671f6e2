"""Training samples from synthetic films: clips for the classifier, pictures for the detector; cached one file a film.

Clips are cut by the library's own `WindowPlan`, `square` and `crop_clip`, from frames that went through H.264 as a real
video's would have, with boxes as unsteady as a detector's. They are stored a little larger than the network's input, so
that augmentation can shift them, and as JPEG strips: ten thousand fit into memory.

    cache/clips-10000.npz     strips (concatenated JPEGs), ends (where each stops), labels, frame_labels
    cache/images-10000.npz    images uint8 (n, S, S, 3), boxes float32 (n, 4) as cx, cy, w, h in shares of the picture
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from mousetal.geometry import crop_clip, resize_for_detector, square, union
from mousetal.types import ClassifierSpec, UInt8Array
from mousetal.windows import WindowPlan
from training.boxaugment import to_shares
from training.pictures import Picture
from training.synthetic import BEHAVIORS, Film

MARGIN = 8  # pixels kept around a clip on each side, for shifts
SEGMENT_WINDOWS = 7  # neighbouring windows taken from one place of a film
JPEG_QUALITY = 92
TWITCH = 1 + BEHAVIORS.index("Head/Body TWITCH")


@dataclass(frozen=True, eq=False)
class Clips:
    """``strips``: JPEGs of the frames side by side, (S + 2 MARGIN) high. ``labels``: int64 (n,), the windows' classes;
    ``frame_labels``: int8 (n, T), the class of every frame in them."""

    strips: list[bytes]
    labels: np.ndarray
    frame_labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Images:
    """``images`` uint8 (n, S, S, 3); ``boxes`` float32 (n, 4): centre x, centre y, width, height in 0..1."""

    images: UInt8Array
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, number: int) -> Picture:
        """The picture as the detector's training takes it: its one box, of the only class, in pixels."""
        height, width = self.images.shape[1:3]
        cx, cy, w, h = self.boxes[number] * np.array([width, height, width, height], np.float32)
        box = np.array([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]], np.float32)
        return Picture(self.images[number], box, np.zeros(1, np.int64))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.images.tobytes() + self.boxes.tobytes()).hexdigest()[:16]


def load_clips(seeds: Iterable[int], spec: ClassifierSpec, cache: Path, turns: Iterable[int] = ()) -> Clips:
    """The clips of the films with these seeds, and the quick turns of the films with the seeds ``turns``.

    Films not in the cache yet are rendered first.
    """
    stored = [_cached(cache / f"clips-{seed}.npz", lambda s=seed: _pack(film_clips(Film(s), spec))) for seed in seeds]
    stored += [_cached(cache / f"turns-{seed}.npz", lambda s=seed: _pack(film_turns(Film(s), spec))) for seed in turns]
    strips: list[bytes] = []
    for arrays in stored:
        content, ends = arrays["strips"].tobytes(), arrays["ends"].tolist()
        strips += [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    labels, frame_labels = (np.concatenate([arrays[name] for arrays in stored]) for name in ("labels", "frame_labels"))
    return Clips(strips, labels, frame_labels)


def load_images(seeds: Iterable[int], input_size: int, cache: Path) -> Images:
    """Pictures and boxes of the films with these seeds; films not in the cache yet are rendered first."""
    parts = [
        _cached(cache / f"images-{seed}.npz", lambda seed=seed: vars(film_images(Film(seed), input_size)))
        for seed in seeds
    ]
    return Images(np.concatenate([p["images"] for p in parts]), np.concatenate([p["boxes"] for p in parts]))


def _cached(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **make())
        partial.rename(path)
    with np.load(path) as stored:
        return dict(stored)


def _pack(clips: Clips) -> dict[str, np.ndarray]:
    return {
        "strips": np.frombuffer(b"".join(clips.strips), np.uint8),
        "ends": np.cumsum([len(strip) for strip in clips.strips]),
        "labels": clips.labels,
        "frame_labels": clips.frame_labels,
    }


def film_clips(film: Film, spec: ClassifierSpec, per_class: tuple[int, int, int] = (2, 2, 3)) -> Clips:
    """Clips from ``per_class`` places of idle, grooming and twitching; classes as in `window_label`."""
    rng = np.random.default_rng((film.seed, 1))
    windows, labels = _labelled_windows(film, spec)
    clips: list[Clips] = []
    for label, places in enumerate(per_class):
        candidates = np.flatnonzero(labels == label)
        middles = rng.choice(candidates, min(places, len(candidates)), replace=False).tolist()
        clips += [_segment(film, windows, labels, middle, spec, rng) for middle in middles]
    return _joined(clips)


def film_turns(film: Film, spec: ClassifierSpec, places: int = 8) -> Clips:
    """Clips from places where nothing of note happens, but body and head turn fast: what a twitch is taken for."""
    rng = np.random.default_rng((film.seed, 3))
    windows, labels = _labelled_windows(film, spec)
    candidates = np.flatnonzero(labels == 0)
    seconds = np.array([windows[i][spec.num_frames // 2] / float(film.fps) for i in candidates])
    speeds = np.array([film.performance.turning(s) for s in seconds])
    chosen = rng.choice(candidates, min(places, len(candidates)), replace=False, p=speeds / speeds.sum())
    return _joined([_segment(film, windows, labels, int(middle), spec, rng) for middle in chosen])


def _labelled_windows(film: Film, spec: ClassifierSpec) -> tuple[list[tuple[int, ...]], np.ndarray]:
    plan = WindowPlan.for_video(spec, film.fps, reference_compat=False)
    windows = [window.frame_indices for window in plan.windows(film.num_frames)]
    frame_labels = film.labels()
    return windows, np.array([window_label(frame_labels, indices) for indices in windows])


def _joined(parts: list[Clips]) -> Clips:
    strips = [strip for part in parts for strip in part.strips]
    labels, frame_labels = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "frame_labels")
    )
    return Clips(strips, labels, frame_labels)


def window_label(labels: np.ndarray, frame_indices: tuple[int, ...]) -> int:
    """The class of a window: what happens in its middle.

    Frame posteriors weigh the windows around a frame by nearness to their middles, so a window speaks for its middle: a
    twitch, being short, counts within the middle three eighths, grooming at the middle itself.
    """
    n = len(frame_indices)
    if (labels[list(frame_indices[n * 5 // 16 : n - n * 5 // 16])] == TWITCH).any():
        return TWITCH
    return int(labels[frame_indices[n // 2]]) % TWITCH


def _segment(film: Film, windows: list[tuple[int, ...]], labels: np.ndarray, middle: int, spec: ClassifierSpec,
             rng: np.random.Generator) -> Clips:  # fmt: skip
    """The clips of neighbouring windows around number ``middle``."""
    first = int(np.clip(middle - rng.integers(SEGMENT_WINDOWS), 0, len(windows) - SEGMENT_WINDOWS))
    chosen = slice(first, first + SEGMENT_WINDOWS)
    numbers = sorted(set().union(*windows[chosen]))
    drawn = [film.frame(number) for number in numbers]
    frames = dict(zip(numbers, recompress([rgb for rgb, _ in drawn], int(rng.integers(20, 33))), strict=True))
    boxes = {number: unsteady(np.array(box), rng) for number, (_, box) in zip(numbers, drawn, strict=True)}
    stored_size = spec.input_size + 2 * MARGIN
    padding = ((1 + 2 * spec.crop_padding) * stored_size / spec.input_size - 1) / 2
    strips = []
    for window in windows[chosen]:
        crop = square(union([boxes[number] for number in window]), padding)
        clip = crop_clip([frames[number] for number in window], crop, stored_size)
        strip = np.concatenate(list(clip), axis=1)[..., ::-1]
        strips.append(cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    return Clips(strips, labels[chosen], film.labels()[np.array(windows[chosen])].astype(np.int8))


def unsteady(box_xyxy: np.ndarray, rng: np.random.Generator, share: float = 0.025) -> np.ndarray:
    """The box as a detector would give it: every edge off by a few hundredths of the box's size."""
    sides = np.tile(box_xyxy[2:] - box_xyxy[:2], 2)
    return box_xyxy + rng.normal(0, share, 4) * sides


def recompress(frames: list[UInt8Array], crf: int) -> list[UInt8Array]:
    """The frames after a trip through H.264 at constant rate factor ``crf`` (about 18 fine .. 35 coarse)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        return [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]


def film_images(film: Film, input_size: int, count: int = 12) -> Images:
    """Pictures at random moments of a film, at the detector's input size, after JPEG of random quality."""
    rng = np.random.default_rng((film.seed, 2))
    images, boxes = [], []
    for number in rng.choice(film.num_frames, count, replace=False):
        rgb, box = film.frame(int(number))
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
        rgb = cv2.imdecode(cv2.imencode(".jpg", rgb, quality)[1], cv2.IMREAD_COLOR)
        images.append(resize_for_detector(rgb, input_size))
        boxes.append(to_shares(np.array(box), film.width, film.height))
    return Images(np.stack(images), np.stack(boxes))
