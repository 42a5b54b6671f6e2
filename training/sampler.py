"""Which window comes next: a function of the seed and the sample's number alone.

So a run that was stopped goes on with the very samples it would have had, and the number of processes, workers or
micro-batches changes nothing. First a class is drawn, then one of its clips by weight, then a window in it: usually one
that speaks for the class, else any window of the clip, so that a twitch is also seen off-centre, where it does not
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.errors import RecordError
from mousetal.types import ClassifierSpec, Float64Array
from training.clips import UNSCORED, Clip
from training.views import known_boxes
from training.windowlabels import offsets, start_labels

SAMPLING = ("equal", "sqrt", "natural")


@dataclass(frozen=True, slots=True)
class Draw:
    """A window to train on: the clip by its number, the frame of the clip that it starts at, and its class."""

    clip: int
    start: int
    label: int


class Sampler:
    """Draws windows from clips.

    ``shares`` says how often a clip of each class is drawn, ``own_share`` how often the window speaks for its clip's
    class. Clips without a window that is scored and shows the animal are left out.
    """

    def __init__(
        self, clips: Sequence[Clip], spec: ClassifierSpec, is_short: Sequence[bool], shares: Float64Array,
        own_share: float, seed: int,
    ) -> None:  # fmt: skip
        self.spec, self.own_share, self.seed = spec, own_share, seed
        self.labels = [self._usable(clip, is_short) for clip in clips]
        usable = np.array([bool((labels != UNSCORED).any()) for labels in self.labels])
        classes = np.array([spec.classes.index(clip.behavior) for clip in clips], np.int64)
        weights = np.array([clip.weight for clip in clips], np.float64) * usable
        self.members = [np.flatnonzero((classes == label) & (weights > 0)) for label in range(len(spec.classes))]
        self.weights = [weights[members] / max(weights[members].sum(), 1e-300) for members in self.members]
        present = np.array([len(members) > 0 for members in self.members])
        if not present.any():
            raise RecordError("no clip has a window that was scored and shows the animal. Run training.preprocess.")
        self.shares: Float64Array = np.where(present, shares, 0.0)
        if self.shares.sum() <= 0:
            raise RecordError("class_shares leaves no class that has clips. Give one share per class, in order.")
        self.shares = self.shares / self.shares.sum()
        self.num_usable = int(usable.sum())

    def draw(self, number: int, attempt: int = 0) -> Draw:
        """Sample ``number``; another one of the same class for every ``attempt`` after a clip turned out damaged."""
        label = int(np.random.default_rng((self.seed, number)).choice(len(self.shares), p=self.shares))
        rng = np.random.default_rng((self.seed, number, 1, attempt))
        clip = int(rng.choice(self.members[label], p=self.weights[label]))
        starts = self.labels[clip]
        own = np.flatnonzero(starts == label)
        other = np.flatnonzero((starts != UNSCORED) & (starts != label))
        is_own = len(other) == 0 or (len(own) > 0 and rng.random() < self.own_share)
        start = int(rng.choice(own if is_own else other))
        return Draw(clip, start, int(starts[start]))

    def expected_counts(self, samples: int = 2000) -> Float64Array:
        """How often each class is the label of a window, (classes,): counted over the first ``samples``, scaled to the
        number of usable clips."""
        labels = [self.draw(number).label for number in range(samples)]
        counts = np.bincount(labels, minlength=len(self.shares)).astype(np.float64)
        return counts * self.num_usable / samples

    def _usable(self, clip: Clip, is_short: Sequence[bool]) -> np.ndarray:
        """The label of the window at each start of a clip, UNSCORED also where no box is known in the window."""
        steps = offsets(self.spec, clip.fps)
        labels = start_labels(clip.frame_labels, steps, is_short)
        known = known_boxes(clip.boxes_xyxy)
        frames = np.minimum(np.arange(len(labels))[:, None] + steps, len(clip) - 1)
        labels[~known[frames].any(axis=1)] = UNSCORED
        return labels


def class_shares(clips: Sequence[Clip], classes: Sequence[str], sampling: str) -> Float64Array:
    """How often each class should come up, (classes,), by the number of its clips: "equal" for all that have any,
    "natural" as many as there are, "sqrt" in between."""
    counts = np.array([sum(clip.behavior == name for clip in clips) for name in classes], np.float64)
    if sampling == "equal":
        return (counts > 0).astype(np.float64)
    return np.sqrt(counts) if sampling == "sqrt" else counts
