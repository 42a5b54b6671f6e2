"""Results on disk, both ways. Per video, named by its path relative to the input, extension included:

    predictions/<video>.json   facts, classes, bouts, ranges not scored, and an ActivityNet `results` block
    windows/<video>.npz        window ranges, probabilities, crop boxes, frame posteriors and times, the animal's boxes
    boxes/<video>.csv          the animal's boxes again, for people

so that bouts can be found again with other thresholds, without a GPU and without the video. The JSON is written last:
where it is, the rest is. Both hold the fingerprint of what they were made from; reading refuses a pair that differs.
"""

from __future__ import annotations

import dataclasses
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mousetal import __version__, atomic
from mousetal.errors import RecordError
from mousetal.formats.csv import boxes_text
from mousetal.packed import boxes_of_arrays, packed_boxes, packed_scores, scores_of_arrays
from mousetal.seconds import bout_seconds
from mousetal.types import Bout, BoutRule, ClassifierSpec, DetectorSpec, FrameRange, NotScored, VideoInfo, VideoResult

FORMAT_VERSION = 1
RESULTS_VERSION = 3  # raised when the same input would give other results than before, so that old ones are made again
HASHES_NAME = ".hashes.json"  # by a file's path as the driver saw it: size, time of change, SHA-256
Spec = TypeVar("Spec", DetectorSpec, ClassifierSpec)


def prediction_path(output: Path, video: str) -> Path:
    return output / "predictions" / f"{video}.json"


def windows_path(output: Path, video: str) -> Path:
    return output / "windows" / f"{video}.npz"


def boxes_path(output: Path, video: str) -> Path:
    return output / "boxes" / f"{video}.csv"


def thumbnails_path(output: Path, video: str) -> Path:
    return output / "thumbnails" / video


def write_video(output: Path, result: VideoResult, fingerprint: str = "") -> None:
    """Write one video's results; raises OutputError. The JSON comes last and says that all is there."""
    arrays = {
        **packed_scores(result.scores, len(result.classifier.classes)).arrays(),
        **packed_boxes(result.boxes).arrays(),
        "posteriors": result.posteriors,
        "pts_seconds": result.info.pts_seconds,
        "fingerprint": np.array(fingerprint),
    }
    atomic.write_arrays(windows_path(output, result.video), arrays)
    atomic.write_text(boxes_path(output, result.video), boxes_text(result))
    atomic.write_json(prediction_path(output, result.video), video_document(result, fingerprint))


def read_video(output: Path, video: str) -> VideoResult:
    """Read back what `write_video` wrote; raises RecordError when it is missing, damaged or of two different runs."""
    path = prediction_path(output, video)
    document = _document(path)
    arrays = atomic.read_arrays(windows_path(output, video))
    try:
        if str(arrays["fingerprint"]) != document["fingerprint"]:
            raise RecordError(f"{path} and its windows file come from different runs. Run this video again.")
        return _result(document, arrays)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RecordError(
            f"{path}: not a result as this version writes it ({error!r}). Run this video again."
        ) from error


def read_fingerprint(output: Path, video: str) -> str | None:
    """The fingerprint of a finished video's results, None where there is no readable result."""
    try:
        return str(_document(prediction_path(output, video))["fingerprint"])
    except (RecordError, KeyError):
        return None


def read_contents(output: Path) -> dict[str, str]:
    """The SHA-256 of what each finished video's results were made from, by the video's name.

    Videos whose hash the driver did not note are left out; so are all when its notes are unreadable.
    """
    try:
        hashes = {path: str(noted[-1]) for path, noted in atomic.read_json(output / HASHES_NAME).items()}
    except (RecordError, AttributeError, TypeError, IndexError):
        return {}
    found = {}
    for path in sorted((output / "predictions").rglob("*.json")):
        try:
            document = _document(path)
            found[str(document["video"])] = hashes[document["info"]["path"]]
        except (RecordError, KeyError, TypeError):
            continue
    return found


