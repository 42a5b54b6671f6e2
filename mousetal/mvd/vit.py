"""The video Vision Transformer that classifies clips.

Architecture: plain ViT (Dosovitskiy et al. 2021) over space-time tubelets, as in VideoMAE (Tong et al. 2022) and Masked
Video Distillation (Wang et al. 2023, "Masked Video Distillation: Rethinking Masked Feature Modeling for Self-supervised
Video Representation Learning"). Written from a description of the network, not from its code. Parameter names are those
of the published fine-tuned checkpoints. What differs: attention runs through torch's fused kernel, and the position
table, of which VideoMAE has another than MVD, is computed in float64.

Letters in shape suffixes: B clips, C channels, F frames, L tokens, N heads, D width, E width of one head (D / N).

    network = VisionTransformer(VitConfig(num_classes=3))
    logits = network(torch.zeros(2, 3, 16, 224, 224))       # (2, 3)
"""

# ruff: noqa: N803, N806 (capitals in a name are its shape)
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mousetal.errors import ModelError
from mousetal.types import Float64Array

LAYER_NORM_EPS = 1e-6
MVD, VIDEOMAE = "mvd", "videomae"
POSITIONS = (MVD, VIDEOMAE)  # whose table tells tokens their places; weights are of use with their own only
WEIGHT_STD = 0.02


@dataclass(frozen=True, slots=True)
class VitConfig:
    """Sizes of the network. The defaults are ``vit_small_patch16_224``; every size is free.

    ``img_size`` is the side of the square input in pixels, ``num_frames`` the length of a clip; a token covers
    ``tubelet_size`` frames of ``patch_size`` x ``patch_size`` pixels. Rates are probabilities and act in training only.
    ``init_scale`` multiplies a freshly initialised head. ``positions`` is one of `POSITIONS`. Raises ModelError when
    the sizes do not fit together.
    """

    num_classes: int
    img_size: int = 224
    num_frames: int = 16
    patch_size: int = 16
    tubelet_size: int = 2
    dim: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    use_cls_token: bool = False
    use_mean_pooling: bool = True
    dropout: float = 0.0
    attn_dropout: float = 0.0
    head_dropout: float = 0.0
    drop_path: float = 0.0
    init_scale: float = 0.001
    positions: str = MVD

    def __post_init__(self) -> None:
        sizes = ("num_classes", "img_size", "num_frames", "patch_size", "tubelet_size", "dim", "depth", "heads")
        wrong = [f"{name}={getattr(self, name)}" for name in sizes if getattr(self, name) < 1]
        if wrong or self.mlp_ratio <= 0:
            raise ModelError(f"sizes of a network are at least 1, got {', '.join(wrong) or f'{self.mlp_ratio=}'}")
        rates = ("dropout", "attn_dropout", "head_dropout", "drop_path")
        wrong = [f"{name}={getattr(self, name)}" for name in rates if not 0 <= getattr(self, name) < 1]
        if wrong:
            raise ModelError(f"drop rates lie in [0, 1), got {', '.join(wrong)}")
        if self.dim % 16 or self.dim % self.heads:
            raise ModelError(f"dim must divide by 16 and by heads, got dim={self.dim}, heads={self.heads}")
        if self.img_size % self.patch_size or self.num_frames % self.tubelet_size:
            raise ModelError(
                f"patches must tile the clip, got img_size={self.img_size}, patch_size={self.patch_size}, "
                f"num_frames={self.num_frames}, tubelet_size={self.tubelet_size}"
            )
        if self.positions not in POSITIONS:
            raise ModelError(f"positions: one of {', '.join(POSITIONS)} expected, got {self.positions!r}")

    @property
    def grid(self) -> tuple[int, int]:
        """Tubelets in time, patches along one side."""
        return self.num_frames // self.tubelet_size, self.img_size // self.patch_size


class VisionTransformer(nn.Module):
    """Clips in, logits out. Freshly initialised; load weights with ``load_state_dict(..., strict=True)``."""

    pos_embed: Tensor
    is_checkpointed = False  # in training, recompute blocks in the backward pass instead of keeping what they computed

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        table = position_table if config.positions == MVD else running_table
        table_LD = torch.from_numpy(table(config.dim, *config.grid)).float()
        # Not persistent: published checkpoints have no such key.
        self.register_buffer("pos_embed", table_LD[None], persistent=False)
        if config.use_cls_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_drop = nn.Dropout(config.dropout)
        drop_paths = np.linspace(0.0, config.drop_path, config.depth)
        self.blocks = nn.ModuleList(Block(config, float(rate)) for rate in drop_paths)
        # The final norm's name tells checkpoints of the two kinds of pooling apart.
        if config.use_mean_pooling:
            self.fc_norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        else:
            self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.head_drop = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(config.dim, config.num_classes)
        self._initialise()

    def forward_features(self, clips_BCFHW: Tensor) -> Tensor:
        """Pooled, normalised features, (B, D), of clips (B, 3, num_frames, img_size, img_size)."""
        x_BLD: Tensor = self.patch_embed(clips_BCFHW)
        x_BLD = x_BLD + self.pos_embed.to(x_BLD.dtype)
        if self.config.use_cls_token:
            cls_B1D = self.cls_token.expand(len(x_BLD), -1, -1).to(x_BLD.dtype)
            x_BLD = torch.cat((cls_B1D, x_BLD), dim=1)
        x_BLD = self.pos_drop(x_BLD)
        for block in self.blocks:
            if self.is_checkpointed and self.training:
                x_BLD = checkpoint(block, x_BLD, use_reentrant=False)
            else:
                x_BLD = block(x_BLD)
        pooled_BD: Tensor
        if self.config.use_mean_pooling:
            first_patch = 1 if self.config.use_cls_token else 0
            pooled_BD = self.fc_norm(x_BLD[:, first_patch:].mean(dim=1))
        else:
            pooled_BD = self.norm(x_BLD[:, 0])
        return pooled_BD

    def forward(self, clips_BCFHW: Tensor) -> Tensor:
        """Logits, (B, num_classes), of normalised RGB clips (B, 3, num_frames, img_size, img_size)."""
        logits: Tensor = self.head(self.head_drop(self.forward_features(clips_BCFHW)))
        return logits

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=WEIGHT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.config.use_cls_token:
            nn.init.trunc_normal_(self.cls_token, std=WEIGHT_STD)
        # A small head starts training near uniform class probabilities.
        self.head.weight.mul_(self.config.init_scale)
        self.head.bias.mul_(self.config.init_scale)


