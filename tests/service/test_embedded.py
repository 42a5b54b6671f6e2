"""Services as the driver's own children: started, watched, restarted, and never left behind."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import mousetal.mvd
from inference_script import embedded
from inference_script.clients import DetectorClient, MvdClient
from mousetal.errors import ModelError, ServiceError, ServiceUnavailable, SettingsError
from tests.fixtures import classifiers, detectors
from tests.fixtures.embeddingdriver import TIMEOUT_S, TOYS, driver_settings
from tests.fixtures.servers import child
from tests.fixtures.toys import clips, frames


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The children serve toys."""
    monkeypatch.setattr(embedded, "PROGRAMS", TOYS)


@contextmanager
def exits(*pids: int) -> Iterator[None]:
    """On leaving, wait until these processes, children or not, have ended."""
    handles = [os.pidfd_open(pid) for pid in pids]
    yield
    for handle in handles:
        assert select.select([handle], [], [], TIMEOUT_S)[0], "a process lives on"
        os.close(handle)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Services]:
    """Toy services that no test harms."""
    folder = tmp_path_factory.mktemp("running")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "PROGRAMS", TOYS)
        with embedded.services(driver_settings(folder), folder / "logs") as running:
            patch.undo()  # other tests of this module start real ones
            yield running


def test_both_services_answer(running: embedded.Services) -> None:
    with DetectorClient(running.detector.address) as detector, MvdClient(running.mvd.address) as mvd:
        assert len(list(detector.detect([frames(1)]))) == 1
        assert len(list(mvd.classify([clips(1)]))) == 1
    for service in (running.detector, running.mvd):
        assert "ready." in service.log_path.read_text()


def test_ctrl_c_in_the_terminal_does_not_reach_the_children(running: embedded.Services) -> None:
    assert os.getpgid(running.detector.pid) != os.getpgid(os.getpid())


def test_the_sockets_lie_where_only_this_user_may_enter(running: embedded.Services) -> None:
    folder = Path(running.detector.address.removeprefix("unix:")).parent
    assert folder.stat().st_mode & 0o077 == 0


def test_a_service_that_was_killed_can_be_brought_back_and_both_end_with_the_block(toys: None, tmp_path: Path) -> None:
    with (
        ExitStack() as after,
        embedded.services(driver_settings(tmp_path)) as running,
        DetectorClient(running.detector.address) as client,
    ):
        with exits(running.detector.pid):
            os.kill(running.detector.pid, signal.SIGKILL)
        with pytest.raises(ServiceUnavailable):
            list(client.detect([frames(1)]))
        mvd_before = running.mvd.pid
        running.restart_dead(TIMEOUT_S)
        client.wait_until_ready(TIMEOUT_S)
        assert len(list(client.detect([frames(1)]))) == 1
        assert running.mvd.pid == mvd_before
        after.enter_context(exits(running.detector.pid, running.mvd.pid))


@pytest.mark.parametrize(
    ("model_name", "error", "message"),
    [
        ("broken", ModelError, r"the mvd service did not start: .*broken: missing head\.weight"),
        ("deadly", ServiceError, r"the mvd service was killed by signal 9\. Last line of its log .*: .*listening\."),
    ],
)
def test_a_service_that_dies_at_start_is_quoted(
    toys: None, tmp_path: Path, model_name: str, error: type[Exception], message: str
) -> None:
    found = driver_settings(tmp_path, model_name)
    with pytest.raises(error, match=message), embedded.services(found, tmp_path / "logs"):
        pass


def test_a_missing_folder_is_a_wrong_setting(toys: None, tmp_path: Path) -> None:
    found = driver_settings(tmp_path)
    (tmp_path / "mvd").rmdir()
    with pytest.raises(SettingsError, match="MODEL_DIR: expected a model folder"), embedded.services(found):
        pass


def test_the_children_end_when_the_driver_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the driver no time to stop anybody."""
    os.mkfifo(tmp_path / "pids")
    arguments = ("-m", "tests.fixtures.embeddingdriver", str(tmp_path))
    with child(*arguments, log_path=tmp_path / "log") as driver:
        pids = [int(word) for word in first_line(tmp_path / "pids").split()]
        with exits(*pids):
            driver.kill()
    assert len(pids) == 2


def first_line(fifo: Path) -> str:
    """What comes out of a fifo, waited for no longer than the time limit."""
    handle = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert select.select([handle], [], [], TIMEOUT_S)[0], "nobody wrote"
    text = os.read(handle, 1000).decode()
    os.close(handle)
    return text


@pytest.mark.slow
def test_real_services_with_tiny_networks(tmp_path: Path) -> None:
    found = driver_settings(tmp_path)
    detectors.saved_detector(tmp_path / "detector")
    mousetal.mvd.save(tmp_path / "mvd", classifiers.tiny_network(), classifiers.tiny_config(), "# For tests")
    with (
        embedded.services(found, tmp_path / "logs") as running,
        DetectorClient(running.detector.address) as detector,
        MvdClient(running.mvd.address) as mvd,
    ):
        (boxes,) = detector.detect([detectors.random_batch(2)])
        (probabilities,) = mvd.classify([clips(1, 2, spec=mvd.spec())])
    assert len(boxes) == 2
    assert probabilities.shape == (2, 3)
