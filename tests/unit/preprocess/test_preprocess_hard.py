"""Clips of what an earlier model took for a behaviour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mousetal import atomic, records
from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.errors import RecordError
from mousetal.types import FrameRange
from tests.fixtures.preprocessing import KNOBS
from tests.fixtures.results import video_result
from training import boxes as boxing
from training import preprocess
from training.clips import read_table
from training.cutting import frame_labels
from training.hardnegatives import Earlier
from training.synthetic import BEHAVIORS

GROOM, TWITCH = BEHAVIORS
Capture = pytest.CaptureFixture[str]


def store_results(output: Path, name: str, entry: datasets.VideoEntry, sure_at: int, content: str) -> None:
    """A driver's results of a video that was called ``name`` and were sure of a behaviour at one frame."""
    result = video_result(name, seconds=entry.duration_s, fps=entry.fps)
    posteriors = np.zeros_like(result.posteriors)
    posteriors[sure_at, 1] = 0.9
    records.write_video(output, replace(result, posteriors=posteriors), f"made of {content}")
    noted = atomic.read_json(output / records.HASHES_NAME) if (output / records.HASHES_NAME).exists() else {}
    atomic.write_json(output / records.HASHES_NAME, {**noted, str(result.info.path): [1, 2, content]})


def test_hard_idle_is_found_by_the_videos_content_whatever_it_was_called(
    copied: tuple[Dataset, Path], tmp_path: Path
) -> None:
    dataset, folder = copied
    one, other = dataset.in_split("train")[0], dataset.in_split("validation")[0]
    store_results(tmp_path / "output", "elsewhere/renamed.mp4", one, 20, one.sha256)
    store_results(tmp_path / "output", other.path, other, 20, "another file")  # of that name only
    earlier = Earlier.read(tmp_path / "output")
    sure = earlier.sureness(one, one.num_frames)
    assert sure is not None
    assert np.flatnonzero(sure).tolist() == [20]
    assert earlier.name_of(other) is None
    report = preprocess.preprocess(dataset.root, folder, None, KNOBS, hard=tmp_path / "output")[1]
    assert f"hard negatives: {tmp_path / 'output'} has results of 1 of 3 videos" in report.notes
    assert (report.done, report.reused) == ([one.path], [other.path])


def test_idle_is_cut_where_an_earlier_model_was_sure_of_something_though_nothing_moves_there(
    copied: tuple[Dataset, Path], tmp_path: Path
) -> None:
    dataset, folder = copied
    entry = dataset.in_split("train")[0]
    classes = frame_labels(dataset, entry, datasets.read_labels(dataset, entry))
    length, guard = round(1.2 * entry.fps), round(0.1 * entry.fps)
    free = [start for start in range(guard, entry.num_frames - length - guard)
            if not classes[start - guard : start + length + guard].any()]  # fmt: skip
    boxes = boxing.per_frame(datasets.read_stored_boxes(dataset, entry), entry.num_frames)
    moves = boxing.movement(boxes)
    start = min(free, key=lambda one: moves[one + length // 2])
    store_results(tmp_path / "output", entry.path, entry, start + length // 2, entry.sha256)
    preprocess.preprocess(dataset.root, folder, None, KNOBS, hard=tmp_path / "output")
    idle = [clip.frames for clip in read_table(folder).clips if clip.video == entry.path and clip.behavior == "idle"]
    assert FrameRange(start, start + length) in idle


def test_without_noted_hashes_results_are_found_by_name(copied: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, _ = copied
    entry = dataset.videos[0]
    store_results(tmp_path, entry.path, entry, 20, entry.sha256)
    (tmp_path / records.HASHES_NAME).unlink()
    earlier = Earlier.read(tmp_path)
    assert earlier.key(entry) == f"made of {entry.sha256}"
    assert earlier.sureness(entry, entry.num_frames + 1) is None
    assert earlier.name_of(dataset.videos[1]) is None
    with pytest.raises(RecordError, match="no results of the driver"):
        Earlier.read(tmp_path / "nothing")
