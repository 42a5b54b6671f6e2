"""Boxes of a film, recorded once with the demo detector on every frame, to answer with in place of random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mousetal import atomic
from mousetal.arrays import pack_detections, unpack_detections
from mousetal.geometry import resize_for_detector
from mousetal.types import Detections, DetectorBatch
from mousetal.video import decode, probe

RECORDING_SUFFIX = ".boxes.npz"
Recording = Mapping[int, Detections]


def record(video: Path, detector_folder: Path) -> Path:
    """The recording beside the video, made unless it is there."""
    path = video.with_suffix(RECORDING_SUFFIX)
    if not path.is_file():
        import mousetal.detector  # not above: the driver, which reads recordings, is measured without torch

        detector = mousetal.detector.load(detector_folder)
        side, found = detector.spec.input_size, []
        for frame in decode(probe(video)):
            image = resize_for_detector(frame.rgb, side)[None]
            found += detector.predict(DetectorBatch((frame.index,), ((frame.width, frame.height),), image))
        write(path, found)
    return path


def write(path: Path, found: list[Detections]) -> None:
    atomic.write_arrays(path, pack_detections(found))


def read(path: Path) -> dict[int, Detections]:
    """What was found, by frame number."""
    return {found.frame_index: found for found in unpack_detections(atomic.read_arrays(path))}
