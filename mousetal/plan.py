"""What is to be done with one video, and what comes of each of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mousetal.scenes import HISTORY
from mousetal.types import (
    ClassifierSpec,
    Detections,
    DetectorSpec,
    FrameRange,
    Int64Array,
    VideoInfo,
    Window,
    WindowScore,
)
from mousetal.windows import WindowPlan

AUTO = 0  # `Plan.detect_every`: as rarely as is sensible, which is what a driver does unless told otherwise
MOST_APART_S = 0.6  # between looks, in which a mouse at full run covers about six of its lengths


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides the results for one video, and how much is under way at once.

    ``detector.score_threshold`` is the threshold in force: boxes below it do not count, whatever the detector returns.
    A frame without a box borrows one from frames at most ``max_gap_s`` seconds away. The detector looks at every
    ``detect_every``-th sampled frame, and at those between where a crop may hinge on them (`looks`); 1: at all; `AUTO`:
    twice in a window, see `key_spacing`. The last three count items.
    """

    info: VideoInfo
    detector: DetectorSpec
    classifier: ClassifierSpec
    reference_compat: bool = False
    max_gap_s: float = 0.5
    detect_every: int = 1
    detector_batch: int = 4
    classifier_batch: int = 4
    prefetch_frames: int = 8

    @property
    def windows(self) -> WindowPlan:
        return WindowPlan.for_video(self.classifier, self.info.fps, self.reference_compat)

    @property
    def sampled_frames(self) -> Int64Array:
        """The numbers of the frames that windows take, ascending: no other frame's pixels are of use."""
        return self.windows.sampled_frames(self.info.num_frames)

    @property
    def key_spacing(self) -> int:
        """How many sampled frames apart the detector looks in any case, so that every window holds two such looks.

        The reference's way is to look at all.
        """
        if self.reference_compat:
            return 1
        most = min(self.classifier.num_frames // 2, int(MOST_APART_S * self.info.fps / self.windows.step))
        return max(1, min(self.detect_every or most, most))


@dataclass(frozen=True, slots=True, eq=False)
class WindowResult:
    """One window's score, and what became known of the video between the window before and this one.

    ``detections`` are the detector's answers, one per sampled frame, and ``missing`` the frames that could not be
    decoded. A run that is to be resumed later must keep all three.
    """

    score: WindowScore
    detections: tuple[Detections, ...]
    missing: tuple[FrameRange, ...] = ()


def resume_frame(done: Sequence[WindowResult], plan: Plan) -> int:
    """The first frame that must be decoded again to go on after ``done``; the number of frames when nothing is left.

    The look before the next window, or a frame as far back as it takes to tell hard cuts among the frames to come.
    """
    left = islice(plan.windows.iter_windows(plan.info.num_frames), len(done), None)
    window = next(left, None)
    if window is None:
        return plan.info.num_frames
    backwards = (found.frame_index for result in reversed(done) for found in reversed(result.detections))
    return min([first_look(window, plan.sampled_frames, plan.key_spacing), *islice(backwards, HISTORY + 1)])


def first_look(window: Window, sampled_frames: Int64Array, key_spacing: int) -> int:
    """The key at a window's first frame or the last one before it, if no frame is missing there (`looks`)."""
    place = int(np.searchsorted(sampled_frames, window.frame_indices[0]))
    return int(sampled_frames[place - place % key_spacing])
