"""Video files that are damaged, cut off or joined: what is sound is delivered under its number, the rest is told."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from mousetal.video import decode, probe
from tests.fixtures import videos
from tests.fixtures.videos import burnt_in_number, same, write_video

DAMAGED = {
    "h264": (".mp4", {"options": videos.X264}),
    "h264_b_frames": (".mp4", {"b_frames": 3, "options": videos.X264}),
    "mpeg4_avi": (".avi", {"codec": "mpeg4", "options": videos.X264}),
    "mpeg4_b_frames_mkv": (".mkv", {"codec": "mpeg4", "b_frames": 2, "options": videos.X264}),
    "h264_avi_without_times": (".avi", {"b_frames": 3, "options": videos.X264}),
    "mjpeg": (".avi", {"codec": "mjpeg", "pixel_format": "yuvj420p", "colour": (5, 2)}),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("packet", [16, 24, 39], ids=["predicted", "key", "last"])
def test_damage_leaves_a_gap_and_later_frames_keep_their_numbers(tmp_path: Path, kind: str, packet: int) -> None:
    suffix, settings = DAMAGED[kind]
    path = write_video(tmp_path / f"damaged{suffix}", **settings)
    sound = list(decode(probe(path)))
    keep = 0.3 if kind == "mjpeg" else 0.6  # noise that decoders notice; not all is
    os.utime(videos.overwrite_packets(path, [packet], keep=keep), ns=(0, 0))

    info = probe(path)
    frames = list(decode(info))

    assert info.num_frames == 40
    assert 40 - 14 <= len(frames) < 40
    assert [burnt_in_number(frame.rgb) for frame in frames] == [frame.index for frame in frames]
    assert all(same(frame, sound[frame.index]) for frame in frames), "a patched-up picture was delivered"


@pytest.mark.parametrize(("kind", "packet"), [("h264_b_frames", 13), ("mpeg4_b_frames_mkv", 10)])
def test_pictures_shown_before_the_damaged_one_they_depend_on_are_not_delivered(
    tmp_path: Path, kind: str, packet: int
) -> None:
    suffix, settings = DAMAGED[kind]
    path = write_video(tmp_path / f"damaged{suffix}", **settings)
    sound = list(decode(probe(path)))
    os.utime(videos.overwrite_packets(path, [packet], keep=0.6), ns=(0, 0))

    frames = list(decode(probe(path)))

    assert 24 < len(frames) < 40
    assert all(same(frame, sound[frame.index]) for frame in frames)


def test_damage_reads_the_same_from_wherever_decoding_starts(tmp_path: Path) -> None:
    path = write_video(tmp_path / "damaged.mp4", b_frames=3, options=videos.X264)
    info = probe(videos.overwrite_packets(path, [16], keep=0.6))
    frames = list(decode(info))

    for start in range(info.num_frames):
        expected = [frame for frame in frames if frame.index >= start]
        assert all(same(frame, other) for frame, other in zip(decode(info, start), expected, strict=True))


def test_joined_recordings_whose_clock_starts_again_keep_all_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "joined.ts", b_frames=2, options=videos.X264)
    path.write_bytes(path.read_bytes() * 2)
    info = probe(path)

    assert [burnt_in_number(frame.rgb) for frame in decode(info)] == [*range(40), *range(40)]
    assert info.pts_seconds == pytest.approx(np.arange(80) / 30)


def test_missing_frames_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "damaged.mp4", options=videos.X264)
    info = probe(videos.overwrite_packets(path, [16], keep=0.6))

    with caplog.at_level(logging.WARNING):
        delivered = len(list(decode(info)))

    (record,) = caplog.records
    assert f"missing={40 - delivered} of=40" in record.getMessage()


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [(".mp4", {}), (".mkv", {}), (".avi", {"codec": "mpeg4"}), (".ts", {}), (".mpg", {"codec": "mpeg1video"})],
)
def test_a_file_cut_in_the_middle_gives_its_first_part(tmp_path: Path, suffix: str, settings: dict[str, str]) -> None:
    info = probe(videos.cut_in_the_middle(tmp_path, suffix, **settings))
    frames = list(decode(info))

    assert 20 < info.num_frames < 120
    assert [burnt_in_number(frame.rgb) for frame in frames] == [frame.index for frame in frames]
    assert info.num_frames - 3 <= len(frames) <= info.num_frames
    if info.declared_frames is not None:
        assert info.warnings == (f"the header declares 120 frames, the file holds {info.num_frames}",)
