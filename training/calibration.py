"""What the networks are given while videos are analysed: a sample of it, from moments spread over all videos.

The pictures and clips come out of the driver's own pipeline, run on short pieces of the videos, so that a network is
calibrated on exactly what it will be sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

import mousetal.detector
import mousetal.mvd
from mousetal import video
from mousetal.pipeline import Plan, analyse
from mousetal.types import ClipBatch, Detections, DetectorBatch, Float32Array, Frame, UInt8Array, VideoInfo
from mousetal.windows import WindowPlan

WINDOWS = 2  # of a piece
LOOK_EVERY = 4  # sampled frames of a piece: neighbours are alike


@dataclass
class Inputs:
    """``images`` (S, S, 3) and ``clips`` (T, S, S, 3), uint8, in the order in which they were met."""

    images: list[UInt8Array] = field(default_factory=list)
    clips: list[UInt8Array] = field(default_factory=list)

    def thinned(self, count: int) -> Inputs:
        """At most so many of each, evenly spread."""
        return Inputs(*(spread(items, count) for items in (self.images, self.clips)))


def gather(
    videos: Sequence[VideoInfo], detector: mousetal.detector.Detector, classifier: mousetal.mvd.Classifier, count: int
) -> Inputs:
    """About ``count`` pictures and clips, fewer where the videos are short or the animal isn't found.

    Raises VideoError when a video cannot be decoded.
    """
    met = Inputs()

    def detect(batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        for batch in batches:
            met.images.extend(image.copy() for image in batch.images)
            yield detector.predict(batch)

    def classify(batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        for batch in batches:
            met.clips.extend(clip.copy() for clip in batch.clips)
            yield classifier.predict(batch.clips)

    per_video = math.ceil(count / (WINDOWS * len(videos)))
    for info in videos:
        windows = WindowPlan.for_video(classifier.spec, info.fps, reference_compat=False)
        length = windows.span + math.ceil((WINDOWS - 1) * windows.stride * windows.step)
        for start in starts(info.num_frames, length, per_video):
            piece = excerpt(info, start, length)
            plan = Plan(piece, detector.spec, classifier.spec, detect_every=LOOK_EVERY)
            for _ in analyse(frames_of(info, start, piece.num_frames), detect, classify, plan):
                pass
    return met.thinned(count)


def starts(num_frames: int, length: int, count: int) -> list[int]:
    """First frames of at most ``count`` pieces that do not overlap, spread over a video; one at least."""
    most = max(1, min(count, num_frames // length))
    return [round(place) for place in np.linspace(0, max(0, num_frames - length), most)]


def excerpt(info: VideoInfo, start: int, length: int) -> VideoInfo:
    """What a file that holds these frames alone would say of itself."""
    times = info.pts_seconds[start : start + length]
    times = times - times[0]
    return replace(
        info, num_frames=len(times), declared_frames=None, pts_seconds=times, duration_seconds=float(times[-1])
    )


def frames_of(info: VideoInfo, start: int, length: int) -> Iterator[Frame]:
    """The frames of an `excerpt`, numbered as there."""
    first = info.pts_seconds[start]
    for frame in islice(video.decode(info, start), length):
        if frame.index >= start + length:  # after frames that could not be decoded
            return
        yield Frame(frame.index - start, float(frame.pts_seconds - first), frame.rgb)


def spread(items: Sequence[UInt8Array], count: int) -> list[UInt8Array]:
    """At most ``count`` of the items, evenly spread, in their order."""
    if len(items) <= count:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, count)]
