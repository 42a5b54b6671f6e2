from mousetal.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyRequest(_message.Message):
    __slots__ = ("window_indices", "num_frames", "input_size", "clips")
    WINDOW_INDICES_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    window_indices: _containers.RepeatedScalarFieldContainer[int]
    num_frames: int
    input_size: int
    clips: bytes
    def __init__(self, window_indices: _Optional[_Iterable[int]] = ..., num_frames: _Optional[int] = ..., input_size: _Optional[int] = ..., clips: _Optional[bytes] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("windows",)
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    windows: _containers.RepeatedCompositeFieldContainer[_types_pb2.WindowProbabilities]
    def __init__(self, windows: _Optional[_Iterable[_Union[_types_pb2.WindowProbabilities, _Mapping]]] = ...) -> None: ...

class MvdServiceGetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MvdServiceGetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _types_pb2.ClassifierSpec
    def __init__(self, model: _Optional[_Union[_types_pb2.ClassifierSpec, _Mapping]] = ...) -> None: ...
