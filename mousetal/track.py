"""Where the animal is on each sampled frame: one animal per arena, followed from box to box.

Of all the boxes on a frame the one that the animal can have reached since it was last seen is kept; boxes elsewhere (a
reflection, a hand, a second animal) are left out and counted. A frame without a box borrows one from its neighbours in
time, no further away than ``max_gap_s``: between two boxes it is interpolated, next to one it is held. A frame that the
detector was not asked about, between two looks with a box, is interpolated however far away these are (`looks`).

    seen      #   #       #                       #
    box       d   d   i   d   h   h           h   d      d detected, i interpolated, h held, blank: none

Both stages are iterators, one item in and one out per frame and in order; `fill_gaps` runs behind by ``max_gap_s``, or
by what was skipped between two looks.
Nothing is followed or borrowed across a hard cut (`Detections.begins_scene`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from mousetal.geometry import interpolate, iou
from mousetal.types import Detections, Float64Array, FrameBox

# How far the animal's centre may move between two sightings, in longer sides of its box: a start, which allows for the
# box changing its shape, and so much per second (a mouse at full run covers about ten of its lengths).
REACH_SIDES = 0.5
REACH_SIDES_PER_SECOND = 10.0
SLACK_S = 1e-6  # what times may be off in floating point
SAME_ANIMAL_IOU = 0.5  # a box that overlaps the kept one this much is a second box of the same animal


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One sampled frame: what the detector said, the animal's box if known, how many boxes elsewhere were left out."""

    detections: Detections
    box: FrameBox | None
    num_ignored: int

    @property
    def frame_index(self) -> int:
        return self.detections.frame_index

    @property
    def is_borrowed(self) -> bool:
        """Whether the box is a neighbour's for want of one here. One interpolated on purpose is none of these."""
        if self.box is None or self.box.source == "detected":
            return False
        return self.box.source == "held" or not self.detections.is_skipped


def follow(
    detections: Iterable[Detections], pts_seconds: Float64Array, max_gap_s: float, score_threshold: float
) -> Iterator[Sighting]:
    """The animal's box on every frame of ``detections``, which come in the order of time.

    ``pts_seconds`` (frames,) tells the time of each frame. Boxes below ``score_threshold`` do not count.
    """
    max_gap_s += SLACK_S
    return fill_gaps(keep_one(detections, pts_seconds, max_gap_s, score_threshold), pts_seconds, max_gap_s)


def keep_one(
    detections: Iterable[Detections], pts_seconds: Float64Array, max_gap_s: float, score_threshold: float
) -> Iterator[Sighting]:
    """On every frame the best box within the animal's reach, or none.

    The track starts on the best box, and starts anew when it was lost for longer than ``max_gap_s``, or when for that
    long a box elsewhere scored higher: so a track that began on a false box finds to the animal.
    """
    seen: FrameBox | None = None  # the last box of the track
    rival_since: float | None = None
    for found in detections:
        if found.begins_scene:
            seen, rival_since = None, None
        if found.is_skipped:
            yield Sighting(found, None, 0)
            continue
        now = float(pts_seconds[found.frame_index])
        candidates = _candidates(found, score_threshold)
        best = max(candidates, key=lambda box: box.score, default=None)
        gap = now - float(pts_seconds[seen.frame_index]) if seen else 0.0
        if seen is None or gap > max_gap_s or (rival_since is not None and now - rival_since > max_gap_s):
            kept, rival_since = best, None
        else:
            kept = _most_likely(seen, candidates, gap)
            is_rivalled = kept is not None and best is not None and best.score > kept.score and not _same(best, kept)
            rival_since = (rival_since if rival_since is not None else now) if is_rivalled else None
        seen = kept or seen
        yield Sighting(found, kept, sum(kept is None or not _same(box, kept) for box in candidates))


