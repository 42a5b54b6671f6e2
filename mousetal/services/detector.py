"""The detector service: `python -m mousetal.services.detector` serves the model folder in DETECTOR_DIR on LISTEN."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import grpc
import numpy as np

from mousetal import wire
from mousetal.services import serve
from mousetal.services.exchange import Exchange, loaded, told_to_caller
from mousetal.services.worker import Worker
from mousetal.settings import ServiceSettings
from mousetal.types import Detections, DetectorBatch, DetectorSpec
from mousetal.v1 import detector_service_pb2 as pb2
from mousetal.v1 import detector_service_pb2_grpc as pb2_grpc

#: Frames in one forward pass, from all drivers together.
MAX_BATCH = 16


class DetectorModel(Protocol):
    """What the service needs of a detector; `mousetal.detector.Detector` is one."""

    @property
    def spec(self) -> DetectorSpec: ...

    def warm_up(self) -> None: ...

    def predict(self, batch: DetectorBatch, score_threshold: float | None = None) -> list[Detections]: ...


@dataclass(frozen=True, eq=False)
class _Request:
    batch: DetectorBatch
    score_threshold: float | None


class DetectorServicer(pb2_grpc.DetectorServiceServicer):
    """Answers DetectorService for one model, once it is opened."""

    service_name = pb2.DESCRIPTOR.services_by_name["DetectorService"].full_name

    def __init__(self) -> None:
        self._exchange: Exchange[_Request, list[Detections]] = Exchange()
        self._model: DetectorModel | None = None

    def add_to(self, server: grpc.Server) -> None:
        pb2_grpc.add_DetectorServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]  # generated

    def open(self, model: DetectorModel) -> None:
        """Warm the model, then accept requests: from here on the worker's thread owns it."""
        model.warm_up()
        worker: Worker[_Request, list[Detections]] = Worker(
            run=lambda requests: _answer(model, requests),
            size=lambda request: len(request.batch.frame_indices),
            max_batch=MAX_BATCH,
            kind=lambda request: request.score_threshold,
        )
        self._model = model
        self._exchange.open(worker)

    def stop(self) -> None:
        self._exchange.stop()

    def close(self, timeout_s: float) -> None:
        self._exchange.close(timeout_s)

    def Detect(  # noqa: N802  gRPC's name
        self, request_iterator: Iterator[pb2.DetectRequest], context: grpc.ServicerContext
    ) -> Iterator[pb2.DetectResponse]:
        return self._exchange.answers(request_iterator, context, self._read, wire.detect_response)

    def GetModel(  # noqa: N802  gRPC's name
        self, request: pb2.DetectorServiceGetModelRequest, context: grpc.ServicerContext
    ) -> pb2.DetectorServiceGetModelResponse:
        with told_to_caller(context):
            return pb2.DetectorServiceGetModelResponse(model=wire.detector_spec_message(loaded(self._model).spec))

    def _read(self, message: pb2.DetectRequest) -> _Request:
        return _Request(wire.detector_batch(message, loaded(self._model).spec), wire.score_threshold(message))


def predict_together(
    model: DetectorModel, batches: Sequence[DetectorBatch], score_threshold: float | None
) -> list[list[Detections]]:
    """Ask the model once for several batches; one answer for each, in order."""
    together = DetectorBatch(
        frame_indices=tuple(chain.from_iterable(batch.frame_indices for batch in batches)),
        source_sizes=tuple(chain.from_iterable(batch.source_sizes for batch in batches)),
        images=np.concatenate([batch.images for batch in batches]),
    )
    found = iter(model.predict(together, score_threshold))
    return [list(islice(found, len(batch.frame_indices))) for batch in batches]


def _answer(model: DetectorModel, requests: Sequence[_Request]) -> list[list[Detections]]:
    """As `predict_together`, for requests of one threshold."""
    return predict_together(model, [request.batch for request in requests], requests[0].score_threshold)


def load(found: ServiceSettings) -> DetectorModel:
    """Serve an RT-DETRv2 animal detector over gRPC (mousetal.v1.DetectorService)."""
    # Imported here: torch takes seconds, in which the port already answers that the service is not ready.
    import mousetal.detector
    from mousetal.services.device import device_for

    return mousetal.detector.load(
        found.model_dir,
        device=device_for(found),
        precision=found.precision,
        backend=found.backend,
        threads=found.threads,
        compile=found.compile,
    )


if __name__ == "__main__":
    sys.exit(serve.main("detector", DetectorServicer(), load))