class PatchEmbed(nn.Module):
    """Clips (B, 3, F, S, S) to tokens (B, L, D), ordered by tubelet, then row, then column."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.shape = (3, config.num_frames, config.img_size, config.img_size)
        kernel = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.dim, kernel_size=kernel, stride=kernel)

    def forward(self, clips_BCFHW: Tensor) -> Tensor:
        if tuple(clips_BCFHW.shape[1:]) != self.shape:
            raise ValueError(f"clips of shape (B, {self.shape}) expected, got {tuple(clips_BCFHW.shape)}")
        x_BDTHW: Tensor = self.proj(clips_BCFHW)
        return x_BDTHW.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each a residual that may be dropped for a whole clip."""

    def __init__(self, config: VitConfig, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(config)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self.drop_path(self.attn(self.norm1(x_BLD)))
        out_BLD: Tensor = x_BLD + self.drop_path(self.mlp(self.norm2(x_BLD)))
        return out_BLD


class Attention(nn.Module):
    """Self-attention with a bias on queries and values only (a bias on keys would not change the softmax)."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attn_dropout = config.attn_dropout
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.dim))
        self.v_bias = nn.Parameter(torch.zeros(config.dim))
        self.proj = nn.Linear(config.dim, config.dim)
        self.proj_drop = nn.Dropout(config.dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        qkv_BL3D = F.linear(x_BLD, self.qkv.weight, bias)
        qkv_3BNLE = qkv_BL3D.reshape(*x_BLD.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q_BNLE, k_BNLE, v_BNLE = qkv_3BNLE.unbind(0)
        dropout = self.attn_dropout if self.training else 0.0
        out_BNLE = F.scaled_dot_product_attention(q_BNLE, k_BNLE, v_BNLE, dropout_p=dropout)
        out_BLD: Tensor = self.proj_drop(self.proj(out_BNLE.transpose(1, 2).flatten(2)))
        return out_BLD


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        hidden = int(config.dim * config.mlp_ratio)
        self.fc1 = nn.Linear(config.dim, hidden)
        self.fc2 = nn.Linear(hidden, config.dim)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        out_BLD: Tensor = self.drop(self.fc2(F.gelu(self.fc1(x_BLD))))
        return out_BLD


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, drops a clip's residual with probability ``rate``."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_BLD: Tensor) -> Tensor:
        if self.rate == 0.0 or not self.training:
            return x_BLD
        keep = 1.0 - self.rate
        mask_B11 = x_BLD.new_empty(len(x_BLD), 1, 1).bernoulli_(keep)
        return x_BLD * mask_B11 / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


def position_table(dim: int, num_tubelets: int, side: int) -> Float64Array:
    """The fixed sine-cosine position table, float64 (num_tubelets * side * side, dim).

    A quarter of a row encodes time, three eighths the column, three eighths the row, in that order, each as all sines
    followed by all cosines. Positions are plain integers, so another clip length or image size needs no interpolation.
    """
    time, row, column = np.indices((num_tubelets, side, side)).reshape(3, -1)
    return np.concatenate(
        [_sin_cos(time, dim // 4), _sin_cos(column, 3 * dim // 8), _sin_cos(row, 3 * dim // 8)], axis=1
    )


def running_table(dim: int, num_tubelets: int, side: int) -> Float64Array:
    """VideoMAE's table, of the same shape: tokens are numbered through, a sine and a cosine of each frequency in turn.

    Another clip length leaves what there was in place; another image size does not.
    """
    sines_cosines = _sin_cos(np.arange(num_tubelets * side * side), dim)
    return sines_cosines.reshape(-1, 2, dim // 2).swapaxes(1, 2).reshape(-1, dim)


def _sin_cos(positions: np.ndarray, dim: int) -> Float64Array:
    frequencies = 10000.0 ** (-np.arange(dim // 2, dtype=np.float64) / (dim / 2))
    angles = positions[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
