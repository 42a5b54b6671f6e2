"""Both model services as child processes of the driver, for use without Docker: same services, same calls.

    with embedded.services(found, log_dir=found.output / "logs") as running:
        detector = DetectorClient(running.detector.address)

They listen on unix sockets in a private folder and end with the driver, however it ends: each holds the read end of a
pipe that only the driver keeps open. Ctrl-C in the terminal does not reach them, so that the driver can finish first.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import mousetal
from inference_script.clients import DetectorClient, MvdClient
from mousetal import settings
from mousetal.errors import ModelError, MousetalError, ServiceError, SettingsError
from mousetal.settings import DriverSettings

log = logging.getLogger(__name__)

#: How long a service may take to finish its batch after SIGTERM, before it is killed.
STOP_TIMEOUT_S = 10.0

#: A unix socket's path may have 104 bytes (macOS) or 108 (Linux), the name of the socket included.
LONGEST_FOLDER = 80

PROGRAMS = {"detector": "mousetal.services.detector", "mvd": "mousetal.services.mvd"}
_CLIENTS = {"detector": DetectorClient, "mvd": MvdClient}
_ERRORS: dict[int, type[MousetalError]] = {1: ModelError, 2: SettingsError}


class Service:
    """One service as a child process: its address, its log, its life."""

    def __init__(self, kind: str, folder: Path, log_path: Path, environment: Mapping[str, str]) -> None:
        self.kind = kind
        self.address = f"unix:{folder / kind}.sock"
        self.log_path = log_path
        self._folder = folder
        self._environment = {**environment, "LISTEN": self.address}
        self.log_path.unlink(missing_ok=True)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log_file:
            return subprocess.Popen(
                [sys.executable, "-m", PROGRAMS[self.kind], "--stop-with-stdin"],
                env=self._environment,
                cwd=self._folder,  # where no .env lies: everything they need is in the environment
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self, timeout_s: float, check: Callable[[], None]) -> None:
        """Wait for health; ``check`` may give up earlier. Raises ServiceUnavailable after the time."""
        with _CLIENTS[self.kind](self.address) as client:
            client.wait_until_ready(timeout_s, check)
        for line in self._lines():
            if " WARNING " in line:
                log.warning("%s service: %s", self.kind, line.partition(" WARNING ")[2])

    def check(self) -> None:
        """Raise what ended the service, in its own words, if it has ended."""
        code = self._process.poll()
        if code is None:
            return
        lines = self._lines()
        errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        if code in _ERRORS and errors:
            # Its last words may take several lines, as a list of tensors that do not fit does.
            words = "\n".join(lines[errors[-1] :]).removeprefix("error: ")
            raise _ERRORS[code](f"the {self.kind} service did not start: {words}")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        last = (lines or ["nothing"])[-1]
        raise ServiceError(f"the {self.kind} service {how}. Last line of its log {self.log_path}: {last}")

    def restart_if_dead(self, timeout_s: float) -> None:
        """Start the service again when it has ended, and wait until it is ready."""
        if self.is_running:
            return
        log.warning("a service has ended and is started again. service=%s code=%s", self.kind, self._process.returncode)
        self._close_pipe()
        self._process = self._start()
        self.wait_until_ready(timeout_s, self.check)

    def stop(self) -> None:
        """Ask the service to finish, and kill it when it does not."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.warning("a service does not stop and is killed. service=%s", self.kind)
            self._process.kill()
            self._process.wait()
        finally:
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _lines(self) -> list[str]:
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if line.strip()]


class Services:
    """Both services."""

    def __init__(self, detector: Service, mvd: Service) -> None:
        self.detector = detector
        self.mvd = mvd

    def restart_dead(self, timeout_s: float) -> None:
        """Bring back whichever has ended, so that work which failed with ServiceUnavailable can be retried."""
        for service in (self.detector, self.mvd):
            service.restart_if_dead(timeout_s)


@contextmanager
def services(found: DriverSettings, log_dir: Path | None = None) -> Iterator[Services]:
    """Both services, loaded and ready; they are stopped on leaving.

    Their logs go to ``log_dir`` (None: the private folder, gone afterwards). Raises ModelError or SettingsError with
    the service's own words when one cannot start, ServiceUnavailable when one is not ready by ``start_timeout_s``.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(_private_folder()))
        logs = log_dir or folder
        logs.mkdir(parents=True, exist_ok=True)
        environment = _environment(found)
        deadline = time.monotonic() + found.start_timeout_s
        started: list[Service] = []

        def check_all() -> None:
            for service in started:
                service.check()

        for kind in PROGRAMS:
            service = Service(kind, folder, logs / f"{kind}.log", environment)
            stack.callback(service.stop)
            started.append(service)
        for service in started:
            service.wait_until_ready(max(0.1, deadline - time.monotonic()), check_all)
        yield Services(*started)


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    place = tempfile.gettempdir() if len(tempfile.gettempdir()) <= LONGEST_FOLDER else "/tmp"
    return tempfile.TemporaryDirectory(prefix="mousetal-", dir=place, ignore_cleanup_errors=True)


def _environment(found: DriverSettings) -> dict[str, str]:
    """The driver's settings as the services read them. Blank beats a `.env` and means the default."""
    environment = settings.child_environment(
        {
            "DETECTOR_DIR": str(found.detector_dir),
            "MODEL_DIR": str(found.model_dir),
            "DEVICE": found.device,
            "PRECISION": found.precision,
            "BACKEND": found.backend,
            "COMPILE": str(int(found.compile)),
            "CLASS_NAMES": ",".join(found.class_names or ()),
            "THREADS": str(found.threads),
            "LOG_LEVEL": found.log_level,
            # The sockets lie in a folder that only this user may enter.
            "TLS_CERT": "",
            "TLS_KEY": "",
            "TLS_CA": "",
        }
    )
    package = str(Path(mousetal.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
    return environment
