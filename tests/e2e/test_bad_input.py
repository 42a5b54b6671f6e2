"""Everything that can be wrong with what the driver is given: one clear sentence, the right exit code, nothing lost."""

from __future__ import annotations

import contextlib
import html
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mousetal import records
from tests.fixtures import videos
from tests.fixtures.driver import Drive, FakeModels
from tests.fixtures.videos import write_video

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drive:
    """One good video; what is bad comes beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "good.mp4", num_frames=30)
    return Drive(tmp_path)


def only_line(capsys: Capture) -> str:
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


# --- the input as a whole --------------------------------------------------------------------------------------------


def test_no_input_at_all(drive: Drive, capsys: Capture) -> None:
    assert drive(None, "--input", "") == 2
    assert only_line(capsys).startswith("error: INPUT is not set: expected a video file, a folder")


def test_an_input_that_is_not_there(drive: Drive, capsys: Capture) -> None:
    assert drive(None, "--input", "no/such/folder") == 2
    assert re.fullmatch(r"error: INPUT: expected .*, found nothing at .*/no/such/folder\.", only_line(capsys))


def test_an_empty_folder(drive: Drive, capsys: Capture) -> None:
    (drive.folder / "empty").mkdir()
    assert drive(None, "--input", str(drive.folder / "empty")) == 2
    assert "expected videos in" in only_line(capsys)
    assert not drive.output.exists()


def test_the_output_inside_the_input_is_not_taken_for_input(drive: Drive) -> None:
    inside = ["--output", str(drive.videos / "results")]
    assert drive(None, *inside) == 0
    assert drive(None, *inside) == 0
    assert records.read_video(drive.videos / "results", "good.mp4").video == "good.mp4"


# --- single files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        videos.zero_bytes,
        videos.garbage,
        videos.text_named_like_a_video,
        videos.playlist_named_like_a_video,
        videos.still_image_named_like_a_video,
        videos.audio_only,
        videos.moov_missing,
        videos.no_frames,
        videos.not_one_frame_decodes,
        videos.unknown_codec,
    ],
)
def test_a_bad_file_fails_with_its_reason_and_the_good_one_is_done(
    drive: Drive, capsys: Capture, bad: Callable[[Path], Path]
) -> None:
    (drive.folder / "made").mkdir()
    path = bad(drive.folder / "made").rename(drive.videos / "bad.mp4")
    assert drive() == 1
    assert drive.statuses == {"bad.mp4": "failed", "good.mp4": "done"}
    reason = drive.reasons["bad.mp4"]
    assert str(path) in reason
    assert "\n" not in reason
    assert "defect" not in reason
    assert not records.prediction_path(drive.output, "bad.mp4").exists()
    assert "1 done, 0 skipped, 1 failed of 2 videos" in capsys.readouterr().out


def test_a_file_that_is_no_video_and_not_named_like_one_is_left_alone(drive: Drive) -> None:
    (drive.videos / "notes.txt").write_text("mouse 7")
    assert drive() == 0
    assert drive.statuses == {"good.mp4": "done"}


def test_a_single_file_that_is_no_video_fails(drive: Drive) -> None:
    (drive.folder / "notes.txt").write_text("mouse 7")
    assert drive(None, "--input", str(drive.folder / "notes.txt")) == 1
    assert drive.statuses == {"notes.txt": "failed"}


def test_an_unreadable_file_fails_and_the_others_are_done(drive: Drive) -> None:
    """Root may read everything, so the file is one that gives an I/O error to anyone."""
    (drive.videos / "bad.mp4").symlink_to("/proc/self/mem")
    assert drive() == 1
    assert drive.statuses == {"bad.mp4": "failed", "good.mp4": "done"}
    assert "cannot be read" in drive.reasons["bad.mp4"]


def test_links_in_a_loop_and_to_nowhere(drive: Drive) -> None:
    (drive.videos / "again").symlink_to(drive.videos, target_is_directory=True)
    (drive.videos / "nowhere.mp4").symlink_to("lost.mp4")
    (drive.videos / "self.mp4").symlink_to("self.mp4")
    assert drive() == 1
    assert drive.statuses == {"good.mp4": "done", "nowhere.mp4": "failed", "self.mp4": "failed"}


def test_a_truncated_video_is_scored_as_far_as_it_goes_and_says_so(drive: Drive) -> None:
    videos.cut_in_the_middle(drive.videos, ".mp4", num_frames=120)
    assert drive() == 0
    result = records.read_video(drive.output, "cut_in_the_middle.mp4")
    assert 0 < result.decoded_frames < 120
    assert any("120" in warning for warning in result.warnings), "what the header claims"
    row = next(row for row in drive.table("videos.csv") if row["video"] == "cut_in_the_middle.mp4")
    assert row["warnings"]


def test_damage_in_the_middle_is_not_scored_and_later_bouts_stay_in_place(drive: Drive) -> None:
    path = write_video(
        drive.videos / "damaged.avi", codec="mjpeg", pixel_format="yuvj420p", colour=(5, 2), num_frames=60
    )
    videos.overwrite_packets(path, range(36, 52), keep=0.0)
    assert drive() == 0
    result = records.read_video(drive.output, "damaged.avi")
    assert [(gap.frames.start_frame, gap.frames.end_frame) for gap in result.not_scored] == [(36, 52)]
    assert result.not_scored[0].reason == "damaged"
    assert result.info.num_frames == 60
    assert np.isnan(result.posteriors[36:52]).all()
    assert np.isfinite(result.posteriors[52:]).all()


def test_a_video_of_one_frame(drive: Drive) -> None:
    write_video(drive.videos / "one.mp4", num_frames=1)
    assert drive() == 0
    result = records.read_video(drive.output, "one.mp4")
    assert len(result.scores) == 1
    assert result.posteriors.shape == (1, 3)


def test_a_video_of_4k(drive: Drive) -> None:
    write_video(drive.videos / "4k.mp4", size=(3840, 2160), num_frames=9, options={"preset": "ultrafast"})
    assert drive() == 0
    assert (records.read_video(drive.output, "4k.mp4").info.width) == 3840


def test_a_portrait_video_has_its_boxes_as_displayed(drive: Drive) -> None:
    write_video(drive.videos / "portrait.mp4", rotation=90, size=(96, 128))
    assert drive() == 0
    info = records.read_video(drive.output, "portrait.mp4").info
    assert (info.width, info.height, info.rotation_degrees % 180) == (96, 128, 90)


def test_seconds_of_a_variable_frame_rate_are_the_frames_own(drive: Drive) -> None:
    ticks = [40 * n + (1000 if n >= 12 else 0) for n in range(40)]
    write_video(drive.videos / "uneven.mp4", ticks=ticks, time_base=Fraction(1, 1000))
    assert drive() == 0
    row = next(row for row in drive.table("intervals.csv") if row["video"] == "uneven.mp4")
    for frame, seconds in (("start_frame", "start_s"), ("end_frame", "end_s")):
        assert float(row[seconds]) == pytest.approx(ticks[int(row[frame])] / 1000, abs=1e-3)


def test_two_files_of_one_stem_keep_their_own_results(drive: Drive) -> None:
    for folder, num_frames in (("one", 20), ("two", 24)):
        (drive.videos / folder).mkdir()
        write_video(drive.videos / folder / "good.mp4", num_frames=num_frames)
    write_video(drive.videos / "good.avi", codec="mpeg4", num_frames=28)
    assert drive(None, "--formats", "supervisely,reference") == 0
    lengths = {video: records.read_video(drive.output, video).info.num_frames for video in drive.statuses}
    assert lengths == {"good.avi": 28, "good.mp4": 30, "one/good.mp4": 20, "two/good.mp4": 24}


def test_unicode_and_spaces_in_names(drive: Drive) -> None:
    (drive.videos / "Käfig №1 (links)").mkdir()
    name = "Käfig №1 (links)/ネズミ 'a' =1, 2.mp4"
    write_video(drive.videos / name, num_frames=30)
    assert drive(None, "--formats", "supervisely,reference") == 0
    assert drive.statuses[name] == "done"
    assert drive() == 0
    assert drive.statuses[name] == "skipped"
    assert name.split("/")[1] in html.unescape((drive.output / "report.html").read_text())


def test_a_detector_that_finds_nothing(drive: Drive) -> None:
    assert drive(FakeModels(has_animal=False)) == 0
    result = records.read_video(drive.output, "good.mp4")
    assert result.bouts == ()
    assert {gap.reason for gap in result.not_scored} == {"no animal"}
    assert any("no animal was found" in warning for warning in result.warnings)
    assert drive.table("intervals.csv") == []


# --- the output ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """A small disk of its own at ``folder``; needs root."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("skipped: mounting a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_output(drive: Drive, capsys: Capture) -> None:
    if os.geteuid() != 0:
        drive.output.mkdir(mode=0o555)
        assert drive() == 1
        assert "cannot be written" in only_line(capsys)
        return
    with disk(drive.output, "size=1m,ro"):
        assert drive() == 1
        assert re.search(r"cannot be written \(Read-only file system\)\. Choose an OUTPUT", only_line(capsys))


