"""A video's frames in, window results out: decode -> detect -> crop -> classify, over two callables.

    results = list(analyse(video.decode(info), detect, classify, plan))
    found = finish("mice/a.mp4", results, plan)

The callables may be networks in this process, clients of services or lambdas in a test. Each gets an iterable of
batches and gives an iterator of answers, lazily and in order. It may pull its input on a thread of its own and some
batches ahead; an error raised inside its input must come out of its answers unchanged.

How the stages overlap: whoever pulls the classifier's input runs the crops, which pull the detector's answers; whoever
pulls the detector's input resizes frames, which a thread of ours decodes ahead of time. Nothing else is scheduled.

Where ``plan.key_spacing`` is above 1 the detector is asked about some frames only (`looks`); the flow is the same.

Memory: sampled frames are held from when they are decoded until no window to come needs them. That is at most
``prefetch_frames`` + the batches under way in ``detect`` + the frames of ``max_gap_s`` + one window's frames + one
detector batch + three between threads, however long the video is; and as many clips as are under way in ``classify``,
plus one batch. Where the detector looks at some frames only, those under way are instead at most
`looks.most_undecided`. Results without a score (nothing to classify) wait for the classifier's next answer and hold no
pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mousetal.closing import Relay
from mousetal.cropping import fill_missing, place
from mousetal.geometry import crop_clip, resize_for_detector
from mousetal.looks import Looks
from mousetal.meter import StageMeter
from mousetal.outcome import finish
from mousetal.plan import Plan, WindowResult, resume_frame
from mousetal.ring import FrameRing
from mousetal.scenes import Scenes
from mousetal.streams import batched, prefetch
from mousetal.track import Sighting, follow
from mousetal.types import (
    BoxInt,
    ClipBatch,
    Detections,
    DetectorBatch,
    Float32Array,
    Frame,
    FrameRange,
    UInt8Array,
    Window,
    WindowScore,
)

__all__ = ["Classify", "Detect", "Plan", "StageMeter", "WindowResult", "analyse", "finish", "resume_frame"]

Detect = Callable[[Iterable[DetectorBatch]], Iterator[list[Detections]]]  # one list per batch, one entry per frame
Classify = Callable[[Iterable[ClipBatch]], Iterator[Float32Array]]  # (clips, classes) per batch


def analyse(
    frames: Iterable[Frame],
    detect: Detect,
    classify: Classify,
    plan: Plan,
    *,
    done: Sequence[WindowResult] = (),
    meter: StageMeter | None = None,
) -> Iterator[WindowResult]:
    """One result per window of the video, in order, each as soon as it is known.

    ``frames`` come in order; numbers left out are frames that could not be decoded. A window most of whose frames are
    there repeats the frame before a missing one, and carries the flag "damaged"; with more than a quarter missing it is
    not scored. Nor is a window without any animal ("no_animal"). Other flags: "borrowed_box" and "missing_box" (some
    frames had none of their own, or none at all), "ignored_box" (boxes off the animal's track were left out),
    "scene_cut" (there is a hard cut in it, across which nothing is followed).

    ``done`` are the first results of a run that was interrupted: then ``frames`` start at `resume_frame`, the animal's
    track is rebuilt from the detections in ``done``, and the results that follow are those of an uninterrupted run.

    Raises what ``frames``, ``detect`` and ``classify`` raise. Closing the returned generator ends everything behind it.
    """
    return _Analysis(frames, detect, classify, plan, done, meter or StageMeter()).results()


@dataclass(frozen=True, slots=True)
class _Cropped:
    """A window on its way through the classifier, or past it."""

    window: Window
    crop_xyxy: BoxInt | None
    flags: tuple[str, ...]
    detections: tuple[Detections, ...]
    missing: tuple[FrameRange, ...]

    @property
    def is_to_score(self) -> bool:
        return self.crop_xyxy is not None

    def result(self, probabilities: Float32Array) -> WindowResult:
        score = WindowScore(self.window, self.crop_xyxy, probabilities, self.flags)
        return WindowResult(score, self.detections, self.missing)


class _Analysis:
    """The stages of one run, each an iterator over the one before, and the little state between them.

    The methods stand in the order of the data. Each runs on the thread of whoever pulls it, see the module.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        detect: Detect,
        classify: Classify,
        plan: Plan,
        done: Sequence[WindowResult],
        meter: StageMeter,
    ) -> None:
        self._detect, self._classify, self._plan, self._meter = detect, classify, plan, meter
        self._total = plan.info.num_frames
        self._num_done = len(done)
        self._known = [found for result in done for found in result.detections]
        self._known_through = self._known[-1].frame_index if self._known else -1
        gaps = [gap.end_frame for result in done for gap in result.missing]
        self._first_news = max([self._known_through + 1, *gaps])  # what was missing before is in `done`
        self._first_frame = resume_frame(done, plan)
        self._sampled_frames = plan.sampled_frames
        self._frames = Relay(prefetch(self._sampled(frames), plan.prefetch_frames))
        self._ring = FrameRing()
        is_sparse = plan.key_spacing > 1
        # It knows the ring and not this object: a circle would hold frames until Python's collector comes by.
        self._looks = Looks(plan, self._ring.held, self._known, len(done)) if is_sparse else None
        self._scenes = Scenes()  # of a frame it knows before the detector is asked about it
        self._fresh: list[Detections] = []  # answers of the detector that no result holds yet
        self._gaps: deque[FrameRange] = deque()  # frames found missing that no result holds yet
        self._heard_through = -1  # the frame of the detector's last answer that was looked at
        self._waiting: deque[_Cropped] = deque()

    def _sampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames that windows take; what is missing between all of them is noted. Runs on the decoding thread."""
        is_sampled = np.zeros(self._total, np.bool_)
        is_sampled[self._sampled_frames] = True
        due = self._first_frame
        for frame in self._meter.timed("decode", frames):
            if frame.index > due:
                self._gaps.append(FrameRange(due, frame.index))
            if frame.index >= due:
                due = frame.index + 1
                if not self._plan.reference_compat:
                    self._scenes.see(frame, bool(is_sampled[frame.index]))
                if is_sampled[frame.index]:
                    yield frame
        if due < self._total:
            self._gaps.append(FrameRange(due, self._total))

    def _detector_batches(self) -> Iterator[DetectorBatch]:
        for frames in batched(self._frames, self._plan.detector_batch):
            for frame in frames:
                self._ring.add(frame)
            yield self._detector_batch([frame.index for frame in frames])

    def _looks_to_take(self, looks: Looks) -> Iterator[DetectorBatch]:
        """Frames to look at, one at a time: what lies between keys and must be seen first, else the next key."""
        is_over = False
        while True:
            if not is_over:
                looks.wait_for_room()
            wanted = looks.wanted(1)
            if not wanted and is_over:
                if not looks.wait():
                    return
                continue
            if not wanted:
                frame = next(self._frames, None)
                if frame is None:
                    is_over = True
                    wanted = looks.end()
                else:
                    self._ring.add(frame)
                    wanted = looks.add(frame.index, frame.index in self._scenes)
            if wanted:
                yield self._detector_batch(wanted)

    def _detector_batch(self, indices: list[int]) -> DetectorBatch:
        """Frames that the ring holds, resized."""
        side = self._plan.detector.input_size
        with self._meter.busy("detect", 0):
            pictures = [image for index in indices if (image := self._ring.get(index)) is not None]
            images = np.stack([resize_for_detector(image, side) for image in pictures])
        sizes = tuple((image.shape[1], image.shape[0]) for image in pictures)
        return DetectorBatch(tuple(indices), sizes, images)

    def _answers(self) -> Iterator[list[Detections]]:
        """What the detector says of the frames to come, in their order, skipped ones among them."""
        if self._looks is None:
            yield from self._meter.answered("detect", self._detect, self._detector_batches())
            return
        for answer in self._meter.answered("detect", self._detect, self._looks_to_take(self._looks)):
            for found in answer:
                self._looks.answer(found)
            yield self._looks.settled()
        yield self._looks.settled()  # what was waiting for the end of the video only

    def _detections(self) -> Iterator[Detections]:
        """Frame by frame what the detector says, beginning with what it said in the run that is resumed."""
        for found in self._known:
            self._heard_through = found.frame_index
            yield found
        for unmarked in self._answers():
            answer = [self._scenes.marked(found) for found in unmarked]
            for found in answer:
                self._fresh.append(found)
                self._heard_through = found.frame_index
                yield found
        self._heard_through = self._total

    def _crops(self) -> Iterator[tuple[_Cropped, UInt8Array | None]]:
        """Every window as soon as the animal's place is settled on its frames, with its clip if it is to be scored."""
        plan = self._plan
        self._refill_ring()
        arriving = follow(self._detections(), plan.info.pts_seconds, plan.max_gap_s, plan.detector.score_threshold)
        sightings: dict[int, Sighting] = {}
        settled_through = -1
        left = islice(plan.windows.iter_windows(self._total), self._num_done, None)
        following = next(left, None)
        while (window := following) is not None:
            following = next(left, None)
            # The last one waits for the end of the video, and so knows of all missing frames.
            needed_through = self._total if following is None else window.frame_indices[-1]
            while settled_through < needed_through:
                sighting = next(arriving, None)
                if sighting is None:
                    settled_through = self._total
                else:
                    settled_through = sighting.frame_index
                    sightings[settled_through] = sighting
            self._ring.drop_before(self._needed_from(window))
            sightings = {index: one for index, one in sightings.items() if index >= window.frame_indices[0]}
            yield self._crop(window, [sightings[i] for i in sorted({*window.frame_indices} & sightings.keys())])

    def _needed_from(self, window: Window) -> int:
        """The first frame whose pixels this window or one to come needs."""
        first = window.frame_indices[0]
        return first if self._looks is None else min(first, self._looks.needed_from)

    def _refill_ring(self) -> None:
        """After a resume: hold the frames whose detections are known already, they will not be asked for again."""
        if self._known_through >= self._first_frame:
            for frame in self._frames:
                self._ring.add(frame)
                if frame.index >= self._known_through:
                    return

    def _crop(self, window: Window, sightings: list[Sighting]) -> tuple[_Cropped, UInt8Array | None]:
        images = [self._ring.get(index) for index in window.frame_indices]
        damaged = ("damaged",) if any(image is None for image in images) else ()
        whole = fill_missing(images)
        crop, flags = place(sightings, self._plan) if whole else (None, ())
        clip = None
        if whole and crop:
            with self._meter.busy("crop", 1):
                clip = crop_clip(whole, crop, self._plan.classifier.input_size)
        detections, self._fresh = tuple(self._fresh), []
        return _Cropped(window, crop, flags + damaged, detections, self._news_of_gaps()), clip

    def _news_of_gaps(self) -> tuple[FrameRange, ...]:
        """Missing frames before the last answer of the detector; a gap is noted before the frame after it is asked."""
        news = []
        while self._gaps and self._gaps[0].start_frame < self._heard_through:
            gap = self._gaps.popleft()
            if gap.start_frame >= self._first_news:
                news.append(gap)
        return tuple(news)

    def _clip_batches(self) -> Iterator[ClipBatch]:
        indices: list[int] = []
        clips: list[UInt8Array] = []
        for cropped, clip in self._crops():
            self._waiting.append(cropped)
            if clip is None:
                continue
            indices.append(cropped.window.index)
            clips.append(clip)
            if len(clips) == self._plan.classifier_batch:
                yield ClipBatch(tuple(indices), np.stack(clips))
                indices, clips = [], []
        if clips:
            yield ClipBatch(tuple(indices), np.stack(clips))

    def results(self) -> Iterator[WindowResult]:
        if self._first_frame >= self._total:
            return
        clips = Relay(self._clip_batches())
        answers = self._meter.answered("classify", self._classify, clips)
        try:
            for answer in answers:
                for probabilities in answer:
                    yield from self._passed_by()
                    yield self._waiting.popleft().result(self._checked(probabilities))
            yield from self._passed_by()
            if self._waiting:
                raise ValueError(f"the classifier left {len(self._waiting)} windows unanswered")
        finally:
            # From the source on, so that whoever is pulling at this moment finds the end of its input.
            self._frames.close()
            if self._looks is not None:
                self._looks.close()
            clips.close()
            answers.close()

    def _passed_by(self) -> Iterator[WindowResult]:
        """The next windows in line as long as they are not to be scored."""
        nothing = np.full(len(self._plan.classifier.classes), np.nan, np.float32)
        while self._waiting and not self._waiting[0].is_to_score:
            yield self._waiting.popleft().result(nothing)

    def _checked(self, probabilities: Float32Array) -> Float32Array:
        if probabilities.shape != (len(self._plan.classifier.classes),):
            raise ValueError(
                f"{len(self._plan.classifier.classes)} probabilities per window expected, got {probabilities.shape}"
            )
        return probabilities.astype(np.float32)
