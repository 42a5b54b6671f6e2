"""What is to be done with one video, and what comes of each of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mousetal.scenes import HISTORY
from mousetal.types import ClassifierSpec, Detections, DetectorSpec, FrameRange, VideoInfo, WindowScore
from mousetal.windows import WindowPlan

AUTO = 0  # `Plan.detect_every`: as rarely as is safe, which is what a driver does unless told otherwise
AUTO_SPACING_S = 0.2  # between looks; at 0.3 and more single classes changed in trials (CONTRIBUTING)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides the results for one video, and how much is under way at once.

    ``detector.score_threshold`` is the threshold in force: boxes below it do not count, whatever the detector returns.
    A frame without a box borrows one from frames at most ``max_gap_s`` seconds away. The detector looks at every
    ``detect_every``-th sampled frame, and at those between where they are needed (`keyframes`); 1: at all; `AUTO`: as
    rarely as is safe, see `key_spacing`. The last three count items.
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
    def key_spacing(self) -> int:
        """How many sampled frames apart the detector looks in any case.

        Never so far that a frame between two boxes could not borrow from both. The reference's way is to look at all.
        """
        if self.reference_compat:
            return 1
        sampled_fps = self.info.fps / self.windows.step
        most = max(1, int(self.max_gap_s * sampled_fps))
        return min(self.detect_every or max(1, int(AUTO_SPACING_S * sampled_fps)), most)


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

    The next window's first frame, or one as far back as it takes to tell hard cuts among the frames to come.
    """
    left = islice(plan.windows.iter_windows(plan.info.num_frames), len(done), None)
    window = next(left, None)
    if window is None:
        return plan.info.num_frames
    backwards = (found.frame_index for result in reversed(done) for found in reversed(result.detections))
    return min([window.frame_indices[0], *islice(backwards, HISTORY + 1)])
