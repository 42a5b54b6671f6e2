"""The services' models in this process: all that the two services do for the driver, and no wire between.

Loaded by the services' own code and settings, each network works on a thread of its own through what has queued up,
with as many batches under way as the clients have. The difference to the driver with services is what gRPC costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from inference_script.clients import IN_FLIGHT
from mousetal import settings
from mousetal.meter import StageMeter
from mousetal.services import detector as detector_service
from mousetal.services import mvd as mvd_service
from mousetal.services.worker import Worker
from mousetal.streams import prefetch
from mousetal.types import ClipBatch, Detections, DetectorBatch, Float32Array

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


class InProcess:
    """`inference_script.models.Models` without services. ``busy`` counts what the networks did, and for how long."""

    def __init__(
        self,
        detector: detector_service.DetectorModel,
        classifier: mvd_service.ClassifierModel,
        score_threshold: float | None = None,
    ) -> None:
        self.busy = StageMeter()
        self._models = (detector, classifier)
        self.detector, self.classifier = detector.spec, classifier.spec
        if score_threshold is not None:
            self.detector = replace(self.detector, score_threshold=score_threshold)
        self._detecting: Worker[DetectorBatch, list[Detections]] = Worker(
            self._boxes, lambda batch: len(batch.frame_indices), detector_service.MAX_BATCH
        )
        self._classifying: Worker[ClipBatch, Float32Array] = Worker(
            self._probabilities, lambda batch: len(batch.window_indices), mvd_service.MAX_BATCH
        )

    def detect(self, batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        return _answered(self._detecting, batches)

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        return _answered(self._classifying, batches)

    def recover(self) -> None:
        """Nothing goes away here."""

    def stop(self) -> None:
        """What has queued up, a few batches, is still answered; all that follows the workers refuse."""
        self.close()

    def close(self) -> None:
        self._detecting.close()
        self._classifying.close()

    def _boxes(self, batches: Sequence[DetectorBatch]) -> list[list[Detections]]:
        with self.busy.busy("detect", sum(len(batch.frame_indices) for batch in batches)):
            return detector_service.predict_together(self._models[0], batches, self.detector.score_threshold)

    def _probabilities(self, batches: Sequence[ClipBatch]) -> list[Float32Array]:
        with self.busy.busy("classify", sum(len(batch.clips) for batch in batches)):
            return mvd_service.predict_together(self._models[1], batches)


def load(environ: Mapping[str, str]) -> InProcess:
    """Both models, loaded and warm, as the services would load them with these settings."""
    given = {**environ, "LISTEN": ""}
    blank = argparse.Namespace(env=None)
    models = (
        detector_service.load(settings.read_service("detector", blank, given)),
        mvd_service.load(settings.read_service("mvd", blank, given)),
    )
    for model in models:
        model.warm_up()
    return InProcess(*models)


def _answered(worker: Worker[Batch, Answer], batches: Iterable[Batch]) -> Iterator[Answer]:
    """One answer per batch, in order. The input is pulled on a thread, as gRPC does: it may wait for answers itself."""
    with closing(prefetch(map(worker.submit, batches), IN_FLIGHT - 1)) as waiting:
        for answer in waiting:
            yield answer.result()
