"""The network as it is trained, and what one batch teaches it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mousetal.mvd.vit import VisionTransformer
from training.finetune_knobs import Knobs
from training.loader import Batch
from training.losses import soft_cross_entropy, soft_targets
from training.mixing import draw_mix, mix_clips, mix_targets
from training.moments import Moments, moment_loss
from training.pixels import normalised
from training.views import erase

NETWORK = "network."  # the network's own parameters among the learner's


class Learner(nn.Module):
    """The classifier, and where asked for a second head for its moments, as one module for DeepSpeed to wrap."""

    def __init__(self, network: VisionTransformer, has_moments: bool) -> None:
        super().__init__()
        self.network = network
        self.moments = Moments(network) if has_moments else None

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, classes), and those of every moment (B, T / tubelet, classes) or None."""
        logits = self.network(clips)
        return logits, None if self.moments is None else self.moments.logits()


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A batch where the network is: pixels, soft targets, frame labels, and those of the partners it is mixed with."""

    clips: Tensor
    targets: Tensor
    frame_labels: Tensor
    share: float

    def loss(self, logits: Tensor, moments: Tensor | None, knobs: Knobs, class_weights: Tensor | None) -> Tensor:
        """What the outputs of `Learner` cost."""
        loss = soft_cross_entropy(logits, self.targets, class_weights, knobs.focal_gamma)
        if moments is None:
            return loss
        own = moment_loss(moments, self.frame_labels)
        if self.share < 1:
            own = self.share * own + (1 - self.share) * moment_loss(moments, self.frame_labels.flip(0))
        return loss + knobs.moments_share * own


def prepare(batch: Batch, knobs: Knobs, num_classes: int, seed: tuple[int, ...], device: torch.device) -> Lesson:
    """A batch on the device: normalised, erased and mixed, by a seed of its own, which dropout gets too."""
    rng = np.random.default_rng((*seed, 3))
    torch.manual_seed(int(rng.integers(2**62)))  # of drop path and dropout
    clips = normalised(batch.pixels.to(device, non_blocking=True))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    clips = erase(clips, batch.rectangles, generator)
    mix = draw_mix(rng, knobs.input_size, knobs.mixup, knobs.cutmix, knobs.mix_probability, knobs.cutmix_share)
    targets = soft_targets(batch.labels.to(device), num_classes, knobs.smoothing)
    share = 1.0 if mix is None else mix.share
    return Lesson(mix_clips(clips, mix), mix_targets(targets, mix), batch.frame_labels.to(device), share)
