"""A service as a process of its own: signals, sudden death, exit codes, the line it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_script.clients import DetectorClient
from mousetal.errors import ServiceUnavailable
from mousetal.types import DetectorBatch
from tests.fixtures.servers import child
from tests.fixtures.toys import frames
from tests.fixtures.toyservice import HELD

TIMEOUT_S = 60


class Hold:
    """The other ends of a `HeldDetector`'s fifos."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        os.mkfifo(folder / "arrived")
        os.mkfifo(folder / "go")

    def wait_for_arrival(self) -> None:
        (self._folder / "arrived").read_bytes()

    def let_go(self) -> None:
        (self._folder / "go").write_bytes(b"!")


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hold:
    monkeypatch.setenv("HOLD_FOLDER", str(tmp_path))
    return Hold(tmp_path)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/d.sock"


@pytest.fixture
def process(tmp_path: Path, address: str, hold: Hold) -> Iterator[subprocess.Popen[bytes]]:
    """A toy service, ready."""
    with toy_service(tmp_path, "--listen", address) as process:
        with DetectorClient(address) as client:
            client.wait_until_ready(TIMEOUT_S)
        yield process


def toy_service(folder: Path, *flags: str):  # type: ignore[no-untyped-def]
    arguments = ("-m", "tests.fixtures.toyservice", "--detector-dir", str(folder), "--stop-with-stdin", *flags)
    return child(*arguments, log_path=folder / "log")


def test_sigterm_answers_what_is_in_flight_and_exits_with_0(
    process: subprocess.Popen[bytes], address: str, hold: Hold, tmp_path: Path
) -> None:
    answered, more = threading.Event(), threading.Event()

    def batches() -> Iterator[DetectorBatch]:
        yield frames(1)
        answered.wait(TIMEOUT_S)  # or the model might take both at once, and hold both
        yield frames(2, pixel=HELD)
        more.wait(TIMEOUT_S)

    with DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        running = client.detect(batches())
        assert next(running)[0].frame_index == 1
        answered.set()
        hold.wait_for_arrival()
        process.send_signal(signal.SIGTERM)
        hold.let_go()
        assert next(running)[0].frame_index == 2
        with pytest.raises(ServiceUnavailable):
            next(running)
        more.set()
    assert process.wait(TIMEOUT_S) == 0
    assert "stopping: finishing what is in flight." in (tmp_path / "log").read_text()


def test_a_service_killed_half_way_is_unavailable_and_can_be_used_again_once_it_is_back(
    process: subprocess.Popen[bytes], address: str, hold: Hold, tmp_path: Path
) -> None:
    answered = threading.Event()

    def batches() -> Iterator[DetectorBatch]:
        yield frames(1)
        answered.wait(TIMEOUT_S)  # or the model might take both at once, and hold both
        yield frames(2, pixel=HELD)

    with DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        running = client.detect(batches())
        assert next(running)[0].frame_index == 1
        answered.set()
        hold.wait_for_arrival()
        process.kill()
        with pytest.raises(ServiceUnavailable, match="cannot be reached or went away"):
            next(running)
        process.wait(TIMEOUT_S)
        with toy_service(tmp_path, "--listen", address):
            client.wait_until_ready(TIMEOUT_S)
            assert len(list(client.detect([frames(3)]))) == 1


def test_ctrl_c_exits_with_130(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130


def test_a_service_ends_when_its_parent_s_pipe_closes(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(TIMEOUT_S) == 0


def test_the_log_tells_where_it_listens_and_what_it_serves(
    process: subprocess.Popen[bytes], address: str, tmp_path: Path
) -> None:
    text = (tmp_path / "log").read_text()
    assert f"listening. address={address} tls=False" in text
    assert f"ready. address={address} model=toy-detector sha256=dddddddddddd device=cpu classes=mouse,rat" in text


@pytest.mark.parametrize(
    ("service", "flags", "code", "line"),
    [
        (
            "detector",
            "--detector-dir /no/such/folder",
            2,
            "DETECTOR_DIR: expected a model folder, found nothing at /no",
        ),
        ("detector", "--env {folder}/blank.env", 2, "DETECTOR_DIR is not set"),
        ("mvd", "--model-dir /no/such/folder", 2, "MODEL_DIR: expected a model folder, found nothing at /no"),
        ("mvd", "--model-dir {folder}", 1, "{folder}"),
        ("mvd", "--model-dir {folder} --device tpu", 2, "DEVICE: expected auto, cpu, cuda or cuda:N, got 'tpu'"),
    ],
)
def test_a_service_that_cannot_start_leaves_one_clear_line(
    tmp_path: Path, service: str, flags: str, code: int, line: str
) -> None:
    folder = tmp_path / "no-model"
    folder.mkdir()
    (folder / "blank.env").touch()
    given = flags.format(folder=folder).split()
    listen = f"unix:{tmp_path}/s.sock"
    program = ("-m", f"mousetal.services.{service}", "--listen", listen, "--device", "cpu")
    with child(*program, *given, log_path=tmp_path / "log") as process:
        assert process.wait(TIMEOUT_S) == code
    text = (tmp_path / "log").read_text()
    assert text.splitlines()[-1].startswith(f"error: {line.format(folder=folder)}"), text
    assert "Traceback" not in text
