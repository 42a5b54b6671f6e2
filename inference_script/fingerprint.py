"""What a result was made from, as one hash: the video's content, the models and the settings that matter.

Where it is unchanged, the work is done already. A video's own hash is remembered with its size and time of change, so
that a nightly run over a large folder reads only the new files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mousetal import atomic, records
from mousetal.errors import RecordError, VideoError
from mousetal.settings import DriverSettings
from mousetal.types import ClassifierSpec, DetectorSpec

log = logging.getLogger(__name__)

# Where a model runs, and what it is called, does not change what it says.
WITHOUT_EFFECT = ("device", "name", "assumptions")


class ContentHashes:
    """SHA-256 of files, remembered in the output folder by path, size and time of change."""

    def __init__(self, output: Path) -> None:
        self._path = output / records.HASHES_NAME
        self._known: dict[str, Any] = {}
        if self._path.is_file():
            try:
                self._known = dict(atomic.read_json(self._path))
            except (RecordError, TypeError, ValueError) as error:
                log.warning("The remembered hashes are unreadable and are made again. %s", error)

    def of(self, path: Path) -> str:
        """The file's hash; raises VideoError when it cannot be read."""
        try:
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            known = self._known.get(str(path))
            if isinstance(known, list) and known[:2] == stamp:
                return str(known[2])
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise VideoError(f"{path}: cannot be read ({error.strerror or error}).") from error
        self._known[str(path)] = [*stamp, digest]
        return digest

    def save(self) -> None:
        """Remember the hashes for the next run; raises OutputError."""
        atomic.write_json(self._path, self._known)


def fingerprint(content: str, detector: DetectorSpec, classifier: ClassifierSpec, settings: DriverSettings) -> str:
    """The hash of all that decides a video's results. ``content`` is the video's own hash."""
    made_from: Mapping[str, Any] = {
        "results_version": records.RESULTS_VERSION,
        "content": content,
        "detector": _effective(detector),
        "classifier": _effective(classifier),
        "max_gap_s": settings.max_gap_s,
        "detect_every": 1 if settings.reference_compat else settings.detect_every,
        "reference_compat": settings.reference_compat,
        "precision": settings.precision,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _effective(spec: DetectorSpec | ClassifierSpec) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(spec).items() if name not in WITHOUT_EFFECT}
