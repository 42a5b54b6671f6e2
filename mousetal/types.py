"""The data that flows through mousetal, as frozen dataclasses.

    file -> VideoInfo + Frame* -> Detections -> Window + crop -> WindowScore -> posteriors -> Bout -> records

Conventions, everywhere in the library:

* frame numbers count from 0 in presentation order, over *all* frames the file holds, decodable or not;
* intervals are half-open, ``[start_frame, end_frame)``;
* seconds are a frame's presentation time minus the first frame's, never ``frame / fps``;
* pixels are uint8 RGB, arrays are (height, width, 3), boxes are ``x1, y1, x2, y2`` in pixels of the video as displayed.

Classes that hold an array have no ``==``: compare them field by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoxInt = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class FrameRange:
    """A half-open run of frames, ``[start_frame, end_frame)``."""

    start_frame: int
    end_frame: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_frame < self.end_frame:
            raise ValueError(f"a frame range needs 0 <= start < end, got [{self.start_frame}, {self.end_frame})")

    def __len__(self) -> int:
        return self.end_frame - self.start_frame

    def overlap(self, other: FrameRange) -> int:
        """Number of frames that both ranges hold."""
        return max(0, min(self.end_frame, other.end_frame) - max(self.start_frame, other.start_frame))


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a look at the file's packets says, before any frame is decoded.

    ``num_frames`` is the length of the frame numbering: packets that would be shown. ``declared_frames`` is what the
    container's header claims (None when it claims nothing); where the two differ, the report says so.
    ``pts_seconds`` has one time per frame, in order, the first being 0; ``width`` and ``height`` are after rotation.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    num_frames: int
    declared_frames: int | None
    duration_seconds: float
    pts_seconds: Float64Array = field(repr=False, compare=False)
    codec: str
    pixel_format: str
    rotation_degrees: int = 0
    is_variable_frame_rate: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame: ``rgb`` is uint8 (height, width, 3), as displayed (rotation applied); empty if not wanted."""

    index: int
    pts_seconds: float
    rgb: UInt8Array

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"a frame is uint8 (height, width, 3), got {self.rgb.dtype} {self.rgb.shape}")

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    def __repr__(self) -> str:
        return f"Frame(index={self.index}, pts_seconds={self.pts_seconds:.3f}, rgb={self.width}x{self.height})"


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """All boxes the detector kept on one frame, best first.

    ``boxes_xyxy`` is float32 (n, 4) in pixels of the source frame, ``scores`` float32 (n,) in 0..1,
    ``labels`` int64 (n,) indexing the detector's class list. ``is_skipped`` says that nobody looked: no boxes then mean
    nothing. ``begins_scene`` says that the frame does not follow the one before (`scenes`).
    """

    frame_index: int
    boxes_xyxy: Float32Array
    scores: Float32Array
    labels: Int64Array
    is_skipped: bool = False
    begins_scene: bool = False

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes_xyxy.shape != (n, 4) or self.labels.shape != (n,):
            raise ValueError(
                f"detections of one length expected, got boxes {self.boxes_xyxy.shape}, "
                f"scores {self.scores.shape}, labels {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def best_box(self, score_threshold: float) -> Float64Array | None:
        """The box with the best score of at least ``score_threshold``, float64 (4,); None when there is none."""
        is_good = self.scores >= np.float32(score_threshold)
        if not is_good.any():
            return None
        best: Float64Array = self.boxes_xyxy[int(np.argmax(np.where(is_good, self.scores, -1)))].astype(np.float64)
        return best

    @classmethod
    def empty(cls, frame_index: int) -> Detections:
        return cls(frame_index, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def skipped(cls, frame_index: int) -> Detections:
        """Of a frame that the detector was not asked about."""
        return replace(cls.empty(frame_index), is_skipped=True)


@dataclass(frozen=True, slots=True, eq=False)
class DetectorBatch:
    """Frames on their way to the detector: ``images`` is uint8 (n, S, S, 3), already resized to the network's input.

    ``frame_indices`` names the frames; ``source_sizes`` holds (width, height) of each source frame, into whose pixels
    the boxes are to be scaled back.
    """

    frame_indices: tuple[int, ...]
    source_sizes: tuple[tuple[int, int], ...]
    images: UInt8Array


@dataclass(frozen=True, slots=True)
class Window:
    """The frames one classification sees.

    ``frame_indices`` are the sampled frames in order (the last one repeated in a video shorter than a span);
    ``frames`` is the range of source frames that the score speaks for.
    """

    index: int
    frame_indices: tuple[int, ...]
    frames: FrameRange


@dataclass(frozen=True, slots=True, eq=False)
class ClipBatch:
    """Windows on their way to the classifier: ``clips`` is uint8 (n, T, S, S, 3), cropped and resized."""

    window_indices: tuple[int, ...]
    clips: UInt8Array


@dataclass(frozen=True, slots=True)
class FrameBox:
    """Where the animal is on one sampled frame: the track's box, and where it came from.

    ``source`` is "detected", "interpolated" (between two detections) or "held" (next to one, within the gap).
    ``score`` is the detection's, or 0 for a borrowed box.
    """

    frame_index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class WindowScore:
    """What the classifier said of one window.

    ``probabilities`` is float32 (classes,), all NaN when the window was not scored (``flags`` says why);
    ``crop_xyxy`` is the square that was cropped, in source pixels, and may stick out of the frame (the part outside
    was padded); None when there was no animal to crop.
    """

    window: Window
    crop_xyxy: BoxInt | None
    probabilities: Float32Array
    flags: tuple[str, ...] = ()

    @property
    def is_scored(self) -> bool:
        return bool(np.isfinite(self.probabilities).all())


@dataclass(frozen=True, slots=True)
class Bout:
    """One occurrence of a behaviour: frames ``[start_frame, end_frame)``.

    ``confidence`` is the highest and ``mean_probability`` the mean of the class's frame posterior inside the bout;
    ``box_xyxy`` is the union of the animal's boxes over the bout, None when there were none.
    """

    behavior: str
    start_frame: int
    end_frame: int
    confidence: float
    mean_probability: float
    box_xyxy: BoxInt | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """A bout as a person labelled it. ``count`` is how many repeats the person counted in it.

    ``rater`` names the person and may be empty; ``origin`` says where it was read ("scores.xlsx!Day 1!B7:C7").
    """

    behavior: str
    frames: FrameRange
    count: int = 1
    rater: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class BoutRule:
    """How one class's frame posterior becomes bouts.

    A bout starts where the posterior reaches ``threshold`` and lasts while it stays at or above ``low_threshold``
    (hysteresis); gaps up to ``bridge_gap_s`` seconds are bridged; bouts shorter than ``min_duration_s`` are dropped.
    """

    threshold: float = 0.5
    low_threshold: float = 0.5
    min_duration_s: float = 0.0
    bridge_gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """What a driver must know of a detector: its classes, its input (square side in pixels), its score threshold."""

    name: str
    sha256: str
    classes: tuple[str, ...]
    input_size: int
    score_threshold: float
    device: str = ""


@dataclass(frozen=True, slots=True)
class ClassifierSpec:
    """What a driver must know of a classifier: classes in order, clip geometry, bout rules.

    ``background`` indexes the class that means "none of the behaviours" (None: there is none).
    ``stride`` counts sampled frames between the starts of neighbouring windows. ``trained_fps`` is the frame rate the
    network was trained at; None means unknown, and then frames are sampled by count alone.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    background: int | None
    num_frames: int
    sampling_rate: int
    stride: int
    input_size: int
    crop_padding: float
    trained_fps: float | None
    is_multi_label: bool
    rules: tuple[BoutRule, ...]
    assumptions: tuple[str, ...] = ()
    device: str = ""


@dataclass(frozen=True, slots=True)
class NotScored:
    """Frames that no bout can be claimed for, and why: "damaged", "no animal", "not classified"."""

    frames: FrameRange
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class VideoResult:
    """All that was found in one video: what `records` writes, the report shows and the review page edits.

    ``video`` is the path relative to the input folder, with forward slashes. ``boxes`` has one entry per sampled frame
    on which the animal's place is known. ``decoded_frames`` counts what the decoder really delivered.
    ``posteriors`` is float32 (num_frames, classes): per source frame, NaN where not scored.
    """

    video: str
    info: VideoInfo
    detector: DetectorSpec
    classifier: ClassifierSpec
    scores: Sequence[WindowScore]
    boxes: Sequence[FrameBox]
    posteriors: Float32Array
    bouts: tuple[Bout, ...]
    not_scored: tuple[NotScored, ...]
    decoded_frames: int
    warnings: tuple[str, ...] = ()
    reference_compat: bool = False
