"""From the results of all windows to what is known about the video: boxes, bouts, gaps, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mousetal import reference
from mousetal.intervals import find_bouts, frame_posteriors, inherit_flags, merge
from mousetal.packed import packed_boxes, packed_scores
from mousetal.plan import Plan, WindowResult
from mousetal.track import Sighting, follow
from mousetal.types import Bout, Float32Array, FrameRange, NotScored, VideoResult, WindowScore

# Why a frame is not scored, the stronger reason last; the first means that it is.
REASONS = ("", "not classified", "no animal", "damaged")
NOT_CLASSIFIED, NO_ANIMAL, DAMAGED = 1, 2, 3


def finish(video: str, results: Sequence[WindowResult], plan: Plan) -> VideoResult:
    """Everything about ``video`` (its path relative to the input), from the results of all its windows.

    A bout may run across single frames that could not be decoded, when windows that saw most of their frames say so: it
    then carries the flag "damaged". The frames themselves are listed as not scored, and their posterior is NaN.
    """
    info, classifier = plan.info, plan.classifier
    scores = packed_scores((result.score for result in results), len(classifier.classes))
    found = (one for result in results for one in result.detections)
    census = _Census()
    sightings = follow(found, info.pts_seconds, plan.max_gap_s, plan.detector.score_threshold)
    boxes = packed_boxes(sighting.box for sighting in census.of(sightings) if sighting.box is not None)
    missing = merge(gap for result in results for gap in result.missing)
    posteriors = frame_posteriors(scores, info.num_frames, len(classifier.classes))
    if plan.reference_compat:
        bouts = _reference_bouts(scores, posteriors, plan)
    else:
        bouts = inherit_flags(find_bouts(posteriors, classifier, info.pts_seconds, boxes), scores)
    for gap in missing:
        posteriors[gap.start_frame : gap.end_frame] = np.nan
    return VideoResult(
        video=video,
        info=info,
        detector=plan.detector,
        classifier=classifier,
        scores=scores,
        boxes=boxes,
        posteriors=posteriors,
        bouts=bouts,
        not_scored=_not_scored(posteriors, scores, missing),
        decoded_frames=info.num_frames - sum(len(gap) for gap in missing),
        warnings=_warnings(plan, missing, census, has_animal=bool(boxes)),
        reference_compat=plan.reference_compat,
    )


def _reference_bouts(scores: Sequence[WindowScore], posteriors: Float32Array, plan: Plan) -> tuple[Bout, ...]:
    """The reference system's segments; one that ends after the video's last frame ends with it here."""
    return tuple(
        Bout(
            plan.classifier.classes[segment.label],
            segment.start_frame,
            min(segment.end_frame, plan.info.num_frames),
            segment.confidence,
            float(np.nanmean(posteriors[segment.start_frame : segment.end_frame, segment.label])),
            segment.box_xyxy,
        )
        for segment in reference.segments_of(scores)
    )


def _not_scored(
    posteriors: Float32Array, scores: Sequence[WindowScore], missing: Sequence[FrameRange]
) -> tuple[NotScored, ...]:
    why = np.where(np.isnan(posteriors).any(axis=1), NOT_CLASSIFIED, 0)
    for score in scores:
        if not score.is_scored:
            within = why[score.window.frames.start_frame : score.window.frames.end_frame]
            reason = DAMAGED if "damaged" in score.flags and "no_animal" not in score.flags else NO_ANIMAL
            within[within > 0] = np.maximum(within[within > 0], reason)
    for gap in missing:
        why[gap.start_frame : gap.end_frame] = DAMAGED
    edges = np.flatnonzero(np.diff(why, prepend=-1, append=-1)).tolist()
    return tuple(NotScored(FrameRange(start, end), REASONS[why[start]]) for start, end in pairwise(edges) if why[start])


@dataclass
class _Census:
    """Counts over sightings that pass by: an hour of them is not kept."""

    frames: int = 0
    looks: int = 0
    crowded: int = 0
    scenes: list[int] = field(default_factory=list)  # the frames that begin one

    def of(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        for sighting in sightings:
            self.frames += 1
            self.looks += not sighting.detections.is_skipped
            self.crowded += sighting.num_ignored > 0
            if sighting.detections.begins_scene:
                self.scenes.append(sighting.frame_index)
            yield sighting


def _warnings(plan: Plan, missing: Sequence[FrameRange], census: _Census, has_animal: bool) -> tuple[str, ...]:
    info = plan.info
    warnings = list(info.warnings)
    if missing:
        lost, first = sum(len(gap) for gap in missing), missing[0].start_frame
        warnings.append(
            f"{lost} of {info.num_frames} frames could not be decoded, the first at {info.pts_seconds[first]:.2f} s"
        )
    if info.is_variable_frame_rate:
        warnings.append(
            f"variable frame rate ({float(info.fps):.2f} on average): times are exact, windows take frames by count"
        )
    looks, crowded = census.looks, census.crowded
    if census.frames and not has_animal:
        outcome = "whole frames were classified" if plan.reference_compat else "nothing was scored"
        warnings.append(f"no animal was found on any of {looks} frames; {outcome}")
    if census.scenes:
        count, at_s = len(census.scenes), info.pts_seconds[census.scenes[0]]
        cuts = f"a hard cut at {at_s:.2f} s" if count == 1 else f"{count} hard cuts, the first at {at_s:.2f} s"
        warnings.append(f"{cuts}: the animal is not followed across, and bouts near it may be wrong")
    if crowded and not plan.reference_compat:
        warnings.append(
            f"boxes away from the animal's track were left out on {crowded} of {looks} frames: "
            "is there more than one animal?"
        )
    return tuple(warnings)
