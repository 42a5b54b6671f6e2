"""The two model services as the driver sees them: our dataclasses in and out, our errors, nothing of gRPC.

with DetectorClient("localhost:50051") as detector:
    detector.wait_until_ready(180)
    spec = detector.spec()
    for boxes in detector.detect(batches):
        ...
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, ClassVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inference_script.calls import CallSpec, answers, error_of
from mousetal import wire
from mousetal.errors import ServiceError, ServiceUnavailable
from mousetal.settings import TlsFiles
from mousetal.types import ClassifierSpec, ClipBatch, Detections, DetectorBatch, DetectorSpec, Float32Array
from mousetal.v1 import detector_service_pb2, detector_service_pb2_grpc, mvd_service_pb2, mvd_service_pb2_grpc

log = logging.getLogger(__name__)

#: Frames or windows of one call between input and answer; another batch is made while there are fewer. Of batches of 4
#: that is one with the model, one ready behind it, one on the wire; frames that are looked at one by one fill batches.
IN_FLIGHT = 9

#: How long one question to the health service may take, and the pauses between questions.
HEALTH_TIMEOUT_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


class _Client:
    """What both clients share: the channel, readiness, the end."""

    noun: ClassVar[str]
    key: ClassVar[str]
    service_name: ClassVar[str]

    def __init__(self, address: str, tls: TlsFiles | None = None, timeout_s: float = 300.0) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._channel = wire.open_channel(address, tls or TlsFiles())
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __str__(self) -> str:
        return f"the {self.noun} service at {self.address}"

    def close(self) -> None:
        """Drop the connection; calls still open end as unavailable."""
        self._channel.close()

    def wait_until_ready(self, timeout_s: float, check: Callable[[], None] = lambda: None) -> None:
        """Ask for the service's health, with growing pauses, until it is SERVING.

        ``check`` is called between questions and may raise, when the caller knows that waiting is in vain. Raises
        ServiceUnavailable after ``timeout_s``, and ServiceError at once when the address belongs to something else.
        """
        deadline = time.monotonic() + timeout_s
        pause = FIRST_PAUSE_S
        while (reason := self._why_not_ready(deadline)) is not None:
            check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServiceUnavailable(f"{self} is not ready after {timeout_s:g} s (START_TIMEOUT_S): {reason}.")
            log.debug("waiting for a service. service=%s reason=%s", self, reason)
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _why_not_ready(self, deadline: float) -> str | None:
        """None when the service is SERVING, else why it is not."""
        timeout = max(0.1, min(HEALTH_TIMEOUT_S, deadline - time.monotonic()))
        request = health_pb2.HealthCheckRequest(service=self.service_name)
        try:
            status = self._health.Check(request, timeout=timeout).status
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
                raise self._wrong_service() from error
            return f"it cannot be reached ({error.details()})"
        if status == health_pb2.HealthCheckResponse.SERVING:
            return None
        return "it runs, but its model is not loaded yet"

    def _ask(self, method: Callable[..., Any], request: object) -> Any:
        """One plain call, its errors made ours."""
        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                raise self._wrong_service() from error
            raise error_of(str(self), error) from error

    def _wrong_service(self) -> ServiceError:
        return ServiceError(
            f"{self.address} answers, but is no {self.noun} service. Check {self.key}; "
            "DETECTOR_ADDRESS and MVD_ADDRESS may be swapped."
        )


class DetectorClient(_Client):
    """A running detector service."""

    noun = "detector"
    key = "DETECTOR_ADDRESS"
    service_name = detector_service_pb2.DESCRIPTOR.services_by_name["DetectorService"].full_name

    def __init__(self, address: str, tls: TlsFiles | None = None, timeout_s: float = 300.0) -> None:
        super().__init__(address, tls, timeout_s)
        self._stub = detector_service_pb2_grpc.DetectorServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def spec(self) -> DetectorSpec:
        """The model that is being served."""
        request = detector_service_pb2.DetectorServiceGetModelRequest()
        return wire.detector_spec(self._ask(self._stub.GetModel, request).model)

    def detect(
        self, batches: Iterable[DetectorBatch], score_threshold: float | None = None
    ) -> Iterator[list[Detections]]:
        """One list of detections per batch, in order, lazily; see `calls.answers` for errors and bounds."""
        how = CallSpec[DetectorBatch, Any, Any, list[Detections]](
            service=str(self),
            identity=lambda batch: batch.frame_indices,
            write=lambda batch: wire.detect_request(batch, score_threshold),
            read=wire.detections,
            in_flight=IN_FLIGHT,
            timeout_s=self._timeout_s,
        )
        return answers(self._stub.Detect, batches, how)


class MvdClient(_Client):
    """A running MVD service."""

    noun = "MVD"
    key = "MVD_ADDRESS"
    service_name = mvd_service_pb2.DESCRIPTOR.services_by_name["MvdService"].full_name

    def __init__(self, address: str, tls: TlsFiles | None = None, timeout_s: float = 300.0) -> None:
        super().__init__(address, tls, timeout_s)
        self._stub = mvd_service_pb2_grpc.MvdServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def spec(self) -> ClassifierSpec:
        """The model that is being served."""
        request = mvd_service_pb2.MvdServiceGetModelRequest()
        return wire.classifier_spec(self._ask(self._stub.GetModel, request).model)

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        """Float32 (windows, classes) per batch, in order, lazily; see `calls.answers` for errors and bounds."""
        num_classes = len(self.spec().classes)
        how = CallSpec[ClipBatch, Any, Any, Float32Array](
            service=str(self),
            identity=lambda batch: batch.window_indices,
            write=wire.classify_request,
            read=lambda reply, asked: wire.probabilities(reply, asked, num_classes),
            in_flight=IN_FLIGHT,
            timeout_s=self._timeout_s,
        )
        yield from answers(self._stub.Classify, batches, how)
