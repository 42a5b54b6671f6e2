"""The dataclasses survive the wire, and what makes no sense is refused with a sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mousetal import wire
from mousetal.errors import InvalidRequest, ServiceError
from mousetal.types import BoutRule, ClassifierSpec, ClipBatch, Detections, DetectorBatch, DetectorSpec
from mousetal.v1 import detector_service_pb2, mvd_service_pb2
from tests.fixtures.toys import CLASSIFIER_SPEC, DETECTOR_SPEC, clips, frames

unit_floats = st.floats(0, 1)
numbers = st.integers(0, 2**40)
names = st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=5, unique=True).map(tuple)


def sent(message):  # type: ignore[no-untyped-def]
    """The message as the other side gets it."""
    return type(message).FromString(message.SerializeToString())


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    n = draw(st.integers(0, 5))
    return Detections(
        frame_index=draw(numbers),
        boxes_xyxy=draw(npst.arrays(np.float32, (n, 4), elements=st.floats(-1e4, 1e4, width=32))),
        scores=draw(npst.arrays(np.float32, n, elements=st.floats(0, 1, width=32))),
        labels=draw(npst.arrays(np.int64, n, elements=st.integers(0, 90))),
    )


@st.composite
def classifier_specs(draw: st.DrawFn) -> ClassifierSpec:
    classes = draw(names)
    return ClassifierSpec(
        name=draw(st.text(max_size=10)),
        sha256=draw(st.text("0123456789abcdef", max_size=64)),
        classes=classes,
        background=draw(st.none() | st.integers(0, len(classes) - 1)),
        num_frames=draw(st.integers(1, 64)),
        sampling_rate=draw(st.integers(1, 64)),
        stride=draw(st.integers(1, 64)),
        input_size=draw(st.integers(1, 1024)),
        crop_padding=draw(unit_floats),
        trained_fps=draw(st.none() | st.floats(1, 240)),
        is_multi_label=draw(st.booleans()),
        rules=tuple(BoutRule(*(draw(unit_floats) for _ in range(4))) for _ in classes),
        assumptions=tuple(draw(st.lists(st.text(max_size=20), max_size=3))),
        device=draw(st.text(max_size=10)),
    )


@given(st.lists(numbers, min_size=1, max_size=4), st.none() | unit_floats)
def test_a_batch_of_frames_arrives_as_it_was_sent(indices: list[int], threshold: float | None) -> None:
    batch = DetectorBatch(
        frame_indices=tuple(indices),
        source_sizes=tuple((index % 4000 + 1, index % 3000 + 1) for index in indices),
        images=np.random.default_rng(len(indices)).integers(0, 256, (len(indices), 8, 8, 3), np.uint8),
    )
    request = sent(wire.detect_request(batch, threshold))
    arrived = wire.detector_batch(request, DETECTOR_SPEC)
    assert arrived.frame_indices == batch.frame_indices
    assert arrived.source_sizes == batch.source_sizes
    np.testing.assert_array_equal(arrived.images, batch.images)
    assert wire.score_threshold(request) == threshold


@given(st.lists(detections(), max_size=4))
def test_detections_arrive_as_they_were_sent(answer: list[Detections]) -> None:
    arrived = wire.detections(sent(wire.detect_response(answer)), [found.frame_index for found in answer])
    for before, after in zip(answer, arrived, strict=True):
        assert after.frame_index == before.frame_index
        for name in ("boxes_xyxy", "scores", "labels"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
            assert getattr(after, name).dtype == getattr(before, name).dtype


@given(st.lists(numbers, min_size=1, max_size=4))
def test_a_batch_of_clips_arrives_as_it_was_sent(indices: list[int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (len(indices), 4, 6, 6, 3), np.uint8)
    arrived = wire.clip_batch(sent(wire.classify_request(ClipBatch(tuple(indices), pixels))), CLASSIFIER_SPEC)
    assert arrived.window_indices == tuple(indices)
    np.testing.assert_array_equal(arrived.clips, pixels)


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(0, 1, width=32)))
def test_probabilities_arrive_as_they_were_sent(rows: np.ndarray) -> None:
    indices = tuple(range(7, 7 + len(rows)))
    arrived = wire.probabilities(sent(wire.classify_response(indices, rows)), indices, 3)
    np.testing.assert_array_equal(arrived, rows)
    assert arrived.dtype == np.float32


@given(classifier_specs())
def test_a_classifier_describes_itself_without_loss(spec: ClassifierSpec) -> None:
    assert wire.classifier_spec(sent(wire.classifier_spec_message(spec))) == spec


@given(st.builds(DetectorSpec, st.text(), st.text(), names, st.integers(1, 2000), unit_floats, st.text()))
def test_a_detector_describes_itself_without_loss(spec: DetectorSpec) -> None:
    assert wire.detector_spec(sent(wire.detector_spec_message(spec))) == spec


def test_pixels_are_not_copied_on_arrival() -> None:
    request = wire.classify_request(clips(1))
    assert not wire.clip_batch(request, CLASSIFIER_SPEC).clips.flags.owndata


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "at least one frame"),
        ({"input_size": 9}, "takes 8 pixels, got 9"),
        ({"images": b"\0" * 191}, "expected 192 bytes, uint8 RGB of shape"),
        ({"images": b""}, "got 0 bytes"),
        ({"score_threshold": 1.5}, "from 0 to 1, got 1.5"),
        ({"score_threshold": float("nan")}, "from 0 to 1, got nan"),
        ({"frames": [{"frame_index": 3, "source_width": 0, "source_height": 4}]}, "frame 3: .* got 0x4"),
    ],
)
def test_a_detect_request_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    good = {
        "frames": [{"frame_index": 3, "source_width": 5, "source_height": 4}],
        "input_size": 8,
        "images": b"\0" * 192,
    }
    with pytest.raises(InvalidRequest, match=message):
        wire.detector_batch(detector_service_pb2.DetectRequest(**{**good, **changes}), DETECTOR_SPEC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_indices": []}, "at least one window"),
        ({"num_frames": 5}, "takes 4 frames a clip, got 5"),
        ({"input_size": 5}, "takes 6 pixels, got 5"),
        ({"clips": b"\0" * 433}, "expected 432 bytes"),
        ({"window_indices": [1, 2]}, "expected 864 bytes"),
    ],
)
def test_a_classify_request_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    good = {"window_indices": [1], "num_frames": 4, "input_size": 6, "clips": b"\0" * 432}
    with pytest.raises(InvalidRequest, match=message):
        wire.clip_batch(mvd_service_pb2.ClassifyRequest(**{**good, **changes}), CLASSIFIER_SPEC)


def test_an_answer_to_other_frames_is_an_error() -> None:
    response = wire.detect_response([Detections.empty(5), Detections.empty(4)])
    with pytest.raises(ServiceError, match=r"asked for frames \[4, 5\], the service answered \[5, 4\]"):
        wire.detections(response, (4, 5))


def test_an_answer_with_lists_of_different_length_is_an_error() -> None:
    response = detector_service_pb2.DetectResponse(frames=[{"frame_index": 1, "scores": [0.5], "labels": [0]}])
    with pytest.raises(ServiceError, match="frame 1: expected 4 box numbers"):
        wire.detections(response, (1,))


def test_an_answer_with_too_few_probabilities_is_an_error() -> None:
    response = wire.classify_response((1,), np.zeros((1, 2), np.float32))
    with pytest.raises(ServiceError, match="window 1: expected 3 probabilities"):
        wire.probabilities(response, (1,), 3)


def test_a_model_that_nobody_could_feed_is_refused() -> None:
    with pytest.raises(ServiceError, match="different versions"):
        wire.detector_spec(wire.detector_spec_message(replace(DETECTOR_SPEC, input_size=0)))
    with pytest.raises(ServiceError, match="different versions"):
        wire.classifier_spec(wire.classifier_spec_message(replace(CLASSIFIER_SPEC, rules=())))


def test_a_batch_of_either_kind_fits_the_message_limit() -> None:
    eight_clips = 8 * 16 * 224 * 224 * 3
    eight_images = 8 * 640 * 640 * 3
    assert max(eight_clips, eight_images) < wire.MAX_MESSAGE_BYTES
    assert frames(1).images.nbytes < wire.MAX_MESSAGE_BYTES
