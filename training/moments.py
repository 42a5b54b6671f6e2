"""Two helps without which a small video transformer on few clips sees no motion for thousands of steps.

`start_weights` begins with filters that respond to change, `Moments` tells the network when something happens, not only
whether. Both act in training alone; the network that comes out has the architecture it had.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mousetal.mvd.vit import VisionTransformer

UNKNOWN = -1  # label of a frame that nobody looked at


@torch.no_grad()
def start_weights(network: VisionTransformer, pixels: Tensor) -> None:
    """Weights from which a small network learns motion within a few hundred steps.

    ``pixels`` are some hundred clips as the network takes them, float32 (n, 3, T, S, S).

    The patch embedding starts from the main components of real patches, scaled to unit spread (whitening the first
    layer: LeCun et al. 1998, "Efficient BackProp"). A third of the filters, kept faint, see the mean of a tubelet's two
    frames, the others their difference; left at random, all would see mostly brightness. The other layers start wider
    than usual, because the usual 0.02 is meant for networks several times as wide.
    """
    config, weight = network.config, network.patch_embed.proj.weight
    side = config.patch_size
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
    nn.init.zeros_(network.patch_embed.proj.bias)  # type: ignore[arg-type]  # typed as optional
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
        self.num_tubelets, side = network.config.grid
        self.num_patches = self.num_tubelets * side * side
        self.norm = nn.LayerNorm(network.config.dim)
        self.linear = nn.Linear(network.config.dim, network.config.num_classes)
        self.tokens = torch.empty(0)
        network.blocks[-1].register_forward_hook(self._keep)

    def _keep(self, _block: nn.Module, _inputs: object, tokens: Tensor) -> None:
        self.tokens = tokens

    def logits(self) -> Tensor:
        """Class scores of every moment of the clips that last went through the network, (B, T / tubelet, classes)."""
        patches = self.tokens[:, -self.num_patches :]  # without a class token
        scores: Tensor = self.linear(
            self.norm(patches.reshape(len(patches), self.num_tubelets, -1, patches.shape[2]).mean(dim=2))
        )
        return scores


def moment_loss(logits: Tensor, frame_labels: Tensor) -> Tensor:
    """Cross entropy of `Moments.logits`; ``frame_labels`` is int64 (B, T), -1 where unknown.

    A tubelet that holds two classes belongs to the one with the higher number, so never to the background.
    """
    labels = frame_labels.reshape(len(logits), logits.shape[1], -1).amax(dim=2).flatten()
    loss = F.cross_entropy(logits.flatten(0, 1).float(), labels, ignore_index=UNKNOWN, reduction="sum")
    return loss / (labels != UNKNOWN).sum().clamp(min=1)
