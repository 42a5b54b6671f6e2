"""The dataclasses of `types` to protobuf and back, and the channel they travel on: all that both ends must agree on.

Whatever comes in over the wire is checked here: a request that contradicts itself or the model raises InvalidRequest, a
response that contradicts its request raises ServiceError. Arrays made from a message are read-only views of its bytes;
the one copy of the pixels is made where they enter the message.

    request = wire.detect_request(batch)
    batch = wire.detector_batch(request, spec)
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import numpy as np

from mousetal.errors import InvalidRequest, ServiceError
from mousetal.settings import TlsFiles
from mousetal.types import (
    BoutRule,
    ClassifierSpec,
    ClipBatch,
    Detections,
    DetectorBatch,
    DetectorSpec,
    Float32Array,
    UInt8Array,
)
from mousetal.v1 import detector_service_pb2, mvd_service_pb2, types_pb2

#: The largest message either side takes, bytes. A batch of 8 windows of 16 frames of 224 x 224 is 19 MB, and of 8
#: detector inputs of 640 x 640 is 10 MB; gRPC's own default of 4 MiB holds neither.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

#: What both sides tell gRPC. Pixels don't shrink by general compression, so none is asked for.
CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
)

_CALLER_OPTIONS = (
    *CHANNEL_OPTIONS,
    # gRPC would wait up to two minutes before it tries a restarted service again.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Videos stay on the lab's machines: a proxy in the environment is for the web.
    ("grpc.enable_http_proxy", 0),
    # Every client has a connection of its own, so that none inherits the waiting time of another's broken one.
    ("grpc.use_local_subchannel_pool", 1),
)

_RGB = 3


def uses_tls(address: str, tls: TlsFiles) -> bool:
    """Whether a service at ``address`` speaks TLS. A unix socket does not: the file's permissions guard it."""
    return tls.is_enabled and not address.startswith("unix:")


def open_channel(address: str, tls: TlsFiles) -> grpc.Channel:
    """A channel to a service at ``host:port`` or ``unix:PATH``, set up as every caller of ours should.

    With TLS, ``tls.ca`` checks the service (None: the system's authorities), ``tls.cert`` and ``tls.key`` are shown to
    a service that asks for them.
    """
    if not uses_tls(address, tls):
        return grpc.insecure_channel(address, options=_CALLER_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.ca.read_bytes() if tls.ca else None,
        private_key=tls.key.read_bytes() if tls.key else None,
        certificate_chain=tls.cert.read_bytes() if tls.cert else None,
    )
    return grpc.secure_channel(address, credentials, options=_CALLER_OPTIONS)


def detect_request(batch: DetectorBatch, score_threshold: float | None = None) -> detector_service_pb2.DetectRequest:
    """The message that asks for the boxes of ``batch``; without a threshold the model's own applies."""
    frames = [
        types_pb2.FrameReference(frame_index=index, source_width=width, source_height=height)
        for index, (width, height) in zip(batch.frame_indices, batch.source_sizes, strict=True)
    ]
    return detector_service_pb2.DetectRequest(
        frames=frames, input_size=batch.images.shape[1], images=batch.images.tobytes(), score_threshold=score_threshold
    )


def detector_batch(request: detector_service_pb2.DetectRequest, spec: DetectorSpec) -> DetectorBatch:
    """The batch that a request carries, checked against the model; raises InvalidRequest."""
    if not request.frames:
        raise InvalidRequest("frames: expected at least one frame in a batch, got none.")
    _check_equal("input_size", spec.input_size, request.input_size, "pixels")
    for frame in request.frames:
        if not frame.source_width or not frame.source_height:
            raise InvalidRequest(
                f"frame {frame.frame_index}: expected a source size of at least 1x1 pixels, "
                f"got {frame.source_width}x{frame.source_height}."
            )
    if request.HasField("score_threshold") and not 0 <= request.score_threshold <= 1:
        raise InvalidRequest(f"score_threshold: expected a number from 0 to 1, got {request.score_threshold}.")
    shape = (len(request.frames), spec.input_size, spec.input_size, _RGB)
    return DetectorBatch(
        frame_indices=tuple(frame.frame_index for frame in request.frames),
        source_sizes=tuple((frame.source_width, frame.source_height) for frame in request.frames),
        images=_pixels("images", request.images, shape),
    )


