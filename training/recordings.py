"""Which videos hold the same recording: whole, or a part of it that was cut out, encoded again, or given another rate.

A cheap search, then two closer looks.

1. Of where the animal is (its stored boxes, in shares of the picture, so many times a second) those stretches of every
   video in which it moves most are sought in every other video at every offset in time. Where it sits still its place
   says little, so there nothing is sought. Videos of one length are candidates without that.
2. At the offset that was found the animal must be at the same places nearly all through what the two have in common,
   or in a row for as long as it takes to go once across the picture, and for twenty seconds at least.
3. Pictures of the animal at moments of that time, cut out along its boxes, must be alike. The arena, which many
   recordings share, has no say.

Not found are copies that were mirrored, turned, cropped or played at another speed, and animals that never move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from mousetal import video
from mousetal.dataset import VideoEntry
from mousetal.errors import VideoError
from mousetal.geometry import crop_clip, square
from mousetal.types import Float32Array, Float64Array, VideoInfo

RATE = 16  # places per second
STEP = 4  # a stretch takes every such place; the steps between make up for copies that begin at another moment
STRETCH_S = 4  # seconds
PLACES = STRETCH_S * RATE // STEP  # per stretch
MOST_STRETCHES = 48  # per video, spread over it
LEAST_WAY = 0.08  # of the picture, that the animal goes in a stretch
LEAST_EXTENT = 0.05  # of the picture, over which it goes in all
TREMBLE = 0.01  # of the picture per step: less is no way
CLOSE = 0.025  # of the picture: root mean square of what box edges may differ
SAME_OFFSET_S = 0.5  # between what stretches say of how much later one video began
CHUNK = 4096  # stretches compared at a time
LEAST_SHARE = 0.8  # of the time that two videos have in common
ENOUGH_S, ENOUGH_WAY = 20, 1.0  # in a row, where that is less; of the picture
PICTURES = 6  # looked at per pair of videos
PICTURE_SIDE = 32  # pixels
ALIKE = 0.85  # correlation of two pictures


@dataclass(frozen=True, slots=True)
class Same:
    """Two videos that hold the same recording. ``moments`` are seconds in ``a`` and in ``b`` at which they agree."""

    a: str
    b: str
    moments: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        (at_a, at_b), *_ = self.moments
        return f"{self.a} at {at_a:.1f} s and {self.b} at {at_b:.1f} s"


def find(
    entries: Sequence[VideoEntry],
    table_of: Callable[[VideoEntry], Float64Array],
    path_of: Callable[[VideoEntry], Path],
    matters: Callable[[VideoEntry, VideoEntry], bool],
) -> list[Same]:
    """All pairs that hold the same recording, of those that ``matter``. ``table_of`` gives boxes of all frames (n, 4).

    Videos that cannot be read are never found alike.
    """
    wanted = {(a.path, b.path) for a, b in combinations(entries, 2) if matters(a, b)}
    if not wanted:
        return []
    places = {entry.path: track(entry, table_of(entry)) for entry in entries}
    by_path = {entry.path: entry for entry in entries}
    offsets = {pair: 0.0 for pair in wanted if _are_of_one_length(by_path[pair[0]], by_path[pair[1]])}
    offsets |= {pair: _usual(found) for pair, found in _search(places, wanted).items()}
    same = []
    for (a, b), offset in sorted(offsets.items()):
        moments = _common_way(places[a], places[b], offset)
        if moments and _look_alike(by_path[a], by_path[b], moments, table_of, path_of):
            same.append(Same(a, b, moments))
    return same


def track(entry: VideoEntry, table: Float64Array) -> Float32Array:
    """Boxes (frames, 4) as places: float32 (m, 4) in shares of the picture, RATE a second, NaN where unknown."""
    seconds = np.arange(int(len(table) / float(entry.fps) * RATE)) / RATE
    shares = table / np.array([entry.width, entry.height] * 2, np.float64)
    frames = np.arange(len(table)) / float(entry.fps)
    return np.stack([np.interp(seconds, frames, edge) for edge in shares.T], axis=1).astype(np.float32)


def _stretches(places: Float32Array, step: int) -> tuple[Float32Array, np.ndarray]:
    """Every ``step``-th stretch with no gap, (k, 4 * PLACES), and where in ``places`` it begins."""
    span = PLACES * STEP
    starts = np.arange(0, len(places) - span + 1, step)
    taken = places[starts[:, None] + np.arange(0, span, STEP)].reshape(len(starts), 4 * PLACES)
    is_whole = np.isfinite(taken).all(axis=1)
    return taken[is_whole], starts[is_whole]


def _telling(places: Float32Array) -> np.ndarray:
    """Where the stretches begin that are sought elsewhere: in each part of the video that with the longest way."""
    taken, starts = _stretches(places, RATE // 2)
    if len(starts) == 0:
        return starts
    way = _way(taken.reshape(len(taken), PLACES, 4))
    parts = np.array_split(np.arange(len(starts)), min(MOST_STRETCHES, len(starts)))
    best = [part[np.argmax(way[part])] for part in parts]
    return starts[[one for one in best if way[one] >= LEAST_WAY]]


def _way(boxes: Float32Array) -> np.ndarray:
    """How far boxes (..., n, 4), STEP / RATE seconds apart, go in all, in shares of the picture: (...)."""
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2
    steps = np.linalg.norm(np.diff(middles, axis=-2), axis=-1)
    return np.asarray(np.where(steps > TREMBLE, steps, 0).sum(axis=-1))


def _search(places: Mapping[str, Float32Array], wanted: set[tuple[str, str]]) -> dict[tuple[str, str], list[float]]:
    """Per pair how much later the second began, in seconds, as each stretch of one that is in the other says."""
    sought, owners, at = [], [], []
    for path, own in places.items():
        for start in _telling(own):
            for phase in range(STEP):
                piece = own[start + phase : start + phase + PLACES * STEP : STEP]
                if len(piece) == PLACES and np.isfinite(piece).all():
                    sought.append(piece.reshape(-1))
                    owners.append(path)
                    at.append((start + phase) / RATE)
    found: dict[tuple[str, str], list[float]] = {}
    if not sought:
        return found
    columns = np.stack(sought).T  # (4 * PLACES, n)
    for path, own in places.items():
        rows, starts = _stretches(own, STEP)
        nearest, where = _nearest(rows, columns)
        for n in np.flatnonzero(nearest < CLOSE):
            here, there = float(starts[where[n]]) / RATE, at[n]
            if (owners[n], path) in wanted:
                found.setdefault((owners[n], path), []).append(there - here)
            elif (path, owners[n]) in wanted:
                found.setdefault((path, owners[n]), []).append(here - there)
    return found


def _nearest(rows: Float32Array, columns: Float32Array) -> tuple[np.ndarray, np.ndarray]:
    """Per column the root mean square distance to the nearest row, and which row that is."""
    nearest = np.full(columns.shape[1], np.inf)
    where = np.zeros(columns.shape[1], np.int64)
    lengths = np.square(columns).sum(axis=0)
    for first in range(0, len(rows), CHUNK):
        some = rows[first : first + CHUNK]
        squares = np.square(some).sum(axis=1)[:, None] + lengths - 2 * (some @ columns)
        best = squares.argmin(axis=0)
        distance = np.sqrt(np.maximum(squares[best, np.arange(len(best))], 0) / len(columns))
        is_nearer = distance < nearest
        nearest[is_nearer], where[is_nearer] = distance[is_nearer], best[is_nearer] + first
    return nearest, where


def _usual(offsets: Sequence[float]) -> float:
    """The offset on which most of them agree."""
    every = np.array(offsets)
    agree = np.abs(every[:, None] - every) < SAME_OFFSET_S
    return float(np.median(every[agree[agree.sum(axis=1).argmax()]]))


def _are_of_one_length(a: VideoEntry, b: VideoEntry) -> bool:
    return abs(a.duration_s - b.duration_s) <= 0.02 * max(a.duration_s, b.duration_s)


def _common_way(a: Float32Array, b: Float32Array, offset: float) -> tuple[tuple[float, float], ...]:
    """Moments spread over the longest time in a row in which the animal moves and is at the same places in both.

    Empty where that is too short. ``offset`` is how many seconds later ``b`` began.
    """
    shift = round(offset * RATE)
    first, last = max(0, shift), min(len(a), len(b) + shift)
    if last <= first:
        return ()
    one, other = a[first:last], b[first - shift : last - shift]
    known = np.flatnonzero(np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1))
    is_close = np.sqrt(np.square(one[known] - other[known]).mean(axis=1)) < 2 * CLOSE
    turns = np.flatnonzero(np.diff(np.concatenate([[False], is_close, [False]]).astype(np.int8))).reshape(-1, 2)
    start, end = max(turns.tolist(), key=lambda turn: turn[1] - turn[0], default=(0, 0))
    run = known[start:end]
    is_most = len(run) >= max(LEAST_SHARE * len(known), STRETCH_S * RATE)
    is_enough = len(run) >= ENOUGH_S * RATE and _way(one[run][::STEP]) >= ENOUGH_WAY
    if not (is_most or is_enough) or np.ptp(one[run], axis=0).max() < LEAST_EXTENT:
        return ()
    at = first + run[np.linspace(0, len(run) - 1, PICTURES).astype(int)]
    return tuple((float(i) / RATE, float(i - shift) / RATE) for i in at)


def _look_alike(
    a: VideoEntry,
    b: VideoEntry,
    moments: Sequence[tuple[float, float]],
    table_of: Callable[[VideoEntry], Float64Array],
    path_of: Callable[[VideoEntry], Path],
) -> bool:
    """Whether the animal looks the same at most of the moments."""
    try:
        ones = _pictures(video.probe(path_of(a)), a, [at for at, _ in moments], table_of(a))
        others = _pictures(video.probe(path_of(b)), b, [at for _, at in moments], table_of(b))
    except VideoError:
        return False
    likeness = [
        float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
        for one, other in zip(ones, others, strict=True)
        if one is not None and other is not None and one.std() > 0 and other.std() > 0
    ]
    return bool(likeness) and float(np.median(likeness)) > ALIKE


def _pictures(
    info: VideoInfo, entry: VideoEntry, seconds: Sequence[float], table: Float64Array
) -> list[Float32Array | None]:
    """The animal at these times, grey, float32 (PICTURE_SIDE, PICTURE_SIDE); None where it is not seen."""
    found: list[Float32Array | None] = []
    for second in seconds:
        number = min(round(second * float(entry.fps)), len(table) - 1, info.num_frames - 1)
        box = table[number]
        frame = next(iter(video.decode(info, number)), None) if np.isfinite(box).all() else None
        if frame is None or frame.index != number:
            found.append(None)
            continue
        (picture,) = crop_clip([frame.rgb], square((box[0], box[1], box[2], box[3]), 0.1), PICTURE_SIDE)
        found.append(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32))
    return found
