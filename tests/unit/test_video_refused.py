"""Files that are no video, or no longer the one that was probed: refused in one sentence, and let go of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mousetal.errors import VideoError
from mousetal.video import decode, is_video, probe
from tests.fixtures import videos
from tests.fixtures.videos import write_video

Make = Callable[[Path], Path]


@pytest.mark.parametrize("make", videos.NOT_VIDEOS)
def test_what_is_no_video_is_told_in_one_line_with_its_path(tmp_path: Path, make: Make) -> None:
    path = make(tmp_path)

    assert not is_video(path)
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (videos.zero_bytes, "empty (0 bytes)"),
        (videos.garbage, "the content is none that can be read"),
        (videos.audio_only, "no video stream (found: audio)"),
        (videos.moov_missing, "'moov'"),
        (videos.no_frames, "at least one frame expected"),
        (videos.not_one_frame_decodes, "not one can be decoded"),
        (videos.unknown_codec, "codec"),
        (lambda folder: folder / "missing.mp4", "No such file"),
        (lambda folder: folder, "directory"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_reason_is_named(tmp_path: Path, make: Make, says: str) -> None:
    with pytest.raises(VideoError) as caught:
        probe(make(tmp_path))

    assert says in str(caught.value)


def test_an_unreadable_file_is_a_video_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "locked.mp4", num_frames=2)

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")  # what the system says; root would be let through

    monkeypatch.setattr("mousetal.container.av.open", refuse)
    assert not is_video(path)
    with pytest.raises(VideoError, match="Permission denied"):
        probe(path)


def test_a_loop_of_links_is_no_video(tmp_path: Path) -> None:
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)

    assert not is_video(loop)
    with pytest.raises(VideoError, match="symbolic links"):
        probe(loop)


def test_a_pipe_is_no_video_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")

    assert not is_video(tmp_path / "pipe.mp4")


def test_a_name_like_an_address_is_a_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "plain.mp4", num_frames=2).rename(tmp_path / "http:clip.mp4")
    monkeypatch.chdir(tmp_path)

    assert probe(Path("http:clip.mp4")).num_frames == 2


def test_a_file_replaced_after_it_was_probed_is_refused(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "replaced.mp4", num_frames=4))
    write_video(info.path, num_frames=6)

    with pytest.raises(VideoError, match="4 frames expected as when it was first read, 6 found"):
        list(decode(info))


def test_a_video_read_back_from_a_record_decodes_without_its_times(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "plain.mp4", num_frames=4))

    assert len(list(decode(replace(info, pts_seconds=np.zeros(0))))) == 4


def test_a_stopped_decoder_closes_its_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "plain.mp4")
    frames = decode(probe(path))
    next(frames)
    frames.close()  # type: ignore[attr-defined]

    assert not any(Path(link).name == path.name for link in _open_files())


def _open_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").glob("*"):
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return found
