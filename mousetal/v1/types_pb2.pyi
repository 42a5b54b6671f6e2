from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FrameReference(_message.Message):
    __slots__ = ("frame_index", "source_width", "source_height")
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    SOURCE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    frame_index: int
    source_width: int
    source_height: int
    def __init__(self, frame_index: _Optional[int] = ..., source_width: _Optional[int] = ..., source_height: _Optional[int] = ...) -> None: ...

class FrameDetections(_message.Message):
    __slots__ = ("frame_index", "boxes_xyxy", "scores", "labels")
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    BOXES_XYXY_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    frame_index: int
    boxes_xyxy: _containers.RepeatedScalarFieldContainer[float]
    scores: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, frame_index: _Optional[int] = ..., boxes_xyxy: _Optional[_Iterable[float]] = ..., scores: _Optional[_Iterable[float]] = ..., labels: _Optional[_Iterable[int]] = ...) -> None: ...

class WindowProbabilities(_message.Message):
    __slots__ = ("window_index", "probabilities")
    WINDOW_INDEX_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    window_index: int
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, window_index: _Optional[int] = ..., probabilities: _Optional[_Iterable[float]] = ...) -> None: ...

class DetectorSpec(_message.Message):
    __slots__ = ("name", "sha256", "classes", "input_size", "score_threshold", "device")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    input_size: int
    score_threshold: float
    device: str
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., input_size: _Optional[int] = ..., score_threshold: _Optional[float] = ..., device: _Optional[str] = ...) -> None: ...

class BoutRule(_message.Message):
    __slots__ = ("threshold", "low_threshold", "min_duration_s", "bridge_gap_s")
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    LOW_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATION_S_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_GAP_S_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    low_threshold: float
    min_duration_s: float
    bridge_gap_s: float
    def __init__(self, threshold: _Optional[float] = ..., low_threshold: _Optional[float] = ..., min_duration_s: _Optional[float] = ..., bridge_gap_s: _Optional[float] = ...) -> None: ...

class ClassifierSpec(_message.Message):
    __slots__ = ("name", "sha256", "classes", "background", "num_frames", "sampling_rate", "stride", "input_size", "crop_padding", "trained_fps", "is_multi_label", "rules", "assumptions", "device")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_RATE_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    CROP_PADDING_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FPS_FIELD_NUMBER: _ClassVar[int]
    IS_MULTI_LABEL_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    ASSUMPTIONS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    background: int
    num_frames: int
    sampling_rate: int
    stride: int
    input_size: int
    crop_padding: float
    trained_fps: float
    is_multi_label: bool
    rules: _containers.RepeatedCompositeFieldContainer[BoutRule]
    assumptions: _containers.RepeatedScalarFieldContainer[str]
    device: str
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., background: _Optional[int] = ..., num_frames: _Optional[int] = ..., sampling_rate: _Optional[int] = ..., stride: _Optional[int] = ..., input_size: _Optional[int] = ..., crop_padding: _Optional[float] = ..., trained_fps: _Optional[float] = ..., is_multi_label: _Optional[bool] = ..., rules: _Optional[_Iterable[_Union[BoutRule, _Mapping]]] = ..., assumptions: _Optional[_Iterable[str]] = ..., device: _Optional[str] = ...) -> None: ...