def fill_gaps(sightings: Iterable[Sighting], pts_seconds: Float64Array, max_gap_s: float) -> Iterator[Sighting]:
    """The same frames; those without a box borrow one from sightings at most ``max_gap_s`` away, if there are any.

    Between two sightings that close to each other a box is interpolated; else that of the nearer one is held. Between
    two looks with nothing but skipped frames between them it is interpolated in any case.
    """
    before: FrameBox | None = None
    last_look = -1
    empty: deque[Sighting] = deque()  # frames without a box whose next sighting is still to come
    for sighting in sightings:
        after, frame = sighting.box, sighting.frame_index
        is_look = not sighting.detections.is_skipped
        now = float(pts_seconds[frame])
        if sighting.detections.begins_scene:
            while empty:
                yield _borrowed(empty.popleft(), before, None, pts_seconds, max_gap_s)
            before = None
        while empty and (
            after is not None
            or ((is_look or empty[0].frame_index < last_look) and now - _time(empty[0], pts_seconds) > max_gap_s)
        ):
            one = empty.popleft()
            is_between_looks = before is not None and before.frame_index == last_look < one.frame_index
            yield _borrowed(one, before, after, pts_seconds, np.inf if after and is_between_looks else max_gap_s)
        if is_look:
            last_look = frame
        if after is None:
            empty.append(sighting)
        else:
            before = after
            yield sighting
    for sighting in empty:
        yield _borrowed(sighting, before, None, pts_seconds, max_gap_s)


def _candidates(found: Detections, score_threshold: float) -> list[FrameBox]:
    return [
        FrameBox(found.frame_index, (x1, y1, x2, y2), score, "detected")
        for (x1, y1, x2, y2), score in zip(found.boxes_xyxy.tolist(), found.scores.tolist(), strict=True)
        if score >= np.float32(score_threshold)
    ]


def _most_likely(seen: FrameBox, candidates: list[FrameBox], gap_s: float) -> FrameBox | None:
    """The candidate with the best score within reach of ``seen``, scores halved towards the edge of the reach."""
    x1, y1, x2, y2 = seen.box_xyxy
    reach = max(x2 - x1, y2 - y1, 1.0) * (REACH_SIDES + REACH_SIDES_PER_SECOND * gap_s)
    near = [(box, distance) for box in candidates if (distance := _centre_distance(seen, box)) <= reach]
    return max(near, key=lambda pair: pair[0].score * (1 - 0.5 * pair[1] / reach), default=(None, 0.0))[0]


def _time(sighting: Sighting, pts_seconds: Float64Array) -> float:
    return float(pts_seconds[sighting.frame_index])


def _borrowed(
    sighting: Sighting, before: FrameBox | None, after: FrameBox | None, pts_seconds: Float64Array, max_gap_s: float
) -> Sighting:
    now = float(pts_seconds[sighting.frame_index])
    since = now - float(pts_seconds[before.frame_index]) if before else np.inf
    until = float(pts_seconds[after.frame_index]) - now if after else np.inf
    if before and after and since + until <= max_gap_s:
        x1, y1, x2, y2 = interpolate(before.box_xyxy, after.box_xyxy, since / (since + until)).tolist()
        return replace(sighting, box=FrameBox(sighting.frame_index, (x1, y1, x2, y2), 0.0, "interpolated"))
    nearest = before if since <= until else after
    if nearest is None or min(since, until) > max_gap_s:
        return sighting
    return replace(sighting, box=FrameBox(sighting.frame_index, nearest.box_xyxy, 0.0, "held"))


def _centre_distance(a: FrameBox, b: FrameBox) -> float:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.box_xyxy, b.box_xyxy
    return float(np.hypot(ax1 + ax2 - bx1 - bx2, ay1 + ay2 - by1 - by2)) / 2


def _same(a: FrameBox, b: FrameBox) -> bool:
    return iou(a.box_xyxy, b.box_xyxy) >= SAME_ANIMAL_IOU
