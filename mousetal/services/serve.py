"""What every model service has around its model: port, health, limits, reflection, TLS and an orderly end.

The port is open from the first moment, with grpc.health.v1 saying NOT_SERVING until the model is loaded and has
answered once. SIGTERM says NOT_SERVING, finishes the requests that were read, and exits with 0:

    sys.exit(serve.main("detector", DetectorServicer(), load_detector))
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType, TracebackType
from typing import Any, Literal, Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mousetal import settings
from mousetal.errors import MousetalError, SettingsError
from mousetal.settings import ServiceSettings, TlsFiles
from mousetal.wire import CHANNEL_OPTIONS, uses_tls

log = logging.getLogger(__name__)

#: Calls open at once; one more is refused with RESOURCE_EXHAUSTED. Each driver holds one, a health check another.
MAX_CALLS = 32

#: How long a stopping service waits for the model to finish what it is at. Docker kills after 10 s unless told.
STOP_GRACE_S = 30.0

#: Without this a second service on the same port would start, and each get half of the calls.
_SERVER_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0))


class Servicer(Protocol):
    """One model's side of a server: its RPCs, and when they may begin."""

    service_name: str

    def add_to(self, server: grpc.Server) -> None:
        """Register the RPCs."""

    def open(self, model: Any) -> None:
        """Warm the model, of the servicer's own kind, and accept requests."""

    def stop(self) -> None:
        """Finish the requests that were read and end all calls."""

    def close(self, timeout_s: float) -> None:
        """End the worker, waiting at most so long for what it is at."""


class Server:
    """A gRPC server around one servicer, listening from its creation on, serving from `open` on."""

    def __init__(self, servicer: Servicer, listen: str, tls: TlsFiles | None = None) -> None:
        self._servicer = servicer
        self._health = health.HealthServicer()
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server = grpc.server(
            ThreadPoolExecutor(MAX_CALLS, "call"), options=_SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS
        )
        servicer.add_to(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (servicer.service_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.address = _listen(self._server, listen, tls or TlsFiles())
        self._server.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def open(self, model: Any) -> None:
        """Warm the model, then report SERVING."""
        self._servicer.open(model)
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Report NOT_SERVING, answer what was read, end all calls, end the worker. Safe to repeat."""
        self._health.enter_graceful_shutdown()
        self._servicer.stop()
        self._server.stop(grace_s).wait()
        self._servicer.close(grace_s)

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", self._servicer.service_name):
            self._health.set(name, status)


def main(
    kind: Literal["detector", "mvd"],
    servicer: Servicer,
    load: Callable[[ServiceSettings], Any],
    arguments: list[str] | None = None,
) -> int:
    """Run one service until it is told to stop; returns the exit code.

    0 after SIGTERM, 1 when the model cannot be loaded, 2 when the settings are wrong, 3 for a defect, 130 after Ctrl-C.
    """
    try:
        parser = argparse.ArgumentParser(prog=f"python -m mousetal.services.{kind}", description=load.__doc__)
        parser.add_argument("--stop-with-stdin", action="store_true", help="stop when standard input closes")
        parsed = settings.add_flags(parser, kind).parse_args(arguments)
        found = settings.read_service(kind, parsed)
        logging.basicConfig(level=found.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for note in found.notes:
            log.warning("%s", note)
        return _serve(found, servicer, load, parsed.stop_with_stdin)
    except MousetalError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    except Exception:
        log.exception("the service ended by a defect of its own.")
        sys.stderr.write("error: internal error, see the traceback above\n")
        return 3


def _serve(
    found: ServiceSettings, servicer: Servicer, load: Callable[[ServiceSettings], Any], stop_with_stdin: bool
) -> int:
    if not found.model_dir.exists():
        key = "DETECTOR_DIR" if found.kind == "detector" else "MODEL_DIR"
        raise SettingsError(f"{key}: expected a model folder, found nothing at {found.model_dir}.")
    signals = _Signals()
    if stop_with_stdin:
        threading.Thread(target=_stop_at_end_of_stdin, name="stdin", daemon=True).start()
    with Server(servicer, found.listen, found.tls) as server:
        started = time.monotonic()
        log.info(
            "listening. address=%s tls=%s model_dir=%s",
            server.address,
            uses_tls(found.listen, found.tls),
            found.model_dir,
        )
        model = load(found)
        server.open(model)
        spec = model.spec
        log.info(
            "ready. address=%s model=%s sha256=%s device=%s classes=%s load_s=%.1f",
            *(server.address, spec.name, spec.sha256[:12], spec.device, ",".join(spec.classes)),
            time.monotonic() - started,
        )
        code = signals.wait()
        log.info("stopping: finishing what is in flight. grace_s=%g", STOP_GRACE_S)
    log.info("stopped.")
    return code


class _Signals:
    """SIGTERM and Ctrl-C: while the model loads they end the process at once, later they end `wait`."""

    def __init__(self) -> None:
        self._is_waiting = False
        self._came = threading.Event()
        self._code = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def wait(self) -> int:
        """Block until a signal comes; returns the exit code it stands for."""
        self._is_waiting = True
        self._came.wait()
        return self._code

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self._code = 0 if number == signal.SIGTERM else 130
        if not self._is_waiting:
            raise SystemExit(self._code)
        self._came.set()


def _stop_at_end_of_stdin() -> None:
    """A parent that dies, however suddenly, closes the pipe: its services must not outlive it."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _listen(server: grpc.Server, listen: str, tls: TlsFiles) -> str:
    """Open the port; returns the address to call, with the port that was given for port 0."""
    credentials = _credentials(tls) if uses_tls(listen, tls) else None
    try:
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise SettingsError(
            f"LISTEN: cannot listen on {listen}. Another service may hold it, or this machine has no such address."
        ) from error
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    if tls.cert is None or tls.key is None:
        raise SettingsError("TLS_CA is set without TLS_CERT and TLS_KEY: a service needs a certificate of its own.")
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.cert.read_bytes())],
        root_certificates=tls.ca.read_bytes() if tls.ca else None,
        require_client_auth=tls.ca is not None,
    )
