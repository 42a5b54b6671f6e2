"""Which parts of a video become training clips: every bout with what surrounds it, and idle time from everywhere.

    bout        [====]                     a twitch in the middle of its clip
    clip    [--------------)
    bout              [==========================================]      a long one in pieces, each with its surroundings
    clips           [----------------)[----------------)[---------------)
    idle    drawn over the whole video in equal strata, away from bouts; and where the animal moves most

Lengths follow the reference system's (up to five seconds of one bout in a clip); unlike there nothing is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mousetal.dataset import Dataset, VideoEntry
from mousetal.intervals import merge
from mousetal.types import Float64Array, FrameRange, Label
from training.clips import UNSCORED


@dataclass(frozen=True, slots=True)
class CutRules:
    """How clips are cut; seconds, unless said otherwise. ``idle_per_behavior`` is idle time per time of behaviour.

    ``window_s`` is what the classifier sees at once: every clip holds at least one window around each of its labelled
    frames. ``guard_s`` is kept between idle clips and bouts. ``hard_share`` of the idle clips are where most happens.
    """

    clip_s: float = 2.5
    max_bout_s: float = 5.0
    window_s: float = 0.6
    guard_s: float = 0.5
    idle_per_behavior: float = 2.0
    least_idle: int = 4  # clips
    hard_share: float = 0.4


@dataclass(frozen=True, slots=True)
class Cut:
    """One clip to be: the class it is cut for, its frames, and the bout that it holds or holds a piece of, if any."""

    behavior: str
    frames: FrameRange
    bout: FrameRange | None = None


def frame_labels(dataset: Dataset, entry: VideoEntry, labels: Sequence[Label]) -> npt.NDArray[np.int8]:
    """The class of every frame, int8 (num_frames,): UNSCORED where nobody looked, or not for all behaviours.

    Where bouts of two behaviours overlap the one that is listed later counts.
    """
    every = set(dataset.behaviors)
    looked_for = every if entry.behaviors is None else every & {*entry.behaviors}
    is_scored = np.zeros(entry.num_frames, np.bool_)
    for scored in entry.scored_ranges:
        is_scored[scored.start_frame : scored.end_frame] = True
    found = np.where(is_scored & (looked_for == every), 0, UNSCORED).astype(np.int8)
    for label in labels:
        inside = slice(label.frames.start_frame, label.frames.end_frame)
        found[inside][is_scored[inside]] = dataset.classes.index(label.behavior)
    return found


def plan_cuts(
    dataset: Dataset,
    entry: VideoEntry,
    labels: Sequence[Label],
    classes: npt.NDArray[np.int8],
    interest: Float64Array,
    rules: CutRules,
    rng: np.random.Generator,
) -> list[Cut]:
    """All clips of one video, in order of their first frame.

    ``classes`` (num_frames,) are its `frame_labels`, ``interest`` (num_frames,) says where hard idle may be.
    """
    fps, total = float(entry.fps), entry.num_frames
    span = max(1, math.ceil(rules.window_s * fps))
    bouts = [
        Label(behavior, frames)  # one, where several people scored it
        for behavior in dict.fromkeys(label.behavior for label in labels)
        for frames in merge(label.frames for label in labels if label.behavior == behavior)
    ]
    cuts = [cut for bout in bouts for cut in _around(bout, total, span, rules, fps)]
    busy_s = sum(len(bout.frames) for bout in bouts) / fps
    count = max(rules.least_idle, round(rules.idle_per_behavior * busy_s / rules.clip_s))
    length = min(total, max(span, round(rules.clip_s * fps)))
    free = _free_starts(classes, length, round(rules.guard_s * fps))
    hard = min(count, round(rules.hard_share * count)) if interest.any() else 0
    hardest = _hardest(free, interest, length, hard)
    starts = _apart(hardest + _spread(free, count - len(hardest), rng), length // 2)
    cuts += [Cut(dataset.background, FrameRange(start, start + length)) for start in starts]
    return sorted(cuts, key=lambda cut: (cut.frames.start_frame, cut.frames.end_frame, cut.behavior))


def _around(label: Label, total: int, span: int, rules: CutRules, fps: float) -> list[Cut]:
    """A bout's clips: pieces of at most ``max_bout_s``, with three quarters of a window on either side or more."""
    limit = max(1, int(rules.max_bout_s * fps))
    pieces = math.ceil(len(label.frames) / limit)
    base, longer = divmod(len(label.frames), pieces)
    cuts, start = [], label.frames.start_frame
    for piece in range(pieces):
        end = start + base + (piece < longer)
        missing = round(rules.clip_s * fps) - (end - start)
        side = max(math.ceil(0.75 * span), math.ceil(missing / 2))
        first = max(0, min(start - side, total - span))
        last = min(total, max(end + side, first + span))
        cuts.append(Cut(label.behavior, FrameRange(first, last), label.frames))
        start = end
    return cuts


def _free_starts(classes: npt.NDArray[np.int8], length: int, guard: int) -> npt.NDArray[np.int64]:
    """Where a clip of ``length`` can start with no frame within ``guard`` that is not background."""
    taken = np.concatenate([[0], np.cumsum(classes != 0)])
    starts = np.arange(len(classes) - length + 1)
    before = np.maximum(starts - guard, 0)
    after = np.minimum(starts + length + guard, len(classes))
    is_free: npt.NDArray[np.bool_] = taken[after] == taken[before]
    return starts[is_free]


def _apart(starts: list[int], least: int) -> list[int]:
    """Without those that come sooner than ``least`` after one that is kept."""
    kept: list[int] = []
    for start in sorted(starts):
        if not kept or start - kept[-1] >= least:
            kept.append(start)
    return kept


def _spread(free: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> list[int]:
    """``count`` starts, one at random in each of equally large parts of what is free; fewer where that is little."""
    if len(free) == 0 or count < 1:
        return []
    edges = np.linspace(0, len(free), count + 1).astype(int)
    return [int(free[rng.integers(a, b)]) for a, b in pairwise(edges) if b > a]


def _hardest(free: npt.NDArray[np.int64], interest: Float64Array, length: int, count: int) -> list[int]:
    """The starts of the ``count`` clips with the most interesting middle, no two of them overlapping."""
    middles = np.minimum(free + length // 2, len(interest) - 1)
    chosen: list[int] = []
    for place in np.argsort(-interest[middles], kind="stable"):
        if len(chosen) == count:
            break
        start = int(free[place])
        if interest[middles[place]] > 0 and all(abs(start - other) >= length for other in chosen):
            chosen.append(start)
    return chosen
