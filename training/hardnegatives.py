"""Where an earlier model was wrong: what a driver's run over the videos of a data set was sure of, frame by frame.

Results belong to a video when they were made from the same content, wherever the file lay and whatever it was called;
where the driver did not note the content, by the name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mousetal import records
from mousetal.dataset import VideoEntry
from mousetal.errors import RecordError
from mousetal.types import Float64Array

LEAST_SURE = 0.2


@dataclass(frozen=True)
class Earlier:
    """The driver's OUTPUT; ``contents`` is, by a video's name there, the SHA-256 of what was analysed."""

    output: Path
    contents: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, output: Path) -> Earlier:
        """Raises RecordError for a folder without any results."""
        if not (output / "predictions").is_dir():
            raise RecordError(f"{output}: no results of the driver (no predictions folder). Give its OUTPUT.")
        return cls(output, records.read_contents(output))

    def name_of(self, entry: VideoEntry) -> str | None:
        """What the video is called in these results, None where it has none."""
        if self.contents.get(entry.path) not in (None, entry.sha256):  # results of that name, but of another content
            return self._of_content(entry)
        is_there = records.prediction_path(self.output, entry.path).is_file()
        return entry.path if is_there else self._of_content(entry)

    def _of_content(self, entry: VideoEntry) -> str | None:
        return next((name for name, content in self.contents.items() if content == entry.sha256), None)

    def key(self, entry: VideoEntry) -> str:
        """What the results were made from; empty where there are none."""
        name = self.name_of(entry)
        return records.read_fingerprint(self.output, name) or "" if name is not None else ""

    def sureness(self, entry: VideoEntry, num_frames: int) -> Float64Array | None:
        """How sure the model was of any behaviour, float64 (num_frames,), 0 below `LEAST_SURE`.

        None where there are no results, or where they speak of another number of frames.
        """
        name = self.name_of(entry)
        if name is None:
            return None
        try:
            found = records.read_video(self.output, name)
        except RecordError:
            return None
        if found.info.num_frames != num_frames:
            return None
        columns = [i for i in range(len(found.classifier.classes)) if i != found.classifier.background]
        sure = np.nan_to_num(found.posteriors[:, columns].max(axis=1)).astype(np.float64)
        return np.where(sure > LEAST_SURE, sure, 0.0)
