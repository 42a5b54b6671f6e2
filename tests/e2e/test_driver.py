"""The whole driver over small real video files, its models being two plain functions: what comes out, what is kept."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference_script import handover, video_job
from mousetal import records
from mousetal.formats import supervisely
from tests.fixtures import videos
from tests.fixtures.driver import CLASSIFIER, DETECTOR, Drive, FakeModels, failing, gone
from tests.fixtures.stored import assert_same_result
from tests.fixtures.videos import write_video


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Two videos, one in a subfolder; nothing of the surroundings is read, and no retry is waited for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_job, "FIRST_PAUSE_S", 0.0)
    (tmp_path / "videos" / "cage 1").mkdir(parents=True)
    write_video(tmp_path / "videos" / "a.mp4", num_frames=60)
    write_video(tmp_path / "videos" / "cage 1" / "b.avi", codec="mpeg4", num_frames=41)
    return Drive(tmp_path)


def test_a_folder_of_videos_becomes_tables_records_and_a_report(
    drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drive() == 0
    assert drive.statuses == {"a.mp4": "done", "cage 1/b.avi": "done"}
    for video in drive.statuses:
        assert {f"predictions/{video}.json", f"windows/{video}.npz", f"boxes/{video}.csv"} <= drive.files
    assert {"intervals.csv", "videos.csv", "run.json", "report.html"} <= drive.files
    assert not [name for name in drive.files if name.startswith((".parts", ".mousetal"))]
    bouts = drive.table("intervals.csv")
    assert [(row["video"], row["behavior"]) for row in bouts] == [
        ("a.mp4", "Self-Grooming"),
        ("cage 1/b.avi", "Self-Grooming"),
    ]
    # Windows 2 to 4 start at frames 8, 12 and 16 and see 8 frames each.
    assert 8 <= int(bouts[0]["start_frame"]) < int(bouts[0]["end_frame"]) <= 24
    assert "2 done, 0 skipped, 0 failed of 2 videos" in capsys.readouterr().out


def test_the_run_is_described(drive: Drive) -> None:
    assert drive(None, "--max-gap-s", "0.25") == 0
    run = json.loads((drive.output / "run.json").read_text())
    assert run["settings"]["max_gap_s"] == 0.25
    assert run["models"]["classifier"]["sha256"] == CLASSIFIER.sha256
    assert run["models"]["detector"]["device"] == "cpu"
    assert run["reference_compat"] is False
    assert run["videos"] == {"done": 2, "failed": 0, "skipped": 0}
    assert set(run["stages"]) == {"decode", "detect", "crop", "classify"}
    assert run["stages"]["decode"]["items"] >= 99
    assert run["packages"]["av"] != "unknown"


def test_finished_videos_are_skipped_and_stay_in_the_tables(drive: Drive) -> None:
    assert drive() == 0
    first = (drive.output / "intervals.csv").read_bytes()
    models = FakeModels()
    assert drive(models) == 0
    assert set(drive.statuses.values()) == {"skipped"}
    assert models.frames_detected == []
    assert (drive.output / "intervals.csv").read_bytes() == first


def test_a_new_video_costs_only_itself(drive: Drive) -> None:
    assert drive() == 0
    write_video(drive.videos / "new.mp4", num_frames=20)
    models = FakeModels()
    assert drive(models) == 0
    assert drive.statuses == {"a.mp4": "skipped", "cage 1/b.avi": "skipped", "new.mp4": "done"}
    assert max(models.frames_detected) < 20


@pytest.mark.parametrize(
    "change", ["content", "detector", "classifier", "bout rules", "threshold", "gap", "compat", "force", "damage"]
)
def test_a_video_is_done_again_when_what_it_was_made_from_has_changed(drive: Drive, change: str) -> None:
    assert drive() == 0
    models, flags = FakeModels(), []
    if change == "content":
        write_video(drive.videos / "a.mp4", num_frames=61)
    elif change == "detector":
        models.detector = replace(DETECTOR, sha256="e" * 64)
    elif change == "classifier":
        models.classifier = replace(CLASSIFIER, sha256="e" * 64)
    elif change == "bout rules":
        models.classifier = replace(CLASSIFIER, rules=(replace(CLASSIFIER.rules[0], threshold=0.7),) * 3)
    elif change == "threshold":
        models.detector = replace(DETECTOR, score_threshold=0.7)
    elif change == "gap":
        flags = ["--max-gap-s", "1"]
    elif change == "compat":
        flags = ["--reference-compat"]
    elif change == "force":
        flags = ["--force"]
    else:
        records.windows_path(drive.output, "a.mp4").write_bytes(b"damaged")
    assert drive(models, *flags) == 0
    assert drive.statuses["a.mp4"] == "done"
    is_about_one_video = change in ("content", "damage")
    assert drive.statuses["cage 1/b.avi"] == ("skipped" if is_about_one_video else "done")


def test_another_device_or_name_of_a_model_changes_nothing(drive: Drive) -> None:
    assert drive() == 0
    assert drive(FakeModels(classifier=replace(CLASSIFIER, device="cuda:0", name="renamed"))) == 0
    assert set(drive.statuses.values()) == {"skipped"}


def test_a_single_file_is_named_by_its_own_name(drive: Drive) -> None:
    assert drive(None, "--input", str(drive.videos / "a.mp4"), "--formats", "reference") == 0
    assert drive.statuses == {"a.mp4": "done"}
    assert "a.mp4/predictions/a.mp4.json" in drive.files


def test_foreign_formats_are_written_where_the_reference_system_had_them(drive: Drive) -> None:
    assert drive(None, "--formats", "supervisely,reference") == 0
    (record,) = json.loads((drive.output / "videos/predictions/a.mp4.json").read_text())
    assert record["label"] == 1
    project = drive.output / "videos" / "SLY_project"
    assert supervisely.is_project(project)
    assert list(supervisely.datasets(project)) == ["predictions", "predictions/datasets/cage 1"]
    read = supervisely.read_annotation(project / "predictions" / "ann" / "a.mp4.json")
    bout = drive.table("intervals.csv")[0]
    assert read.tags[0].frames is not None
    assert read.tags[0].frames.end_frame == int(bout["end_frame"])
    assert {figure.box_xyxy for figure in read.figures} == {(20, 16, 50, 40)}
    assert "videos/SLY_project/predictions/datasets/cage 1/ann/b.avi.json" in drive.files
    assert handover.stranger(drive.output) is None, "all is known as ours"


def test_a_format_asked_for_later_is_made_from_what_is_there(drive: Drive) -> None:
    assert drive() == 0
    models = FakeModels()
    assert drive(models, "--formats", "reference") == 0
    assert models.frames_detected == []
    assert "videos/predictions/cage 1/b.avi.json" in drive.files


def test_a_supervisely_project_is_an_input(drive: Drive, tmp_path: Path) -> None:
    project = tmp_path / "project"
    for dataset in ("one", "one/datasets/in"):
        (project / dataset / "video").mkdir(parents=True)
        write_video(project / dataset / "video" / "a.mp4", num_frames=20)
    (project / "meta.json").write_text("{}")
    assert drive(None, "--input", str(project), "--formats", "supervisely,reference") == 0
    assert drive.statuses == {"one/datasets/in/video/a.mp4": "done", "one/video/a.mp4": "done"}
    assert "project/predictions/one/datasets/in/a.mp4.json" in drive.files
    assert "project/SLY_project/one/datasets/in/ann/a.mp4.json" in drive.files


def test_settings_come_from_a_file_in_the_current_directory(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    (drive.folder / ".env").write_text("FORMATS=reference\n")
    assert drive() == 0
    assert "videos/predictions/a.mp4.json" in drive.files


def test_a_service_that_dies_is_waited_for_and_the_video_goes_on(drive: Drive) -> None:
    whole = FakeModels()
    assert drive(whole) == 0
    expected = records.read_video(drive.output, "a.mp4")
    calls: list[str] = []
    models = FakeModels(before_classify=failing(3, gone(), times=2), on_recover=lambda: calls.append("recovered"))
    assert drive(models, "--force") == 0
    assert calls == ["recovered", "recovered"]
    assert sorted(set(models.windows_classified)) == sorted(set(whole.windows_classified))
    assert len(models.windows_classified) == len(whole.windows_classified), "no window was classified twice"
    assert_same_result(expected, records.read_video(drive.output, "a.mp4"))


def test_a_service_that_stays_away_ends_the_batch_in_one_line(drive: Drive, capsys: pytest.CaptureFixture[str]) -> None:
    def stay_away() -> None:
        raise gone()

    models = FakeModels(before_classify=failing(3, gone(), times=99), on_recover=stay_away)
    assert drive(models) == 1
    assert set(drive.statuses.values()) == {"failed"}
    assert set(drive.reasons.values()) == {"not run: the MVD service cannot be reached"}
    assert capsys.readouterr().err.splitlines()[-1] == "error: the MVD service cannot be reached"
    models = FakeModels()
    assert drive(models) == 0
    assert models.windows_classified[0] > 0, "what was found before is kept"


def test_a_video_that_kills_the_service_every_time_costs_only_itself(drive: Drive) -> None:
    most = video_job.MOST_RETRIES + 1
    models = FakeModels(before_classify=failing(2, gone(), times=most))
    assert drive(models) == 1
    assert drive.statuses == {"a.mp4": "failed", "cage 1/b.avi": "done"}
    assert f"a service went away {most} times at the same place" in drive.reasons["a.mp4"]


def test_retries_in_a_row_are_further_and_further_apart(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [video_job.pause_s(retries) for retries in (1, 2, 3)] == [0, 0, 0]
    monkeypatch.setattr(video_job, "FIRST_PAUSE_S", 0.2)
    assert [video_job.pause_s(retries) for retries in (1, 2, 3)] == [0, 0.2, 0.4]
    died: list[float] = []
    recovered: list[float] = []

    def die() -> None:
        died.append(time.monotonic())
        if len(died) <= video_job.MOST_RETRIES:
            raise gone()

    models = FakeModels(before_classify=die, on_recover=lambda: recovered.append(time.monotonic()))
    assert drive(models) == 0
    for retries, (death, recovery) in enumerate(zip(died, recovered, strict=False), 1):
        assert recovery - death >= video_job.pause_s(retries)
    assert len(recovered) == video_job.MOST_RETRIES


@pytest.mark.parametrize("every_s", [0.0, 3600.0], ids=["many parts", "one part"])
def test_an_interrupted_video_goes_on_where_it_stopped(
    drive: Drive, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, every_s: float
) -> None:
    whole = FakeModels()
    assert drive(whole) == 0
    expected = {video: records.read_video(drive.output, video) for video in drive.statuses}
    monkeypatch.setattr(video_job, "PART_EVERY_S", every_s)
    models = FakeModels(before_classify=failing(3, KeyboardInterrupt()))
    assert drive(models, "--force") == 130
    assert "run the same command again" in capsys.readouterr().err
    assert set(drive.reasons.values()) == {"not run: interrupted"}
    assert any(name.startswith(".parts/a.mp4/") for name in drive.files)
    assert handover.stranger(drive.output) is None, "what is left of an interrupted run is known as ours"
    for video in expected:  # or the first run's results would be taken for finished work
        records.remove_video(drive.output, video)
    again = FakeModels()
    assert drive(again) == 0
    assert models.windows_classified + again.windows_classified == whole.windows_classified, "none twice, none lost"
    assert again.frames_detected[0] > 0, "frames whose boxes are known are not asked for again"
    for video, result in expected.items():
        assert_same_result(result, records.read_video(drive.output, video))
    assert not [name for name in drive.files if name.startswith(".parts")]


def test_a_defect_met_on_one_video_leaves_a_report_and_spares_the_others(
    drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    models = FakeModels(before_classify=failing(1, ZeroDivisionError("made up")))
    assert drive(models) == 3
    assert drive.statuses == {"a.mp4": "failed", "cage 1/b.avi": "done"}
    assert "a defect of mousetal" in drive.reasons["a.mp4"]
    report = (drive.output / "defect.txt").read_text()
    assert "ZeroDivisionError: made up" in report
    assert handover.stranger(drive.output) is None
    assert "Traceback" in report
    last = capsys.readouterr().err.splitlines()[-1]
    assert "defect.txt" in last
    assert "Traceback" not in last


def test_two_drivers_in_one_output_are_refused(drive: Drive, capsys: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    models = FakeModels(before_classify=lambda: codes.append(drive()) if not codes else None)
    assert drive(models) == 0
    assert codes == [1]
    assert "in use by another driver" in capsys.readouterr().err


def test_the_story_of_a_run_is_told_in_one_line_per_video(drive: Drive, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert drive() == 0
    told = [record.getMessage() for record in caplog.records if record.name.startswith("inference_script.batch")]
    assert len(told) == 2
    assert re.match(r"Video done\. video=a\.mp4 bouts=1 frames=60 seconds=[\d.]+ warnings=0", told[0])


def test_the_models_names_for_classes_are_used_and_nothing_else(drive: Drive) -> None:
    renamed = replace(CLASSIFIER, classes=("rest", "lick", "shake"))
    assert drive(FakeModels(classifier=renamed)) == 0
    assert {row["behavior"] for row in drive.table("intervals.csv")} == {"lick"}
    assert "Self-Grooming" not in (drive.output / "predictions" / "a.mp4.json").read_text()


def test_windows_can_be_scored_again_without_the_video(drive: Drive) -> None:
    assert drive(None, "--detect-every", "1") == 0
    (drive.videos / "a.mp4").unlink()
    result = records.read_video(drive.output, "a.mp4")
    assert len(result.scores) == len({score.window.index for score in result.scores}) > 10
    assert np.isfinite(result.posteriors).all()
    assert [box.source for box in result.boxes] == ["detected"] * len(result.boxes)


def test_by_default_the_detector_looks_at_some_frames_only(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    still = videos.picture(0, *videos.TINY)
    monkeypatch.setattr(videos, "picture", lambda *_: still)
    videos.write_video(drive.videos / "a.mp4", num_frames=60)  # on which nothing moves
    assert drive() == 0
    result = records.read_video(drive.output, "a.mp4")
    assert {box.source for box in result.boxes} == {"detected", "interpolated"}


def test_compat_writes_the_reference_systems_windows(drive: Drive) -> None:
    assert drive(None, "--reference-compat", "--formats", "reference,supervisely") == 0
    text = (drive.output / "videos/predictions/a.mp4.json").read_text()
    (record,) = json.loads(text)
    assert text == json.dumps([record], indent=4)
    project = drive.output / "videos/SLY_project"
    annotation = json.loads((project / "predictions/ann/a.mp4.json").read_text())
    assert [tag["frameRange"] for tag in annotation["tags"]] == [record["frame_range"]] * 2
    assert annotation["frames"] == annotation["objects"] == []
    assert json.loads((project / "meta.json").read_text())["classes"] == []
    assert record["frame_range"] == [8, 24], "from the first frame of window 2 to the last of window 4, plus the rate"
    assert record["confidence"] == pytest.approx(0.8)
    last = records.read_video(drive.output, "a.mp4").scores[-1].window
    assert last.frames.end_frame - last.frames.start_frame == 8


STOPPABLE = """
import signal, sys, time
from inference_script import __main__ as driver
from tests.fixtures.driver import Drive, FakeModels
from pathlib import Path

signal.signal(signal.SIGTERM, driver._interrupt)
calls = []

def hang():
    calls.append(1)
    if len(calls) == 3:
        print("mid-video", flush=True)
        for _ in range(600):  # in short naps: Python may sleep through a signal that comes as a nap begins
            time.sleep(0.1)

sys.exit(Drive(Path(sys.argv[1]))(FakeModels(before_classify=hang)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_keeps_what_is_found(drive: Drive, root: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", STOPPABLE, str(drive.folder)],
        cwd=drive.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mid-video\n"
        stopped_at = time.monotonic()
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert time.monotonic() - stopped_at < 8, "docker gives ten seconds"
    assert "Traceback" not in told
    assert any(name.startswith(".parts/a.mp4/") for name in drive.files)
    models = FakeModels()
    assert drive(models) == 0
    assert models.windows_classified[0] > 0
