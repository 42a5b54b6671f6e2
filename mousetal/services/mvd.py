"""The MVD service: `python -m mousetal.services.mvd` serves the behaviour classifier in MODEL_DIR on LISTEN."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

import grpc
import numpy as np

from mousetal import wire
from mousetal.services import serve
from mousetal.services.exchange import Exchange, loaded, told_to_caller
from mousetal.services.worker import Worker
from mousetal.settings import ServiceSettings
from mousetal.types import ClassifierSpec, ClipBatch, Float32Array, UInt8Array
from mousetal.v1 import mvd_service_pb2 as pb2
from mousetal.v1 import mvd_service_pb2_grpc as pb2_grpc

#: Clips in one forward pass, from all drivers together.
MAX_BATCH = 8

#: The windows asked for and float32 (windows, classes) for them.
_Scored = tuple[tuple[int, ...], Float32Array]


class ClassifierModel(Protocol):
    """What the service needs of a classifier; `mousetal.mvd.Classifier` is one."""

    @property
    def spec(self) -> ClassifierSpec: ...

    def warm_up(self) -> None: ...

    def predict(self, clips: UInt8Array) -> Float32Array: ...


class MvdServicer(pb2_grpc.MvdServiceServicer):
    """Answers MvdService for one model, once it is opened."""

    service_name = pb2.DESCRIPTOR.services_by_name["MvdService"].full_name

    def __init__(self) -> None:
        self._exchange: Exchange[ClipBatch, _Scored] = Exchange()
        self._model: ClassifierModel | None = None

    def add_to(self, server: grpc.Server) -> None:
        pb2_grpc.add_MvdServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]  # generated

    def open(self, model: ClassifierModel) -> None:
        """Warm the model, then accept requests: from here on the worker's thread owns it."""
        model.warm_up()
        worker: Worker[ClipBatch, _Scored] = Worker(
            run=lambda batches: _answer(model, batches),
            size=lambda batch: len(batch.window_indices),
            max_batch=MAX_BATCH,
        )
        self._model = model
        self._exchange.open(worker)

    def stop(self) -> None:
        self._exchange.stop()

    def close(self, timeout_s: float) -> None:
        self._exchange.close(timeout_s)

    def Classify(  # noqa: N802  gRPC's name
        self, request_iterator: Iterator[pb2.ClassifyRequest], context: grpc.ServicerContext
    ) -> Iterator[pb2.ClassifyResponse]:
        return self._exchange.answers(
            request_iterator, context, self._read, lambda scored: wire.classify_response(*scored)
        )

    def GetModel(  # noqa: N802  gRPC's name
        self, request: pb2.MvdServiceGetModelRequest, context: grpc.ServicerContext
    ) -> pb2.MvdServiceGetModelResponse:
        with told_to_caller(context):
            return pb2.MvdServiceGetModelResponse(model=wire.classifier_spec_message(loaded(self._model).spec))

    def _read(self, message: pb2.ClassifyRequest) -> ClipBatch:
        return wire.clip_batch(message, loaded(self._model).spec)


def predict_together(model: ClassifierModel, batches: Sequence[ClipBatch]) -> list[Float32Array]:
    """Ask the model once for several batches; one answer (windows, classes) for each, in order."""
    sizes = [len(batch.window_indices) for batch in batches]
    return np.split(model.predict(np.concatenate([batch.clips for batch in batches])), np.cumsum(sizes)[:-1])


def _answer(model: ClassifierModel, batches: Sequence[ClipBatch]) -> list[_Scored]:
    """As `predict_together`, each answer with the windows that it is about."""
    rows = predict_together(model, batches)
    return [(batch.window_indices, probabilities) for batch, probabilities in zip(batches, rows, strict=True)]


def load(found: ServiceSettings) -> ClassifierModel:
    """Serve an MVD behaviour classifier over gRPC (mousetal.v1.MvdService)."""
    # Imported here: torch takes seconds, in which the port already answers that the service is not ready.
    import mousetal.mvd
    from mousetal.services.device import device_for

    return mousetal.mvd.load(
        found.model_dir,
        device=device_for(found),
        precision=found.precision,
        class_names=found.class_names,
        compile=found.compile,
        backend=found.backend,
        threads=found.threads,
    )


if __name__ == "__main__":
    sys.exit(serve.main("mvd", MvdServicer(), load))