def score_threshold(request: detector_service_pb2.DetectRequest) -> float | None:
    """The threshold a request asks for, 0 to 1; None leaves it to the model."""
    return request.score_threshold if request.HasField("score_threshold") else None


def detect_response(answer: Sequence[Detections]) -> detector_service_pb2.DetectResponse:
    """The message that answers a batch."""
    return detector_service_pb2.DetectResponse(
        frames=[
            types_pb2.FrameDetections(
                frame_index=found.frame_index,
                boxes_xyxy=found.boxes_xyxy.ravel().tolist(),
                scores=found.scores.tolist(),
                labels=found.labels.tolist(),
            )
            for found in answer
        ]
    )


def detections(response: detector_service_pb2.DetectResponse, frame_indices: Sequence[int]) -> list[Detections]:
    """The answer for the frames asked for, in their order; raises ServiceError when it answers others."""
    _check_answers("frames", frame_indices, [frame.frame_index for frame in response.frames])
    return [_frame_detections(frame) for frame in response.frames]


def _frame_detections(frame: types_pb2.FrameDetections) -> Detections:
    n = len(frame.scores)
    if len(frame.boxes_xyxy) != 4 * n or len(frame.labels) != n:
        raise ServiceError(
            f"frame {frame.frame_index}: expected 4 box numbers and a label for each of {n} scores, "
            f"got {len(frame.boxes_xyxy)} and {len(frame.labels)}. Driver and service may be of different versions."
        )
    return Detections(
        frame_index=frame.frame_index,
        boxes_xyxy=np.array(frame.boxes_xyxy, np.float32).reshape(n, 4),
        scores=np.array(frame.scores, np.float32),
        labels=np.array(frame.labels, np.int64),
    )


def classify_request(batch: ClipBatch) -> mvd_service_pb2.ClassifyRequest:
    """The message that asks for the class probabilities of ``batch``."""
    return mvd_service_pb2.ClassifyRequest(
        window_indices=batch.window_indices,
        num_frames=batch.clips.shape[1],
        input_size=batch.clips.shape[2],
        clips=batch.clips.tobytes(),
    )


def clip_batch(request: mvd_service_pb2.ClassifyRequest, spec: ClassifierSpec) -> ClipBatch:
    """The batch that a request carries, checked against the model; raises InvalidRequest."""
    if not request.window_indices:
        raise InvalidRequest("window_indices: expected at least one window in a batch, got none.")
    _check_equal("num_frames", spec.num_frames, request.num_frames, "frames a clip")
    _check_equal("input_size", spec.input_size, request.input_size, "pixels")
    shape = (len(request.window_indices), spec.num_frames, spec.input_size, spec.input_size, _RGB)
    return ClipBatch(tuple(request.window_indices), _pixels("clips", request.clips, shape))


def classify_response(window_indices: Sequence[int], probabilities: Float32Array) -> mvd_service_pb2.ClassifyResponse:
    """The message that answers a batch: ``probabilities`` is float32 (windows, classes)."""
    return mvd_service_pb2.ClassifyResponse(
        windows=[
            types_pb2.WindowProbabilities(window_index=index, probabilities=row.tolist())
            for index, row in zip(window_indices, probabilities, strict=True)
        ]
    )


def probabilities(
    response: mvd_service_pb2.ClassifyResponse, window_indices: Sequence[int], num_classes: int
) -> Float32Array:
    """Float32 (windows, classes) for the windows asked for; raises ServiceError when it answers others."""
    _check_answers("windows", window_indices, [window.window_index for window in response.windows])
    for window in response.windows:
        if len(window.probabilities) != num_classes:
            raise ServiceError(
                f"window {window.window_index}: expected {num_classes} probabilities, one per class, "
                f"got {len(window.probabilities)}. Driver and service may be of different versions."
            )
    return np.array([window.probabilities for window in response.windows], np.float32)


