"""The detector service: `python -m mousetal.services.detector` serves the model folder in DETECTOR_DIR on LISTEN."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np

from mousetal import wire
from mousetal.services import serve
from mousetal.services.exchange import Exchange, told_to_caller
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
        pb2_grpc.add_DetectorServiceServicer_to_server(self, server)

    def open(self, model: DetectorModel) -> None:
        """Let the model answer once, on the thread that will own it, then accept requests."""
        self._model = model
        worker = Worker(
            run=lambda requests: _answer(model, requests),
            size=lambda request: len(request.batch.frame_indices),
            max_batch=MAX_BATCH,
            kind=lambda request: request.score_threshold,
        )
        side = model.spec.input_size
        blank = DetectorBatch((0,), ((side, side),), np.zeros((1, side, side, 3), np.uint8))
        worker.submit(_Request(blank, None)).result()
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
            return pb2.DetectorServiceGetModelResponse(model=wire.detector_spec_message(self._exchange.ready().spec))
