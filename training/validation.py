"""How well a network finds behaviours in clips that it was not trained on, the way it will be used.

Windows are laid densely over every clip by inference's rule, become frame posteriors, and each frame goes to its
likeliest class. What counts is whether frames and events are right, each behaviour alike: never the share of clips or
windows that are, which idle would decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from mousetal.errors import VideoError
from mousetal.intervals import frame_posteriors, runs_of
from mousetal.mvd.vit import VisionTransformer
from mousetal.types import ClassifierSpec, Float32Array, UInt8Array, Window, WindowScore
from mousetal.windows import WindowPlan
from training.clips import UNSCORED, Clip, read_frames
from training.evaluation.share import mean, ratio
from training.evaluation.tally import matched_within
from training.loader import ordered
from training.pixels import normalised
from training.views import cut, known_boxes
from training.windowlabels import window_label


@dataclass(frozen=True, slots=True, eq=False)
class ClipWindows:
    """The windows of a clip that show the animal, their pixels uint8 (n, T, S, S, 3), their classes; or why not."""

    windows: tuple[Window, ...]
    pixels: UInt8Array
    labels: tuple[int, ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one class: frames and events that are true, found, and both."""

    true_frames: int = 0
    found_frames: int = 0
    shared_frames: int = 0
    true_events: int = 0
    found_events: int = 0
    matched_events: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def frame_f1(self) -> float | None:
        return ratio(2 * self.shared_frames, self.true_frames + self.found_frames)

    @property
    def event_f1(self) -> float | None:
        return ratio(2 * self.matched_events, self.true_events + self.found_events)


@dataclass(frozen=True, slots=True)
class Validation:
    """Counts per class, the background's too, over clips; ``loss`` is the mean cross entropy of their windows."""

    counts: tuple[Counts, ...]
    background: int | None
    loss: float
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def frame_f1(self) -> float | None:
        """Mean over the behaviours for which it is defined."""
        return mean([one.frame_f1 for i, one in enumerate(self.counts) if i != self.background])

    @property
    def event_f1(self) -> float | None:
        return mean([one.event_f1 for i, one in enumerate(self.counts) if i != self.background])

    @property
    def merit(self) -> float:
        """What the best weights are chosen by: the mean of both; 0 where nothing is defined."""
        return mean([self.frame_f1, self.event_f1]) or 0.0


class Windows(Dataset[ClipWindows]):
    """The dense windows of clip ``i``, as inference would lay and cut them over it."""

    def __init__(self, clips: Sequence[Clip], spec: ClassifierSpec, is_short: Sequence[bool]) -> None:
        self.clips, self.spec, self.is_short = clips, spec, is_short

    def __getitem__(self, i: int) -> ClipWindows:
        clip, size = self.clips[i], self.spec.input_size
        plan = WindowPlan.for_video(self.spec, clip.fps, reference_compat=False)
        windows = plan.windows(len(clip))
        known = known_boxes(clip.boxes_xyxy)
        windows = [one for one in windows if known[list(one.frame_indices)].any()]
        needed = sorted({index for one in windows for index in one.frame_indices})
        try:
            frames = dict(zip(needed, read_frames(clip, needed), strict=True)) if needed else {}
        except VideoError as error:
            return ClipWindows((), np.zeros((0, self.spec.num_frames, size, size, 3), np.uint8), (), str(error))
        pixels = np.zeros((len(windows), self.spec.num_frames, size, size, 3), np.uint8)
        for target, one in zip(pixels, windows, strict=True):
            indices = list(one.frame_indices)
            stacked = np.stack([frames[index] for index in indices])
            target[:] = cut(stacked, clip.boxes_xyxy[indices], self.spec.crop_padding, size)
        labels = [window_label(clip.frame_labels, np.array(one.frame_indices), self.is_short) for one in windows]
        return ClipWindows(tuple(windows), pixels, tuple(labels))


@torch.inference_mode()
def validate(
    network: VisionTransformer, dataset: Windows, numbers: range, batch: int, workers: int, tolerance_s: float,
    precision: torch.dtype | None,
) -> Validation:  # fmt: skip
    """The network on the clips with these numbers; ``precision`` is what it computes in, None for float32."""
    network.eval()
    spec = dataset.spec
    device = network.head.weight.device
    total = [Counts()] * len(spec.classes)
    losses: list[float] = []
    skipped = []
    for i, found in zip(numbers, ordered(dataset, numbers, workers, pinned=False), strict=True):
        clip = dataset.clips[i]
        if found.error:
            skipped.append((str(clip.path), found.error))
            continue
        logits = torch.zeros(0, len(spec.classes))
        for part in torch.split(torch.from_numpy(found.pixels), batch):
            with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
                logits = torch.cat([logits, network(normalised(part.to(device))).float().cpu()])
        losses += _losses(logits, found.labels)
        posteriors = frame_posteriors(scores(found.windows, logits), len(clip), len(spec.classes))
        counts = count(clip.frame_labels, posteriors, spec, tolerance_s * float(clip.fps))
        total = [a + b for a, b in zip(total, counts, strict=True)]
    return Validation(tuple(total), spec.background, float(np.mean(losses)) if losses else 0.0, tuple(skipped))


def joined(parts: Sequence[Validation]) -> Validation:
    """One validation of what several processes validated a part of each."""
    counts = [sum(column, Counts()) for column in zip(*(part.counts for part in parts), strict=True)]
    frames = [sum(one.true_frames for one in part.counts) for part in parts]
    loss = float(np.average([part.loss for part in parts], weights=frames)) if sum(frames) else 0.0
    skipped = tuple(one for part in parts for one in part.skipped)
    return Validation(tuple(counts), parts[0].background, loss, skipped)


def scores(windows: Sequence[Window], logits: Tensor) -> list[WindowScore]:
    """The windows with what the network says of them."""
    probabilities = logits.softmax(dim=1).numpy()
    return [WindowScore(window, None, row) for window, row in zip(windows, probabilities, strict=True)]


def count(truth: np.ndarray, posteriors: Float32Array, spec: ClassifierSpec, tolerance_frames: float) -> list[Counts]:
    """Counts per class for one clip, over its scored frames; frames without a posterior go to the background.

    ``truth`` holds the class of every frame, UNSCORED where nobody looked.
    """
    found = np.where(np.isnan(posteriors).any(axis=1), spec.background or 0, np.nan_to_num(posteriors).argmax(axis=1))
    is_scored = truth != UNSCORED
    counts = []
    for label in range(len(spec.classes)):
        is_true, is_found = (truth == label) & is_scored, (found == label) & is_scored
        true_starts, found_starts = runs_of(is_true)[:, 0], runs_of(is_found)[:, 0]
        counts.append(
            Counts(
                int(is_true.sum()), int(is_found.sum()), int((is_true & is_found).sum()), len(true_starts),
                len(found_starts), matched_within(true_starts.tolist(), found_starts.tolist(), tolerance_frames),
            )
        )  # fmt: skip
    return counts


def _losses(logits: Tensor, labels: Sequence[int]) -> list[float]:
    kept = [i for i, label in enumerate(labels) if label != UNSCORED]
    if not kept:
        return []
    values: list[float] = F.cross_entropy(logits[kept], torch.tensor(labels)[kept], reduction="none").tolist()
    return values
