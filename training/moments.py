"""Two helps without which a small video transformer on few clips sees no motion for thousands of steps.

`start_weights` begins with filters that respond to change, `Moments` tells the network when something happens, not only
whether. Both act in training alone; the network that comes out has the architecture it had.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mousetal.mvd.vit import VisionTransformer
from training.augment import augment, decode_strip, to_tensor
from training.samples import Clips


@torch.no_grad()
def start_weights(network: VisionTransformer, data: Clips, rng: np.random.Generator, clips: int = 400) -> None:
    """Weights from which a small network learns motion within a few hundred steps.

    The patch embedding starts from the main components of real patches, scaled to unit spread (whitening the first
    layer: LeCun et al. 1998, "Efficient BackProp"). A third of the filters, kept faint, see the mean of a tubelet's two
    frames, the others their difference; left at random, all would see mostly brightness. The other layers start wider
    than usual, because the usual 0.02 is meant for networks several times as wide.
    """
    config, weight = network.config, network.patch_embed.proj.weight
    side = config.patch_size
    chosen = rng.choice(len(data.strips), min(clips, len(data.strips)), replace=False)
    pixels = to_tensor([augment(decode_strip(data.strips[i]), rng) for i in chosen])
    cubes = pixels.unfold(2, 2, 2).unfold(3, side, side).unfold(4, side, side)  # (B, 3, T/2, H, W, 2, side, side)
    cubes = cubes.permute(0, 2, 3, 4, 5, 1, 6, 7).reshape(-1, 2, 3 * side * side)
    third = config.dim // 3
    for rows, signs, gain in ((slice(0, third), (0.5, 0.5), 0.3), (slice(third, None), (-1.0, 1.0), 1.0)):
        mixed = cubes[:, 0] * signs[0] + cubes[:, 1] * signs[1]
        spread, components = torch.linalg.eigh(torch.cov(mixed.T))
        count = len(weight[rows])
        filters = gain * components[:, -count:] / (spread[-count:] + 3e-3).sqrt()
        filters = filters.T.reshape(count, 3, 1, side, side)
        weight[rows] = torch.cat([filters * signs[0], filters * signs[1]], dim=2)
    network.patch_embed.proj.bias.zero_()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    network.head.weight.mul_(0.1)


class Moments(nn.Module):
    """A second head for training only: the class of every moment (tubelet) of a clip, from the last block's tokens.

    Whether a clip is a twitch depends on what happens when; learning that from one label per clip takes the network
    very long to begin with. It is told when, and the knowledge stays in the blocks when this head is thrown away.
    """

    def __init__(self, network: VisionTransformer) -> None:
        super().__init__()
        self.num_tubelets = network.config.grid[0]
        self.norm = nn.LayerNorm(network.config.dim)
        self.linear = nn.Linear(network.config.dim, network.config.num_classes)
        self.tokens = torch.empty(0)
        network.blocks[-1].register_forward_hook(self._keep)

    def _keep(self, _block: nn.Module, _inputs: object, tokens: Tensor) -> None:
        self.tokens = tokens

    def loss(self, frame_labels: Tensor) -> Tensor:
        """Cross entropy for the clips that last went through the network; ``frame_labels`` is int64 (B, T)."""
        tokens = self.tokens.unflatten(1, (self.num_tubelets, -1)).mean(dim=2)
        labels = frame_labels.unflatten(1, (self.num_tubelets, -1)).amax(dim=2)
        return F.cross_entropy(self.linear(self.norm(tokens)).flatten(0, 1), labels.flatten())
