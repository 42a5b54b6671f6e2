"""The two models as the batch sees them: what they are, two calls, and how to get them back when they went away.

`connect` gives them over gRPC, from running services or from ones that it starts. A test gives two plain functions.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from inference_script import embedded
from inference_script.clients import DetectorClient, MvdClient
from mousetal.errors import MousetalError, ServiceError, ServiceUnavailable, SettingsError
from mousetal.settings import DriverSettings
from mousetal.types import ClassifierSpec, ClipBatch, Detections, DetectorBatch, DetectorSpec, Float32Array

log = logging.getLogger(__name__)


class Models(Protocol):
    """What the batch needs. ``detector.score_threshold`` is the threshold in force."""

    @property
    def detector(self) -> DetectorSpec: ...

    @property
    def classifier(self) -> ClassifierSpec: ...

    def detect(self, batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]: ...

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]: ...

    def recover(self) -> None:
        """Called after a ServiceUnavailable: returns when work can go on, raises ServiceUnavailable when it cannot."""
        ...

    def stop(self) -> None:
        """End what is under way, from another thread: it fails with ServiceUnavailable, as does all that follows."""
        ...


@contextlib.contextmanager
def connect(settings: DriverSettings) -> Iterator[Models]:
    """Both models, ready; services that the driver starts itself end with the block.

    Raises ModelError, SettingsError or ServiceError in the service's own words, ServiceUnavailable when one isn't ready
    in time.
    """
    with contextlib.ExitStack() as stack:
        addresses, own = (settings.detector_address, settings.mvd_address), None
        if settings.is_embedded:
            log.info("Starting the services. detector=%s mvd=%s", settings.detector_dir, settings.model_dir)
            own = stack.enter_context(embedded.services(settings, settings.output / "logs"))
            addresses = (own.detector.address, own.mvd.address)
        detector = stack.enter_context(DetectorClient(addresses[0], settings.tls, settings.service_timeout_s))
        mvd = stack.enter_context(MvdClient(addresses[1], settings.tls, settings.service_timeout_s))
        for client in (detector, mvd):
            client.wait_until_ready(settings.start_timeout_s)
        yield RemoteModels(detector, mvd, settings, own)


class RemoteModels:
    """`Models` over two clients, and the child processes behind them if they are ours."""

    def __init__(
        self, detector: DetectorClient, mvd: MvdClient, settings: DriverSettings, own: embedded.Services | None
    ) -> None:
        self._clients, self._settings, self._own = (detector, mvd), settings, own
        self._recovering = threading.Lock()
        self.detector, self.classifier = self._specs()
        self._check_class_names()

    def detect(self, batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        return self._clients[0].detect(batches, self.detector.score_threshold)

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        return self._clients[1].classify(batches)

    def recover(self) -> None:
        try:
            with self._recovering:
                for client in self._clients:
                    client.wait_until_ready(self._settings.start_timeout_s, self._restart_own)
                specs = self._specs()
        except MousetalError as error:
            raise ServiceUnavailable(f"A model service went away and did not come back: {error}") from error
        if [spec.sha256 for spec in specs] != [self.detector.sha256, self.classifier.sha256]:
            raise ServiceUnavailable(
                "A model service came back with another model; results of two models can't be mixed. Run again."
            )

    def stop(self) -> None:
        for client in self._clients:
            client.close()

    def _restart_own(self) -> None:
        if self._own is not None:
            self._own.restart_dead(self._settings.start_timeout_s)

    def _specs(self) -> tuple[DetectorSpec, ClassifierSpec]:
        threshold = self._settings.detection_threshold
        detector = self._clients[0].spec()
        if threshold is not None:
            detector = replace(detector, score_threshold=threshold)
        return detector, self._clients[1].spec()

    def _check_class_names(self) -> None:
        """A service that runs elsewhere has its own CLASS_NAMES; those said here must not contradict them."""
        asked, served = self._settings.class_names, self.classifier.classes
        if asked is not None and asked != served:
            raise SettingsError(
                f"CLASS_NAMES: expected the classes of the MVD service ({', '.join(served)}), got {', '.join(asked)}. "
                "Set the names where the service runs."
            )
        if not served:
            raise ServiceError("The MVD service names no classes. Set CLASS_NAMES where it runs.")
