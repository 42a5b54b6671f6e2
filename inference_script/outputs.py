"""What the driver leaves in OUTPUT beside the records of each video: foreign formats, tables, run.json.

intervals.csv  videos.csv  run.json
<name of INPUT>/predictions/[<dataset>/]<video>.json     `reference`
<name of INPUT>/SLY_project/...                          `supervisely`
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from inference_script.inputs import InputVideo
from mousetal import __version__, atomic
from mousetal.formats import csv, reference, supervisely
from mousetal.formats.csv import VideoRow
from mousetal.records import spec_document
from mousetal.settings import DriverSettings
from mousetal.types import ClassifierSpec, DetectorSpec, VideoResult

PACKAGES = ("av", "grpcio", "numpy", "opencv-python-headless", "pillow", "protobuf")
FLAT_DATASET = "predictions"  # what the reference system calls the data set of a plain folder


def write_formats(base: Path, video: InputVideo, result: VideoResult, formats: Sequence[str], *, again: bool) -> None:
    """Write one video in the foreign formats asked for; those there already only if ``again``. Raises OutputError.

    ``base`` is the folder in OUTPUT that is named like the input.
    """
    for name in formats:
        if name in FOREIGN:
            path_of, write = FOREIGN[name]
            path = path_of(base, video)
            if again or not path.is_file():
                write(path, result)


def write_project(
    base: Path,
    videos: Iterable[InputVideo],
    detector: DetectorSpec,
    classifier: ClassifierSpec,
    *,
    reference_compat: bool = False,
) -> None:
    """The files of a Supervisely project that belong to no video; the videos themselves are not copied.

    In the reference system's there is no class, as its annotations have no boxes.
    """
    project = base / "SLY_project"
    animals = () if reference_compat else detector.classes[:1] or (supervisely.ANIMAL,)
    atomic.write_json(project / "meta.json", supervisely.meta_document(classifier.classes, animals))
    atomic.write_json(project / "key_id_map.json", supervisely.key_id_document())
    for dataset in {project_dataset(video) for video in videos}:
        folder = project / dataset / "video"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic.output_error(folder, error) from error


def write_tables(output: Path, rows: Sequence[VideoRow], intervals: Iterable[Sequence[object]]) -> None:
    """intervals.csv and videos.csv over all videos of the input; raises OutputError."""
    atomic.write_text(output / "intervals.csv", csv.intervals_text(intervals))
    atomic.write_text(output / "videos.csv", csv.videos_text(rows))


def run_document(
    settings: DriverSettings,
    models: tuple[DetectorSpec, ClassifierSpec] | None,
    rows: Sequence[VideoRow],
    timings: Mapping[str, tuple[int, float]],
    started_at: str,
) -> dict[str, Any]:
    """run.json: what ran, on what, with what, and how long each stage took."""
    return {
        "version": __version__,
        "started_at": started_at,
        "finished_at": now(),
        "settings": {name: _plain(value) for name, value in dataclasses.asdict(settings).items()},
        "reference_compat": settings.reference_compat,
        "models": _models_document(models),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(),
        "videos": {status: sum(row.status == status for row in rows) for status in ("done", "failed", "skipped")},
        "seconds": {row.video: round(row.seconds, 3) for row in rows if row.status == "done"},
        "stages": {
            stage: {"items": items, "seconds": round(seconds, 3)} for stage, (items, seconds) in timings.items()
        },
    }


def now() -> str:
    """The time in ISO form, with the zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _models_document(models: tuple[DetectorSpec, ClassifierSpec] | None) -> dict[str, Any]:
    if models is None:
        return {}
    detector, classifier = models
    return {"detector": spec_document(detector), "classifier": spec_document(classifier)}


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return versions


def _plain(value: object) -> object:
    """A setting as JSON has it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value


def _reference_path(base: Path, video: InputVideo) -> Path:
    place = f"{video.dataset}/{Path(video.name).name}" if video.dataset else video.name
    return base / "predictions" / f"{place}.json"


def _annotation_path(base: Path, video: InputVideo) -> Path:
    return base / "SLY_project" / project_dataset(video) / "ann" / f"{Path(video.name).name}.json"


def project_dataset(video: InputVideo) -> str:
    """The data set of a video in our project: its own, or `predictions` with the subfolders as nested data sets."""
    return video.dataset or "/datasets/".join((FLAT_DATASET, *Path(video.name).parts[:-1]))


def _write_reference(path: Path, result: VideoResult) -> None:
    atomic.write_text(path, reference.text(result))


def _write_annotation(path: Path, result: VideoResult) -> None:
    atomic.write_json(path, supervisely.annotation_document(result))


FOREIGN: Mapping[str, tuple[Callable[[Path, InputVideo], Path], Callable[[Path, VideoResult], None]]] = {
    "reference": (_reference_path, _write_reference),
    "supervisely": (_annotation_path, _write_annotation),
}
