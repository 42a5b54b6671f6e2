"""The driver with real services around tiny random models: it starts them, loses them, or says why not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import mousetal.mvd
from inference_script import models as driver_models
from inference_script import video_job
from inference_script.__main__ import main
from mousetal import records
from mousetal.types import ClipBatch, Float32Array
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.detectors import saved_detector
from tests.fixtures.driver import Drive
from tests.fixtures.servers import serving_detector, serving_mvd
from tests.fixtures.toys import ToyClassifier, ToyDetector
from tests.fixtures.videos import write_video

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `mvd` and `detector`, random and tiny; the detector keeps every box."""
    folder = tmp_path_factory.mktemp("models")
    saved_detector(folder / "detector", score_threshold=0.01)
    mousetal.mvd.save(folder / "mvd", tiny_network(), tiny_config(), "# A random classifier for tests\n")
    return folder


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drive:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "videos" / name, num_frames=60)
    return Drive(tmp_path)


def embedded(drive: Drive, folder: Path, *flags: str) -> int:
    """Run the driver with services of its own."""
    own = ["--model-dir", str(folder / "mvd"), "--detector-dir", str(folder / "detector"), "--threads", "1"]
    return main(["--input", str(drive.videos), "--output", str(drive.output), "--device", "cpu", *own, *flags])


def test_the_driver_starts_services_loses_one_and_finishes(
    drive: Drive, model_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify, killed = driver_models.RemoteModels.classify, []

    def classify_and_kill(self: driver_models.RemoteModels, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        for answer in classify(self, batches):
            yield answer
            if not killed:
                assert self._own is not None
                killed.append(self._own.mvd.pid)
                os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(driver_models.RemoteModels, "classify", classify_and_kill)
    assert embedded(drive, model_folders) == 0
    assert killed
    assert set(drive.statuses.values()) == {"done"}
    for video in drive.statuses:
        scores = records.read_video(drive.output, video).scores
        assert [score.window.index for score in scores] == list(range(len(scores)))
        assert all(np.isfinite(score.probabilities).all() for score in scores)


@pytest.fixture
def broken(tmp_path: Path, model_folders: Path) -> Path:
    """A copy of the model folders that may be spoilt."""
    return Path(shutil.copytree(model_folders, tmp_path / "models"))


def failed_start(drive: Drive, folder: Path, capsys: Capture, code: int, *flags: str) -> str:
    """The message with which a run ends that never got its models; ``code`` is its exit code."""
    assert embedded(drive, folder, *flags) == code
    told = capsys.readouterr().err
    assert told.count("error: ") == 1
    assert "Traceback" not in told
    assert not (drive.output / "videos.csv").exists()
    return told[told.index("error: ") :]


def test_a_model_folder_that_is_not_there(drive: Drive, model_folders: Path, capsys: Capture) -> None:
    assert embedded(drive, model_folders, "--model-dir", "lost") == 2
    assert re.fullmatch(
        r"error: MODEL_DIR: expected .*, found nothing at .*/lost\.", capsys.readouterr().err.splitlines()[-1]
    )


def test_a_model_of_the_wrong_kind(drive: Drive, model_folders: Path, capsys: Capture) -> None:
    told = failed_start(drive, model_folders, capsys, 1, "--model-dir", str(model_folders / "detector"))
    assert "mvd" in told
    assert str(model_folders / "detector") in told


def test_a_model_with_wrong_tensors_is_refused_with_their_list(drive: Drive, broken: Path, capsys: Capture) -> None:
    path = broken / "mvd" / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors["unheard.of"] = tensors.pop(name)
    save_file(tensors, path)
    told = failed_start(drive, broken, capsys, 1)
    assert name in told
    assert "unheard.of" in told


def test_class_names_that_are_not_as_many_as_the_model_has(drive: Drive, model_folders: Path, capsys: Capture) -> None:
    told = failed_start(drive, model_folders, capsys, 2, "--class-names", "idle,Self-Grooming")
    assert re.search(r"\b3\b.*\b2\b|\b2\b.*\b3\b", told), told


def test_services_that_are_not_there(drive: Drive, capsys: Capture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        elsewhere = ["--detector-address", address, "--mvd-address", address, "--start-timeout-s", "0.3"]
        code = main(["--input", str(drive.videos), "--output", str(drive.output), *elsewhere])
    assert code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"error: the detector service at {address} is not ready after 0.3 s (START_TIMEOUT_S)")


def test_a_service_that_hangs_ends_the_batch_and_not_the_night(
    drive: Drive, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_job, "FIRST_PAUSE_S", 0.0)
    for name in ("c.mp4", "d.mp4"):
        write_video(drive.videos / name, num_frames=60)
    classifier = ToyClassifier()
    with serving_detector(ToyDetector()) as detector, serving_mvd(classifier) as mvd:
        classifier.gate.close()
        elsewhere = ["--detector-address", detector, "--mvd-address", mvd, "--service-timeout-s", "0.2"]
        code = main(["--input", str(drive.videos), "--output", str(drive.output), *elsewhere])
        classifier.gate.open()
    assert code == 1
    assert "gave no answer within 0.2 s (SERVICE_TIMEOUT_S)" in drive.reasons["a.mp4"]
    assert "not run" in drive.reasons["d.mp4"]
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: a service gave out on 2 videos in a row")


def test_names_that_contradict_a_running_service(drive: Drive, capsys: Capture) -> None:
    with serving_detector(ToyDetector()) as detector, serving_mvd(ToyClassifier()) as mvd:
        elsewhere = ["--detector-address", detector, "--mvd-address", mvd, "--class-names", "a,b,c"]
        assert main(["--input", str(drive.videos), "--output", str(drive.output), *elsewhere]) == 2
    assert "CLASS_NAMES: expected the classes of the MVD service (idle, grooming, twitch)" in capsys.readouterr().err