def test_a_full_output_ends_in_one_sentence_and_what_was_finished_stays_whole(drive: Drive, capsys: Capture) -> None:
    """The first video fits, the second does not; with room again, only the second is done."""
    write_video(drive.videos / "second.mp4", num_frames=30)
    write_video(drive.videos / "third.mp4", num_frames=30)
    with disk(drive.output, "size=2m"):
        filler = drive.output / "filler.bin"

        def fill_up() -> None:
            if records.prediction_path(drive.output, "good.mp4").exists() and not filler.exists():
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while file.write(bytes(4096)):
                        pass

        assert drive(FakeModels(before_classify=fill_up)) == 1
        shown = capsys.readouterr()
        assert re.search(r"^good\.mp4 +done", shown.out, re.MULTILINE)
        assert re.search(r"^third\.mp4 +failed .*not run", shown.out, re.MULTILINE)
        errors = [line for line in shown.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "No space left on device" in errors[0]
        assert "Free some space" in errors[0]
        assert records.read_video(drive.output, "good.mp4").bouts
        assert records.read_fingerprint(drive.output, "second.mp4") is None
        filler.unlink()
        assert drive() == 0
        assert drive.statuses == {"good.mp4": "skipped", "second.mp4": "done", "third.mp4": "done"}


def test_an_output_that_is_a_file(drive: Drive, capsys: Capture) -> None:
    drive.output.write_text("")
    assert drive() == 1
    assert "cannot be written" in only_line(capsys)


def test_a_name_too_long_for_the_results_costs_only_itself(drive: Drive) -> None:
    name = "n" * 250 + ".mp4"  # with .json behind it, longer than any name may be
    (drive.videos / "good.mp4").rename(drive.videos / name)
    write_video(drive.videos / "other.mp4", num_frames=30)
    assert drive() == 1
    assert drive.statuses == {name: "failed", "other.mp4": "done"}
    assert "Shorten the name" in drive.reasons[name]