def detector_spec_message(spec: DetectorSpec) -> types_pb2.DetectorSpec:
    """The message that describes a detector."""
    return types_pb2.DetectorSpec(
        name=spec.name,
        sha256=spec.sha256,
        classes=spec.classes,
        input_size=spec.input_size,
        score_threshold=spec.score_threshold,
        device=spec.device,
    )


def detector_spec(message: types_pb2.DetectorSpec) -> DetectorSpec:
    """The detector that a message describes; raises ServiceError for one that nobody could feed."""
    if not message.classes or not message.input_size:
        raise ServiceError(
            f"the detector service describes a model with {len(message.classes)} classes and an input of "
            f"{message.input_size} pixels. Driver and service may be of different versions."
        )
    return DetectorSpec(
        name=message.name,
        sha256=message.sha256,
        classes=tuple(message.classes),
        input_size=message.input_size,
        score_threshold=message.score_threshold,
        device=message.device,
    )


def classifier_spec_message(spec: ClassifierSpec) -> types_pb2.ClassifierSpec:
    """The message that describes a classifier."""
    return types_pb2.ClassifierSpec(
        name=spec.name,
        sha256=spec.sha256,
        classes=spec.classes,
        background=spec.background,
        num_frames=spec.num_frames,
        sampling_rate=spec.sampling_rate,
        stride=spec.stride,
        input_size=spec.input_size,
        crop_padding=spec.crop_padding,
        trained_fps=spec.trained_fps,
        is_multi_label=spec.is_multi_label,
        rules=[
            types_pb2.BoutRule(
                threshold=rule.threshold,
                low_threshold=rule.low_threshold,
                min_duration_s=rule.min_duration_s,
                bridge_gap_s=rule.bridge_gap_s,
            )
            for rule in spec.rules
        ],
        assumptions=spec.assumptions,
        device=spec.device,
    )


def classifier_spec(message: types_pb2.ClassifierSpec) -> ClassifierSpec:
    """The classifier that a message describes; raises ServiceError for one that nobody could feed."""
    geometry = (message.num_frames, message.sampling_rate, message.stride, message.input_size)
    if not message.classes or len(message.rules) != len(message.classes) or not all(geometry):
        raise ServiceError(
            f"the MVD service describes a model with {len(message.classes)} classes, {len(message.rules)} bout rules "
            f"and frames, sampling rate, stride and input size {geometry}. Driver and service may be of different "
            "versions."
        )
    return ClassifierSpec(
        name=message.name,
        sha256=message.sha256,
        classes=tuple(message.classes),
        background=message.background if message.HasField("background") else None,
        num_frames=message.num_frames,
        sampling_rate=message.sampling_rate,
        stride=message.stride,
        input_size=message.input_size,
        crop_padding=message.crop_padding,
        trained_fps=message.trained_fps if message.HasField("trained_fps") else None,
        is_multi_label=message.is_multi_label,
        rules=tuple(
            BoutRule(rule.threshold, rule.low_threshold, rule.min_duration_s, rule.bridge_gap_s)
            for rule in message.rules
        ),
        assumptions=tuple(message.assumptions),
        device=message.device,
    )


def _pixels(field: str, data: bytes, shape: tuple[int, ...]) -> UInt8Array:
    """A read-only view of a message's bytes in ``shape``; raises InvalidRequest when their number differs."""
    expected = int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise InvalidRequest(f"{field}: expected {expected} bytes, uint8 RGB of shape {shape}, got {len(data)} bytes.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _check_equal(field: str, expected: int, got: int, unit: str) -> None:
    if got != expected:
        raise InvalidRequest(f"{field}: the model takes {expected} {unit}, got {got}. Ask GetModel for its geometry.")


def _check_answers(noun: str, asked: Sequence[int], answered: Sequence[int]) -> None:
    if list(asked) != list(answered):
        raise ServiceError(
            f"asked for {noun} {list(asked)}, the service answered {list(answered)}. "
            "Driver and service may be of different versions."
        )
