"""A real driver with real services of its own is told to stop in the middle of a video, and goes on the next night."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import mousetal.mvd
from mousetal.types import BoutRule
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.detectors import saved_detector
from tests.fixtures.driver import Drive
from tests.fixtures.videos import write_video

VIDEO = "a.mp4"
# `python -m inference_script`, but for parts that are stored so often that a test need not wait for one.
PROGRAM = """
import runpy
from inference_script import video_job
video_job.PART_EVERY_S = 0.1
runpy.run_module("inference_script", run_name="__main__", alter_sys=True)
"""
START_S = 120.0  # for two services on a machine that has other things to do
STOP_S = 10.0  # docker gives no more
RULES = (BoutRule(), BoutRule(), BoutRule(0.326, 0.324))  # by which a random network finds bouts


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """One video, long enough to be stopped in, and the folders of two tiny models that find something in it."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / VIDEO, num_frames=600)
    saved_detector(tmp_path / "detector", score_threshold=0.01)
    mousetal.mvd.save(
        tmp_path / "mvd", tiny_network(seed=4), tiny_config(bouts=RULES), "# A random classifier for tests\n"
    )
    return Drive(tmp_path)


def start(drive: Drive, root: Path, output: str) -> subprocess.Popen[str]:
    models = ["--model-dir", "mvd", "--detector-dir", "detector", "--device", "cpu", "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--input", "videos", "--output", output, *models],
        cwd=drive.folder,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str], timeout_s: float) -> str:
    """What the process said on stderr by its end."""
    with process:
        try:
            return process.communicate(timeout=timeout_s)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.mark.slow
def test_a_driver_that_is_told_to_stop_leaves_no_service_and_goes_on_where_it_was(drive: Drive, root: Path) -> None:
    stopped = start(drive, root, "output")
    stored = drive.output / ".parts" / VIDEO / "000000.npz"
    deadline = time.monotonic() + START_S
    while not stored.exists():
        assert stopped.poll() is None, finished(stopped, STOP_S)
        assert time.monotonic() < deadline, "no part was stored"
        time.sleep(0.05)
    services = psutil.Process(stopped.pid).children(recursive=True)
    told_at = time.monotonic()
    stopped.send_signal(signal.SIGTERM)
    told = finished(stopped, STOP_S)
    assert time.monotonic() - told_at < STOP_S
    assert stopped.returncode == 130, told
    assert "Traceback" not in told
    assert len(services) >= 2
    assert [service for service in services if service.is_running()] == []
    assert drive.reasons == {VIDEO: "not run: interrupted"}

    whole = start(drive, root, "whole")
    finished(whole, START_S)
    again = start(drive, root, "output")
    told = finished(again, START_S)
    assert (whole.returncode, again.returncode) == (0, 0), told
    assert "Going on from where it stopped. video=a.mp4" in told
    expected, found = (drive.table(f"../{name}/intervals.csv") for name in ("whole", "output"))
    assert len(found) > 2
    # Windows meet in other batches, which may round a probability's last digit the other way.
    for column in ("confidence", "mean_probability"):
        numbers = [[float(row.pop(column)) for row in rows] for rows in (found, expected)]
        assert numbers[0] == pytest.approx(numbers[1], abs=2e-6)
    assert found == expected
