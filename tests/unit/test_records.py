"""Results and parts on disk: what is written is what is read, and half a file is never taken for a whole one."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal import atomic, records
from mousetal.errors import OutputError, RecordError
from mousetal.parts import PartFolder
from mousetal.plan import WindowResult
from mousetal.types import Bout, FrameBox, FrameRange, NotScored
from tests.fixtures.stored import (
    NUM_FRAMES,
    assert_same_result,
    assert_same_windows,
    detections,
    score,
    stored_result,
)

shares = st.floats(0, 1)
sides = st.floats(-1e6, 1e6, allow_subnormal=False)
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=";\0"), min_size=1, max_size=12)


@st.composite
def bouts(draw: st.DrawFn) -> Bout:
    start = draw(st.integers(0, NUM_FRAMES - 1))
    box = draw(st.none() | st.tuples(*[st.integers(-500, 5000)] * 4))
    flags = tuple(draw(st.lists(texts, max_size=2)))
    end = draw(st.integers(start + 1, NUM_FRAMES + 4))
    return Bout(draw(texts), start, end, draw(shares), draw(shares), box, flags)


boxes = st.builds(FrameBox, st.integers(0, NUM_FRAMES - 1), st.tuples(sides, sides, sides, sides), shares, texts)


@settings(max_examples=30, deadline=None)
@given(
    found=st.lists(bouts(), max_size=4),
    places=st.lists(boxes, max_size=4),
    num_windows=st.integers(0, 3),
    warnings=st.lists(texts, max_size=2),
    compat=st.booleans(),
)
def test_what_is_written_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[Bout],
    places: list[FrameBox],
    num_windows: int,
    warnings: list[str],
    compat: bool,
) -> None:
    output = tmp_path_factory.mktemp("output")
    result = stored_result(
        bouts=tuple(found),
        boxes=tuple(places),
        scores=tuple(score(i) for i in range(num_windows)),
        warnings=tuple(warnings),
        reference_compat=compat,
    )
    records.write_video(output, result, "fingerprint")
    assert_same_result(result, records.read_video(output, result.video))
    assert records.read_fingerprint(output, result.video) == "fingerprint"


@pytest.mark.parametrize("video", ["a.mp4", "sub/Maus ä 1 (2).mp4", "日本/ネズミ.avi", "-x=1.mkv"])
def test_results_keep_the_relative_path_and_the_extension(tmp_path: Path, video: str) -> None:
    records.write_video(tmp_path, stored_result(video))
    assert (tmp_path / "predictions" / f"{video}.json").is_file()
    assert (tmp_path / "windows" / f"{video}.npz").is_file()
    assert (tmp_path / "boxes" / f"{video}.csv").is_file()
    assert records.read_video(tmp_path, video).video == video


def test_the_document_is_read_by_tools_for_activitynet(tmp_path: Path) -> None:
    result = stored_result()
    records.write_video(tmp_path, result)
    document = json.loads((tmp_path / "predictions/sub/a.mp4.json").read_text())
    segments = document["results"]["sub/a.mp4"]
    assert [segment["label"] for segment in segments] == ["Self-Grooming", "Head/Body TWITCH"]
    assert segments[0]["segment"] == pytest.approx([2 / 30, 6 / 30 + 0.01])
    assert segments[1]["segment"][1] == 0.41, "a bout up to the last frame ends where the video ends"
    assert document["version"].startswith("mousetal ")


def test_a_video_without_a_result_has_no_fingerprint(tmp_path: Path) -> None:
    assert records.read_fingerprint(tmp_path, "a.mp4") is None
    with pytest.raises(RecordError, match="predictions"):
        records.read_video(tmp_path, "a.mp4")


def test_files_of_two_runs_are_not_taken_for_one_result(tmp_path: Path) -> None:
    records.write_video(tmp_path, stored_result(), "first")
    kept = records.prediction_path(tmp_path, "sub/a.mp4").read_bytes()
    records.write_video(tmp_path, stored_result(), "second")
    records.prediction_path(tmp_path, "sub/a.mp4").write_bytes(kept)
    with pytest.raises(RecordError, match="different runs"):
        records.read_video(tmp_path, "sub/a.mp4")


@pytest.mark.parametrize("damage", ["{", "[]", '{"format_version": 99}', '{"format_version": 1, "fingerprint": ""}'])
def test_a_damaged_document_is_a_record_error(tmp_path: Path, damage: str) -> None:
    records.write_video(tmp_path, stored_result())
    records.prediction_path(tmp_path, "sub/a.mp4").write_text(damage)
    with pytest.raises(RecordError, match=r"a\.mp4\.json"):
        records.read_video(tmp_path, "sub/a.mp4")


def test_damaged_arrays_are_a_record_error(tmp_path: Path) -> None:
    records.write_video(tmp_path, stored_result())
    path = records.windows_path(tmp_path, "sub/a.mp4")
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:100] + b"\xff" * 60 + whole[160:]):
        path.write_bytes(damaged)
        with pytest.raises(RecordError):
            records.read_video(tmp_path, "sub/a.mp4")


def test_removing_a_video_leaves_its_neighbours(tmp_path: Path) -> None:
    for video in ("a.mp4", "b.mp4"):
        records.write_video(tmp_path, stored_result(video))
    records.remove_video(tmp_path, "a.mp4")
    assert records.read_fingerprint(tmp_path, "a.mp4") is None
    assert records.read_video(tmp_path, "b.mp4").video == "b.mp4"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    atomic.write_json(path, {"old": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.json.*No space left on device.*Free some space"):
        atomic.write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_a_file_in_the_way_of_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("")
    with pytest.raises(OutputError, match="predictions"):
        atomic.write_text(tmp_path / "predictions" / "a.json", "x")


def test_a_name_as_long_as_the_disk_allows_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".csv")
    atomic.write_text(path, "x")
    assert path.read_text() == "x"
    with pytest.raises(OutputError, match="Shorten the name"):
        atomic.write_text(tmp_path / ("n" * 300), "x")


def test_names_that_are_not_unicode_are_written_with_escapes(tmp_path: Path) -> None:
    broken = os.fsdecode(b"a\xff.mp4")
    atomic.write_json(tmp_path / "a.json", {"path": broken})
    assert atomic.read_json(tmp_path / "a.json") == {"path": broken}
    atomic.write_text(tmp_path / "a.csv", broken)
    assert (tmp_path / "a.csv").read_text() == "a\\udcff.mp4"


def test_json_has_no_numbers_that_other_readers_refuse(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "a.json", math.nan)


def test_parts_go_on_where_they_ended(tmp_path: Path) -> None:
    written = [
        WindowResult(score(0), (detections(0, 2), detections(2, 0)), (FrameRange(3, 4), FrameRange(6, 9))),
        WindowResult(score(1, crop=None, flags=("no_animal",)), ()),
        WindowResult(score(2), (detections(4, 1),), (FrameRange(10, 11),)),
    ]
    folder = PartFolder(tmp_path, "sub/a.mp4", "key")
    assert folder.load() == []
    folder.append(written[:2])
    folder.append([])
    folder.append(written[2:])
    again = PartFolder(tmp_path, "sub/a.mp4", "key")
    assert_same_windows(written, again.load())
    again.append([WindowResult(score(3), ())])
    assert len(PartFolder(tmp_path, "sub/a.mp4", "key").load()) == 4


def test_parts_made_from_something_else_are_thrown_away(tmp_path: Path) -> None:
    PartFolder(tmp_path, "a.mp4", "old settings").append([WindowResult(score(0), ())])
    folder = PartFolder(tmp_path, "a.mp4", "new settings")
    assert folder.load() == []
    assert not folder.folder.exists()


def test_a_damaged_part_costs_only_itself_and_what_came_after(tmp_path: Path) -> None:
    folder = PartFolder(tmp_path, "a.mp4", "key")
    for index in range(3):
        folder.append([WindowResult(score(index), (detections(index, 1),))])
    (folder.folder / "000001.npz").write_bytes(b"PK half a part")
    again = PartFolder(tmp_path, "a.mp4", "key")
    assert [part.score.window.index for part in again.load()] == [0]
    again.append([WindowResult(score(1), ())])
    assert [part.score.window.index for part in PartFolder(tmp_path, "a.mp4", "key").load()] == [0, 1]


def test_removing_parts_leaves_no_empty_folders_and_spares_other_videos(tmp_path: Path) -> None:
    one, other = PartFolder(tmp_path, "deep/er/a.mp4", "key"), PartFolder(tmp_path, "deep/b.mp4", "key")
    for folder in (one, other):
        folder.append([WindowResult(score(0), ())])
    one.remove()
    assert [path.name for path in (tmp_path / ".parts" / "deep").iterdir()] == ["b.mp4"]
    other.remove()
    assert not (tmp_path / ".parts").exists()
    other.remove()


def test_seconds_and_posteriors_are_kept_to_the_last_bit(tmp_path: Path) -> None:
    result = stored_result(not_scored=(NotScored(FrameRange(0, 3), "no animal"),))
    records.write_video(tmp_path, result)
    with np.load(records.windows_path(tmp_path, result.video), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["pts_seconds"], result.info.pts_seconds)
        np.testing.assert_array_equal(arrays["posteriors"], result.posteriors)
        assert arrays["probabilities"].shape == (2, 3)
        assert arrays["crop_xyxy"].shape == (2, 4)
