"""How often things are done for one small film: a guard against slow code that needs no clock.

The film goes through the driver's own path from file to result with two models that only answer, and every batch
becomes a message. Counted are decoded pictures, calls, messages and their bytes; and, for one batch by itself, the
copies of its pixels on the way into a message and out of it. `tests/unit/test_bench.py` says what is right.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np
from av.video.reformatter import VideoReformatter

from inference_script.video_job import analyse_video
from mousetal import video, wire
from mousetal.errors import ServiceUnavailable
from mousetal.meter import StageMeter
from mousetal.parts import PartFolder
from mousetal.plan import Plan
from mousetal.types import (
    BoutRule,
    ClassifierSpec,
    ClipBatch,
    Detections,
    DetectorBatch,
    DetectorSpec,
    Float32Array,
    UInt8Array,
)
from training.synthetic import Film, write_video

DETECTOR = DetectorSpec("counted", "d" * 64, ("mouse",), 64, 0.5, "cpu")
CLASSIFIER = ClassifierSpec(
    name="counted",
    sha256="c" * 64,
    classes=("idle", "Self-Grooming", "Head/Body TWITCH"),
    background=0,
    num_frames=16,
    sampling_rate=2,
    stride=8,
    input_size=32,
    crop_padding=0.05,
    trained_fps=30.0,
    is_multi_label=False,
    rules=(BoutRule(),) * 3,
    device="cpu",
)
SECONDS, SIZE, FPS, SEED = 4.0, (160, 120), 30, 30_901
Made = TypeVar("Made")


@dataclass
class Counts:
    """Of one film and one way to detect."""

    frames: int = 0
    sampled_frames: int = 0
    windows: int = 0
    decodings: int = 0  # times that the decoder was started
    pictures: int = 0  # that came out of it
    conversions: int = 0  # of a picture to RGB
    detector_calls: int = 0
    frames_detected: int = 0
    classifier_calls: int = 0
    windows_classified: int = 0
    messages: int = 0
    message_bytes: int = 0
    pixel_bytes: int = 0  # of the images and clips in the messages

    @property
    def decodes_per_frame(self) -> float:
        return self.pictures / self.frames


class Counting:
    """Both models: a mouse that walks straight, rests and darts about, and windows that are all alike."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.detector, self.classifier = DETECTOR, CLASSIFIER
        self._is_stopped = False

    def detect(self, batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        for batch in batches:
            self._send(batch.images, wire.detect_request(batch, DETECTOR.score_threshold))
            self.counts.detector_calls += 1
            self.counts.frames_detected += len(batch.frame_indices)
            yield [mouse(index) for index in batch.frame_indices]

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        for batch in batches:
            self._send(batch.clips, wire.classify_request(batch))
            self.counts.classifier_calls += 1
            self.counts.windows_classified += len(batch.window_indices)
            yield np.full((len(batch.window_indices), len(CLASSIFIER.classes)), 1 / 3, np.float32)

    def recover(self) -> None:
        """Nothing goes away here."""

    def stop(self) -> None:
        self._is_stopped = True

    def _send(self, pixels: UInt8Array, message: Any) -> None:
        if self._is_stopped:
            raise ServiceUnavailable("the models were stopped.")
        self.counts.messages += 1
        self.counts.message_bytes += message.ByteSize()
        self.counts.pixel_bytes += pixels.nbytes


def mouse(frame: int) -> Detections:
    """Where the mouse is: it walks for two seconds, rests for one, then darts to and fro every 4 frames."""
    x = 20.0 + 0.5 * min(frame, 60) + (20.0 * (frame // 4 % 2) if frame >= 90 else 0.0)
    box = np.array([[x, 40, x + 40, 70]], np.float32)
    return Detections(frame, box, np.array([0.9], np.float32), np.zeros(1, np.int64))


def count(path: Path, detect_every: int) -> Counts:
    """What is done for one film when the detector looks at every so many sampled frames (0: as few as is safe)."""
    counts = Counts()
    info = video.probe(path)
    plan = Plan(info, DETECTOR, CLASSIFIER, detect_every=detect_every)
    counts.frames, counts.windows = info.num_frames, len(plan.windows.windows(info.num_frames))
    counts.sampled_frames = len(plan.sampled_frames)
    with tempfile.TemporaryDirectory() as folder, _counted_decoding(counts):
        parts = PartFolder(Path(folder), path.name, "")
        analyse_video(path.name, plan, Counting(counts), parts, StageMeter(), lambda frame: None)
    return counts


@contextmanager
def _counted_decoding(counts: Counts) -> Iterator[None]:
    """Counts what the decoder does, at the two places of `mousetal.video` through which every picture goes."""
    decode = video._pictures

    def pictures(found: Iterator[Any]) -> Iterator[Any]:
        counts.decodings += 1
        for picture in decode(found):
            counts.pictures += 1
            yield picture

    class Reformatter:
        def __init__(self) -> None:
            self._inner = VideoReformatter()

        def reformat(self, *arguments: Any, **named: Any) -> Any:
            counts.conversions += 1
            return self._inner.reformat(*arguments, **named)

    with mock.patch.object(video, "_pictures", pictures), mock.patch.object(video, "VideoReformatter", Reformatter):
        yield


def copies() -> dict[str, float]:
    """How many times the pixels of a batch are in new memory of Python's or numpy's while it becomes a message, and
    while a message becomes a batch. The message's own memory is the protobuf library's and is not seen here.
    """
    frames, side = 64, DETECTOR.input_size  # large next to what else is allocated
    shape = (4, CLASSIFIER.num_frames, CLASSIFIER.input_size, CLASSIFIER.input_size, 3)
    images, clips = np.zeros((frames, side, side, 3), np.uint8), np.zeros(shape, np.uint8)
    boxes_of = DetectorBatch(tuple(range(frames)), ((SIZE),) * frames, images)
    detect, detect_copies = _copies(images, lambda: wire.detect_request(boxes_of))
    classify, classify_copies = _copies(clips, lambda: wire.classify_request(ClipBatch((0, 1, 2, 3), clips)))
    _, detect_read = _copies(images, lambda: wire.detector_batch(detect, DETECTOR))
    _, classify_read = _copies(clips, lambda: wire.clip_batch(classify, CLASSIFIER))
    return {
        "detect, into the message": detect_copies,
        "detect, out of the message": detect_read,
        "classify, into the message": classify_copies,
        "classify, out of the message": classify_read,
    }


def _copies(pixels: UInt8Array, make: Callable[[], Made]) -> tuple[Made, float]:
    tracemalloc.start()
    try:
        made = make()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return made, round(most / pixels.nbytes, 1)


def document() -> dict[str, Any]:
    """All counts, as JSON: of looking at every sampled frame and at some, and the copies."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_film(Path(folder))
        found = {"exact": count(path, 1), "sparse": count(path, 0)}
    ways = {name: {**asdict(one), "decodes_per_frame": one.decodes_per_frame} for name, one in found.items()}
    return {**ways, "copies": copies()}


def write_film(folder: Path) -> Path:
    """The film that is counted on."""
    path = folder / "counted.mp4"
    write_video(Film(SEED, SECONDS, size=SIZE, fps=FPS, cage="box", fur="black"), path)
    return path
