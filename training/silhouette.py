"""Finds an animal as what differs from the empty arena: no labels, no network, one fixed camera.

The arena is what a pixel shows while no animal is on it; the animal is darker or lighter than that, which is decided
by looking. What differs is opened until tails fall off, and parted into blobs: candidates for the animal, each scored
by how well its area fits the animal's. `mousetal.track` then follows one of them from frame to frame.

    arena = Arena.of(small_grey_frames)
    blobs = arena.blobs(small_grey_frame)

An animal that hardly leaves its place is in every picture of the arena; it is taken out as the patch of another shade
than its surroundings that is not quite still. Shelters, hands, second animals and moving cameras are not understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mousetal.types import UInt8Array

WORKING_SIDE = 480  # pixels; frames are looked at with no side longer than this
BLUR = 5  # pixels
GRAIN = 15  # pixels; bedding and cracks in the floor are smaller than that, animals larger
PEAK = 99.8  # percentile of the difference that stands for the animal's own contrast
CONTRAST_SHARE = 0.5  # of that contrast, above which a pixel is the animal's
LEAST_CONTRAST = 12  # grey levels; less is noise, shadow or flicker
TAIL_SHARE = 0.2  # of the square root of the animal's area: what is thinner falls off
ABSENT_LEAST = 8  # percent of the time that the animal leaves every place free
ONENESS_LEAST = 0.6  # share of what differs that is one patch, below which that is no animal
RESTING_SIDE = 0.25  # of the frame's longer side: a resting animal is less wide than that
RESTING_ACTIVITY = 1.5  # how much more an animal at rest still moves than the rest of the picture
SMALLEST_SHARE, LARGEST_SHARE = 2e-4, 0.25  # of the frame: areas of animals


@dataclass(frozen=True, slots=True)
class Blob:
    """One dark or light patch: its box in pixels of the small frame, its area, how well that fits the animal (0..1)."""

    box_xyxy: tuple[float, float, float, float]
    area: float
    fit: float


@dataclass(frozen=True, slots=True, eq=False)
class Arena:
    """What the camera sees without the animal.

    ``background`` uint8 (height, width), the small grey frame; ``sign`` -1 where the animal is darker, 1 where lighter;
    ``contrast`` in grey levels; ``animal_area`` in pixels, 0 when no animal was made out. ``oneness`` is the share of
    all that differs which is one patch: near 1 for an animal, low for traces that it left in a wrong background.
    """

    background: UInt8Array
    sign: int
    contrast: float
    animal_area: float
    oneness: float

    @property
    def has_animal(self) -> bool:
        """Whether what differs looks like one animal."""
        return self.animal_area > 0 and self.contrast >= LEAST_CONTRAST and self.oneness >= ONENESS_LEAST

    @classmethod
    def of(cls, frames: Sequence[UInt8Array]) -> Arena:
        """From small grey frames of all parts of the video."""
        stack = np.stack([_blurred(frame) for frame in frames])
        activity = stack.astype(np.float32).std(axis=0)
        judged = []
        for sign in (-1, 1):
            # Not the median: where an animal rests, it would be the animal. A dark one leaves the lighter values alone.
            percent = 100 - ABSENT_LEAST if sign < 0 else ABSENT_LEAST
            background = np.percentile(stack, percent, axis=0).astype(np.uint8)
            repaired = _without_resting_animal(background, activity, sign)
            judged += [cls._judged(stack, one, sign) for one in (background, repaired)]
        return max(judged, key=lambda arena: arena.contrast * arena.oneness)

    @classmethod
    def _judged(cls, stack: UInt8Array, background: UInt8Array, sign: int) -> Arena:
        """The arena with this background, were the animal of this sign."""
        contrast = float(np.median([np.percentile(_difference(f, background, sign), PEAK) for f in stack]))
        arena = cls(background, sign, contrast, 0.0, 0.0)
        largest = np.array([max((blob.area for blob in arena.blobs(frame)), default=0.0) for frame in stack])
        if not largest.any():
            return arena
        differing = np.array([(_difference(f, background, sign) >= arena.threshold).sum() for f in stack])
        oneness = min(1.0, float(largest.sum() / max(1, differing.sum())))
        return replace(arena, animal_area=float(np.median(largest[largest > 0])), oneness=oneness)

    @property
    def threshold(self) -> float:
        return max(float(LEAST_CONTRAST), CONTRAST_SHARE * self.contrast)

    def blobs(self, grey: UInt8Array) -> list[Blob]:
        """The patches of a small grey frame that may be the animal, best first."""
        difference = _difference(_blurred(grey), self.background, self.sign)
        mask = (difference >= self.threshold).astype(np.uint8)
        thickness = max(3, round(TAIL_SHARE * self.animal_area**0.5)) | 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness, thickness))
        body = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
        # What the opening took off the ends of a body comes back, and with it no more than the root of the tail.
        half = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness // 2 | 1, thickness // 2 | 1))
        body = np.asarray(cv2.dilate(body, half), np.uint8) & mask
        count, _, stats, _ = cv2.connectedComponentsWithStats(body, connectivity=8)
        found = []
        for x, y, width, height, area in stats[1:count].tolist():
            if not SMALLEST_SHARE * mask.size <= area <= LARGEST_SHARE * mask.size:
                continue
            fit = min(area / self.animal_area, self.animal_area / area) if self.animal_area else 1.0
            found.append(Blob((x, y, x + width, y + height), float(area), fit))
        return sorted(found, key=lambda blob: -blob.fit)


def small_grey(rgb: UInt8Array) -> UInt8Array:
    """A frame as it is looked at: grey, no side longer than WORKING_SIDE."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    factor = WORKING_SIDE / max(grey.shape)
    if factor < 1:
        size = (round(grey.shape[1] * factor), round(grey.shape[0] * factor))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _blurred(grey: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.GaussianBlur(grey, (BLUR, BLUR), 0), np.uint8)


def _difference(grey: UInt8Array, background: UInt8Array, sign: int) -> UInt8Array:
    """How much darker (sign -1) or lighter (1) than the background every pixel is, 0 where it is not."""
    more, less = (grey, background) if sign > 0 else (background, grey)
    return np.asarray(cv2.subtract(more, less), np.uint8)


def _without_resting_animal(background: UInt8Array, activity: np.ndarray, sign: int) -> UInt8Array:
    """The background, less an animal that sits in it because it hardly left its place in the whole video.

    That is a patch darker (or lighter) than its surroundings that is not quite still. ``activity`` (height, width) is
    each pixel's deviation over time.
    """
    side = round(RESTING_SIDE * max(background.shape)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    smooth = np.asarray(cv2.medianBlur(background, GRAIN), np.uint8)
    closing = cv2.MORPH_CLOSE if sign < 0 else cv2.MORPH_OPEN
    filled = np.asarray(cv2.morphologyEx(smooth, closing, kernel), np.uint8)
    patches = (_difference(smooth, filled, sign) >= 1.5 * LEAST_CONTRAST).astype(np.uint8)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(patches, connectivity=8)
    usual = max(1.0, float(np.median(activity)))
    liveliest, best = 0, RESTING_ACTIVITY * usual
    for number in range(1, count):
        area = stats[number, cv2.CC_STAT_AREA]
        if SMALLEST_SHARE * patches.size <= area <= LARGEST_SHARE * patches.size:
            moved = float(np.median(activity[numbers == number]))
            if moved > best:
                liveliest, best = number, moved
    if not liveliest:
        return background
    here = cv2.dilate((numbers == liveliest).astype(np.uint8), np.ones((9, 9), np.uint8))
    return np.where(here > 0, filled, background)
