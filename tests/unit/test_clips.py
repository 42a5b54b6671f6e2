"""Training clips on disk: what is written is read back, any player can play it, damage is named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mousetal import video
from mousetal.errors import RecordError, VideoError
from mousetal.types import FrameRange
from training.clips import Clip, ClipTable, folder_name, read_frames, read_table, write_frames, write_table

FPS = Fraction(30000, 1001)


def a_clip(folder: Path, number: int = 1, frames: int = 6) -> tuple[Clip, np.ndarray]:
    rng = np.random.default_rng(number)
    smooth = np.kron(rng.integers(40, 215, (frames, 4, 5, 3)), np.ones((1, 8, 8, 1)))
    pixels = np.ascontiguousarray(smooth, np.uint8)
    path = folder / "Head-Body_TWITCH" / f"a_clip_{number:03}.avi"
    offsets, sizes = write_frames(path, list(pixels), FPS, quality=95)
    boxes = rng.uniform(0, 30, (frames, 4)).astype(np.float32)
    boxes[0] = np.nan
    labels = np.array([0, 0, 1, 1, 0, -1][:frames], np.int8)
    clip = Clip(
        path, "mice/video/a, b.mp4", "Head/Body TWITCH", FrameRange(100, 100 + frames), FPS, "m1", "s1", "train", 0.5,
        labels, boxes, offsets, sizes, FrameRange(102, 104) if number == 1 else None,
    )  # fmt: skip
    return clip, pixels


def test_frames_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    clip, pixels = a_clip(tmp_path)
    found = read_frames(clip, [4, 0, 4])
    assert found.shape == (3, 32, 40, 3)
    assert np.abs(found.astype(int) - pixels[[4, 0, 4]]).mean() < 2


def test_any_player_sees_the_same_frames(tmp_path: Path) -> None:
    clip, pixels = a_clip(tmp_path)
    info = video.probe(clip.path)
    played = [frame.rgb for frame in video.decode(info)]
    assert info.num_frames == len(played) == len(pixels)
    assert float(info.fps) == pytest.approx(float(FPS), abs=1e-3)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(played, pixels, strict=True)) < 3


def test_the_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    clips = tuple(a_clip(tmp_path, number, frames=4 + number)[0] for number in (1, 2))
    write_table(ClipTable(tmp_path, ("idle", "Head/Body TWITCH"), clips))
    table = read_table(tmp_path)
    assert table.classes == ("idle", "Head/Body TWITCH")
    for one, other in zip(clips, table.clips, strict=True):
        for name in ("path", "video", "behavior", "frames", "fps", "subject", "session", "split", "weight", "bout"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("frame_labels", "boxes_xyxy", "offsets", "sizes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    first_row = (tmp_path / "clips.csv").read_text().splitlines()[1]
    assert first_row.startswith('"mice/video/a, b.mp4",Head-Body_TWITCH/a_clip_001.avi,100,104,1,5,')
    assert first_row.endswith(",102,103"), "the bout, both ends counted"


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    write_table(ClipTable(tmp_path, ("idle", "x"), ()))
    assert read_table(tmp_path).clips == ()


def test_a_damaged_or_missing_clip_is_named(tmp_path: Path) -> None:
    clip, _ = a_clip(tmp_path)
    clip.path.write_bytes(clip.path.read_bytes()[: int(clip.offsets[2])])
    with pytest.raises(VideoError, match=r"a_clip_001\.avi: frame 2 is damaged"):
        read_frames(clip, [2])
    clip.path.unlink()
    with pytest.raises(VideoError, match="cannot be read"):
        read_frames(clip, [0])


def test_a_table_that_does_not_fit_its_arrays_is_refused(tmp_path: Path) -> None:
    write_table(ClipTable(tmp_path, ("idle", "Head/Body TWITCH"), (a_clip(tmp_path)[0],)))
    lines = (tmp_path / "clips.csv").read_text().splitlines(keepends=True)
    (tmp_path / "clips.csv").write_text("".join([*lines, lines[-1]]))
    with pytest.raises(RecordError, match="2 rows, but arrays for 1 clips"):
        read_table(tmp_path)


def test_folders_are_spelt_as_the_reference_does() -> None:
    assert folder_name("Head/Body TWITCH") == "Head-Body_TWITCH"
    assert folder_name("..") == "_.."