def remove_video(output: Path, video: str) -> None:
    """Take away a video's results; what says that they are complete goes first."""
    for path in (prediction_path(output, video), boxes_path(output, video), windows_path(output, video)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise atomic.output_error(path, error) from error
    shutil.rmtree(thumbnails_path(output, video), ignore_errors=True)


def video_document(result: VideoResult, fingerprint: str) -> dict[str, Any]:
    """The JSON document of one video. ``results`` is as ActivityNet has it, so that its tools read the file."""
    return {
        "format_version": FORMAT_VERSION,
        "version": f"mousetal {__version__}",
        "video": result.video,
        "info": _info_document(result),
        "models": {"detector": spec_document(result.detector), "classifier": spec_document(result.classifier)},
        "reference_compat": result.reference_compat,
        "bouts": [_bout_document(result.info, bout) for bout in result.bouts],
        "not_scored": [
            {"start_frame": gap.frames.start_frame, "end_frame": gap.frames.end_frame, "reason": gap.reason}
            for gap in result.not_scored
        ],
        "warnings": list(result.warnings),
        "fingerprint": fingerprint,
        "results": {result.video: [_segment(result.info, bout) for bout in result.bouts]},
        "external_data": {},
    }


def spec_document(spec: DetectorSpec | ClassifierSpec) -> dict[str, Any]:
    """A model's facts as plain JSON."""
    return dataclasses.asdict(spec)


def _document(path: Path) -> dict[str, Any]:
    document = atomic.read_json(path)
    if not isinstance(document, dict) or document.get("format_version") != FORMAT_VERSION:
        raise RecordError(f"{path}: expected results of format version {FORMAT_VERSION}. Run this video again.")
    return document


def _info_document(result: VideoResult) -> dict[str, Any]:
    info = result.info
    return {
        "path": str(info.path),
        "width": info.width,
        "height": info.height,
        "fps": str(info.fps),
        "num_frames": info.num_frames,
        "declared_frames": info.declared_frames,
        "decoded_frames": result.decoded_frames,
        "duration_seconds": info.duration_seconds,
        "codec": info.codec,
        "pixel_format": info.pixel_format,
        "rotation_degrees": info.rotation_degrees,
        "is_variable_frame_rate": info.is_variable_frame_rate,
        "warnings": list(info.warnings),
    }


def _bout_document(info: VideoInfo, bout: Bout) -> dict[str, Any]:
    start, end = bout_seconds(info, bout)
    return {**dataclasses.asdict(bout), "start_s": start, "end_s": end}


def _segment(info: VideoInfo, bout: Bout) -> dict[str, Any]:
    return {"label": bout.behavior, "score": bout.confidence, "segment": list(bout_seconds(info, bout))}


def _result(document: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> VideoResult:
    facts: dict[str, Any] = {**document["info"], "pts_seconds": arrays["pts_seconds"]}
    decoded_frames = facts.pop("decoded_frames")
    facts["path"], facts["fps"] = Path(facts["path"]), Fraction(facts["fps"])
    info = VideoInfo(**{**facts, "warnings": tuple(facts["warnings"])})
    classifier = _spec(ClassifierSpec, document["models"]["classifier"])
    return VideoResult(
        video=document["video"],
        info=info,
        detector=_spec(DetectorSpec, document["models"]["detector"]),
        classifier=classifier,
        scores=scores_of_arrays(arrays, len(classifier.classes)),
        boxes=boxes_of_arrays(arrays),
        posteriors=arrays["posteriors"],
        bouts=tuple(_bout(bout) for bout in document["bouts"]),
        not_scored=tuple(
            NotScored(FrameRange(gap["start_frame"], gap["end_frame"]), gap["reason"]) for gap in document["not_scored"]
        ),
        decoded_frames=decoded_frames,
        warnings=tuple(document["warnings"]),
        reference_compat=document["reference_compat"],
    )


def _spec(kind: type[Spec], document: dict[str, Any]) -> Spec:
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in document.items()}
    if "rules" in values:
        values["rules"] = tuple(BoutRule(**rule) for rule in document["rules"])
    return kind(**values)


def _bout(document: dict[str, Any]) -> Bout:
    values = {name: value for name, value in document.items() if name not in ("start_s", "end_s")}
    box = values["box_xyxy"]
    return Bout(**{**values, "box_xyxy": None if box is None else tuple(box), "flags": tuple(values["flags"])})
