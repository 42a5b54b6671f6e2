from mousetal.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DetectRequest(_message.Message):
    __slots__ = ("frames", "input_size", "images", "score_threshold")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_types_pb2.FrameReference]
    input_size: int
    images: bytes
    score_threshold: float
    def __init__(self, frames: _Optional[_Iterable[_Union[_types_pb2.FrameReference, _Mapping]]] = ..., input_size: _Optional[int] = ..., images: _Optional[bytes] = ..., score_threshold: _Optional[float] = ...) -> None: ...

class DetectResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_types_pb2.FrameDetections]
    def __init__(self, frames: _Optional[_Iterable[_Union[_types_pb2.FrameDetections, _Mapping]]] = ...) -> None: ...

class DetectorServiceGetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DetectorServiceGetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _types_pb2.DetectorSpec
    def __init__(self, model: _Optional[_Union[_types_pb2.DetectorSpec, _Mapping]] = ...) -> None: ...
