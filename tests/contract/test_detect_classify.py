"""What the pipeline may rely on, whoever detects and classifies: a fake, networks in process, or a service."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mousetal.detector
import mousetal.mvd
from inference_script.clients import IN_FLIGHT, DetectorClient, MvdClient
from mousetal.errors import VideoError
from mousetal.types import ClassifierSpec, ClipBatch, DetectorBatch, DetectorSpec
from tests.fixtures import classifiers, detectors
from tests.fixtures.servers import serving_detector, serving_mvd
from tests.fixtures.toys import ToyClassifier, ToyDetector

IMPLEMENTATIONS = ("fake", "in process", "gRPC around the fake", "gRPC around the network")
SIZES = (3, 1, 2, 3)


@dataclass
class Subject:
    """One implementation under test: ``run`` maps batches to answers, ``spec`` says what it takes."""

    spec: Any
    run: Callable[..., Iterator[Any]]

    def batches(self, sizes: Iterable[int] = SIZES) -> list[Any]:
        return list(
            frame_batches(self.spec, sizes) if isinstance(self.spec, DetectorSpec) else clip_batches(self.spec, sizes)
        )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders with tiny random networks."""
    folder = tmp_path_factory.mktemp("models")
    detectors.saved_detector(folder / "detector", score_threshold=0.1)
    mousetal.mvd.save(folder / "mvd", classifiers.tiny_network(), classifiers.tiny_config(), "# For tests")
    return {"detector": folder / "detector", "mvd": folder / "mvd"}


@contextmanager
def detecting(implementation: str, folders: dict[str, Path]) -> Iterator[Subject]:
    model = ToyDetector() if "fake" in implementation else mousetal.detector.load(folders["detector"])
    if "gRPC" not in implementation:
        yield Subject(model.spec, model.detect)
        return
    with serving_detector(model) as address, DetectorClient(address, timeout_s=60) as client:
        assert client.spec() == model.spec
        yield Subject(client.spec(), client.detect)


@contextmanager
def classifying(implementation: str, folders: dict[str, Path]) -> Iterator[Subject]:
    model = ToyClassifier() if "fake" in implementation else mousetal.mvd.load(folders["mvd"])
    if "gRPC" not in implementation:
        yield Subject(model.spec, model.classify)
        return
    with serving_mvd(model) as address, MvdClient(address, timeout_s=60) as client:
        assert client.spec() == model.spec
        yield Subject(client.spec(), client.classify)


@pytest.fixture(params=IMPLEMENTATIONS)
def detector(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[Subject]:
    with detecting(request.param, folders) as subject:
        yield subject


@pytest.fixture(params=IMPLEMENTATIONS)
def classifier(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[Subject]:
    with classifying(request.param, folders) as subject:
        yield subject


@pytest.fixture(
    params=[(make, name) for make in (detecting, classifying) for name in IMPLEMENTATIONS],
    ids=lambda pair: f"{pair[0].__name__} {pair[1]}",
)
def either(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[Subject]:
    make, implementation = request.param
    with make(implementation, folders) as subject:
        yield subject


def frame_batches(spec: DetectorSpec, sizes: Iterable[int]) -> Iterator[DetectorBatch]:
    """Batches of every second frame, of random pixels."""
    pixels = np.random.default_rng(0)
    first = 0
    for size in sizes:
        indices = tuple(range(first, first + 2 * size, 2))
        images = pixels.integers(0, 200, (size, spec.input_size, spec.input_size, 3), np.uint8)
        yield DetectorBatch(indices, tuple((640 + i, 480) for i in indices), images)
        first += 2 * size


def clip_batches(spec: ClassifierSpec, sizes: Iterable[int]) -> Iterator[ClipBatch]:
    """Batches of windows of random pixels."""
    pixels = np.random.default_rng(0)
    first = 0
    for size in sizes:
        shape = (size, spec.num_frames, spec.input_size, spec.input_size, 3)
        yield ClipBatch(tuple(range(first, first + size)), pixels.integers(0, 200, shape, np.uint8))
        first += size


def test_detections_come_batch_by_batch_and_name_their_frames(detector: Subject) -> None:
    batches = detector.batches()
    answers = list(detector.run(batches))
    assert [tuple(found.frame_index for found in answer) for answer in answers] == [b.frame_indices for b in batches]
    for found in (found for answer in answers for found in answer):
        assert (found.boxes_xyxy.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
        assert (np.diff(found.scores) <= 0).all()
        assert (found.scores >= detector.spec.score_threshold).all()
        assert set(found.labels.tolist()) <= set(range(len(detector.spec.classes)))


def test_detections_do_not_depend_on_the_batch_they_came_in(detector: Subject) -> None:
    (together,) = detector.run(detector.batches([3]))
    batch = detector.batches([3])[0]
    alone = [
        DetectorBatch(batch.frame_indices[i : i + 1], batch.source_sizes[i : i + 1], batch.images[i : i + 1])
        for i in range(3)
    ]
    for a, (b,) in zip(together, detector.run(alone), strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
        np.testing.assert_allclose(a.boxes_xyxy, b.boxes_xyxy, atol=1e-2)


def test_a_lower_threshold_keeps_more_boxes(detector: Subject) -> None:
    ((all_boxes,),) = detector.run(detector.batches([1]), score_threshold=0.0)
    ((none,),) = detector.run(detector.batches([1]), score_threshold=1.0)
    assert len(all_boxes) > 0
    assert len(none) == 0
    assert none.boxes_xyxy.shape == (0, 4)


def test_probabilities_come_batch_by_batch_and_sum_to_one(classifier: Subject) -> None:
    answers = list(classifier.run(classifier.batches()))
    assert [answer.shape for answer in answers] == [(size, len(classifier.spec.classes)) for size in SIZES]
    for answer in answers:
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)


def test_probabilities_do_not_depend_on_the_batch_they_came_in(classifier: Subject) -> None:
    batch = classifier.batches([3])[0]
    (together,) = classifier.run([batch])
    alone = list(classifier.run([ClipBatch((i,), batch.clips[i : i + 1]) for i in range(3)]))
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_no_batches_give_no_answers(either: Subject) -> None:
    assert list(either.run(iter(()))) == []


def test_answers_come_before_the_input_has_ended(either: Subject) -> None:
    """Lazily: a video of any length needs the memory of a few batches."""
    pulled = 0

    def endless() -> Iterator[Any]:
        nonlocal pulled
        (batch,) = either.batches([1])
        while True:
            pulled += 1
            yield batch

    running = either.run(endless())
    for _ in range(20):
        next(running)
    assert pulled <= 20 + IN_FLIGHT
    running.close()


def test_an_error_of_the_input_comes_out_as_it_is_after_the_answers_before_it(either: Subject) -> None:
    error = VideoError("a.mp4: damaged")

    def broken() -> Iterator[Any]:
        yield from either.batches([1, 2])
        raise error

    running = either.run(broken())
    next(running)
    next(running)
    with pytest.raises(VideoError) as raised:
        next(running)
    assert raised.value is error


def test_leaving_early_closes_the_input(either: Subject) -> None:
    closed = threading.Event()

    def endless() -> Iterator[Any]:
        (batch,) = either.batches([1])
        try:
            while True:
                yield batch
        finally:
            closed.set()

    running = either.run(endless())
    next(running)
    running.close()
    del running
    gc.collect()
    assert closed.wait(20)
