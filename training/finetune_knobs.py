"""Everything that can be turned in `training.finetune_mvd`.

Defaults are those of the published mouse model where it has the setting; where ours differ, the text says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mousetal.errors import ModelError, SettingsError
from mousetal.execution import AUTOCAST_TYPES
from mousetal.modelconfig import ClipInput, MvdConfig
from mousetal.mvd.checkpoints import VARIANTS
from mousetal.mvd.vit import POSITIONS, VitConfig
from mousetal.types import BoutRule, ClassifierSpec
from training.knobs import knob
from training.losses import CLASS_WEIGHTS
from training.randaugment import parse
from training.sampler import SAMPLING
from training.views import Disturbance

ENGINES = ("auto", "torch", "deepspeed")
LEAST = dict.fromkeys(
    ("num_frames", "sampling_rate", "input_size", "stride", "batch", "accumulation", "num_sample", "epochs",
     "print_every", "patch_size", "tubelet_size"), 1,
) | dict.fromkeys(
    ("seed", "crop_padding", "trained_fps", "class_shares", "dim", "depth", "heads", "moments_share", "warmup_epochs",
     "steps", "warmup_steps", "lr", "min_lr", "warmup_lr", "base_batch", "weight_decay", "eps", "clip_norm",
     "box_jitter", "light", "mixup", "cutmix", "focal_gamma", "workers", "validate_every", "save_every",
     "event_tolerance_s"), 0,
)  # fmt: skip
BACKGROUND = 0  # the class number that preprocess gives to no behaviour
FREE = ("workers", "print_every", "device")  # settings that a resumed run may change: they do not alter its result


@dataclass(frozen=True)
class Knobs:
    """One run. Rates are probabilities; "shares" lie between 0 and 1."""

    seed: int = knob(0, "of everything random")
    # windows and crops, as inference will take them
    num_frames: int = knob(16, "frames of a window")
    sampling_rate: int = knob(2, "a window takes every such frame, at trained_fps")
    input_size: int = knob(224, "pixels, the side of the network's input")
    stride: int = knob(8, "sampled frames between windows at inference and validation")
    crop_padding: float = knob(0.05, "of the square's side, on each edge; the published model trained with 0.10")
    trained_fps: float = knob(0.0, "frame rate that sampling_rate counts at; 0: the usual one of the training clips")
    # which windows
    sampling: str = knob("equal", "how often classes come up: equal, sqrt, or natural (the published way)")
    class_shares: tuple[float, ...] = knob((), "how often each class comes up, in class order, in place of sampling")
    own_share: float = knob(0.75, "of the windows of a clip that speak for its behaviour; the rest are off-centre")
    # network
    model: str = knob("vit_small_patch16_224", "a published size; dim, depth and heads replace its own")
    dim: int = knob(0, "width; 0: by model")
    depth: int = knob(0, "blocks; 0: by model")
    heads: int = knob(0, "attention heads; 0: by model")
    patch_size: int = knob(16, "pixels, the side of a token")
    tubelet_size: int = knob(2, "frames of a token")
    use_cls_token: bool = knob(False, "add a class token")
    use_mean_pooling: bool = knob(True, "classify the mean of the tokens, not the first")
    positions: str = knob(
        "mvd", "the table that tells tokens their places: mvd, or videomae, to start from such weights"
    )
    drop_path: float = knob(0.1, "of the last block; less towards the first")
    dropout: float = knob(0.0, "of tokens after projections")
    attn_dropout: float = knob(0.0, "of attention")
    head_dropout: float = knob(0.0, "of the pooled features; 0.5 for ViT-L and larger")
    init_scale: float = knob(0.001, "of a fresh head's weights, so that training starts near uniform")
    # start
    init: str = knob("", "checkpoint or model folder to start from; empty: fresh weights")
    init_classes: tuple[str, ...] = knob((), "classes of init in order, where its files do not name them")
    reset_head: bool = knob(False, "start with a fresh head where init has other classes")
    motion_start: bool = knob(False, "fresh weights that respond to change; for small networks without init")
    moments_share: float = knob(0.0, "weight of a second loss per moment; 1 helps small networks without init")
    # schedule
    epochs: int = knob(40, "times that as many windows are drawn as there are clips")
    warmup_epochs: float = knob(2.0, "of them at the start, while the learning rate rises from 0")
    steps: int = knob(0, "optimiser steps in place of epochs; 0: by epochs")
    warmup_steps: int = knob(0, "in place of warmup_epochs; 0: by warmup_epochs")
    batch: int = knob(12, "windows per process and micro-step")
    accumulation: int = knob(1, "micro-steps per optimiser step")
    num_sample: int = knob(2, "differently augmented views of each window in a batch")
    lr: float = knob(5e-4, "learning rate per base_batch windows")
    min_lr: float = knob(1e-6, "at the end, per base_batch windows")
    warmup_lr: float = knob(0.0, "at the start of the warm-up, per base_batch windows")
    base_batch: int = knob(256, "these rates are multiplied by all windows of a step over this; 0: taken as they are")
    weight_decay: float = knob(0.001, "AdamW's, on matrices")
    weight_decay_end: float = knob(-1.0, "at the end, by a cosine; below 0: constant")
    layer_decay: float = knob(0.75, "factor on the learning rate per layer towards the input; 1 from fresh weights")
    betas: tuple[float, ...] = knob((0.9, 0.999), "AdamW's two")
    eps: float = knob(1e-8, "AdamW's")
    clip_norm: float = knob(0.0, "longest gradient; 0: not clipped (the published way)")
    ema: float = knob(0.9999, "share that averaged weights keep per step, less in the beginning; 0: none")
    # augmentation
    auto_augment: str = knob("rand-m7-n4-mstd0.5-inc1", "RandAugment; empty: none")
    crop_area: tuple[float, ...] = knob((0.7, 1.0), "least and most of the animal's square that is cut")
    crop_aspect: tuple[float, ...] = knob((0.75, 4 / 3), "its aspect")
    box_jitter: float = knob(0.0, "spread of box edges, in shares of the box: an unsteady detector")
    mirror: float = knob(0.5, "rate of mirrored views")
    turns: bool = knob(False, "quarter turns, for a camera from above")
    backwards: float = knob(0.0, "rate of views played backwards")
    light: float = knob(0.0, "share by which brightness and colour change")
    erase: float = knob(0.05, "rate of views with an erased rectangle")
    mixup: float = knob(0.8, "alpha of mixup; 0: none")
    cutmix: float = knob(1.0, "alpha of CutMix; 0: none")
    mix_probability: float = knob(0.05, "of mixing a batch at all")
    cutmix_share: float = knob(0.5, "how often CutMix rather than mixup")
    smoothing: float = knob(0.1, "of labels")
    # imbalance
    class_weights: str = knob(
        "none", "of the loss, by how often classes are drawn: none, sqrt or effective (number of samples); next "
        "to nothing with sampling = equal, and against class_shares: meant for sampling = sqrt or natural"
    )  # fmt: skip
    focal_gamma: float = knob(0.0, "focal loss; 0: none")
    # execution
    device: str = knob("auto", "auto, cpu or cuda")
    engine: str = knob("auto", "torch, deepspeed, or auto: DeepSpeed where its launcher started us")
    precision: str = knob("bf16", "fp32, bf16 or fp16 (the published way; less safe)")
    checkpointing: bool = knob(False, "recompute blocks in the backward pass: a third more time, far less memory")
    zero: int = knob(0, "DeepSpeed's ZeRO stage, 0 to 3: what is shared out between GPUs")
    offload: bool = knob(False, "optimiser state in the CPU's memory (ZeRO 1 and up)")
    workers: int = knob(4, "processes that read clips; 0: a thread")
    # bookkeeping
    validate_every: int = knob(0, "steps between validations; 0: once an epoch")
    save_every: int = knob(0, "steps between checkpoints; 0: once an epoch")
    print_every: int = knob(1, "steps between lines for people; log.jsonl holds every step")
    event_tolerance_s: float = knob(0.25, "seconds between the starts of a true bout and its match")

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_sizes()
        shares = ("own_share", "mirror", "backwards", "erase", "mix_probability", "cutmix_share", "smoothing", "ema",
                  "drop_path", "dropout", "attn_dropout", "head_dropout")  # fmt: skip
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name}: between 0 and 1 expected, got {getattr(self, name)}")
        for name in ("crop_area", "crop_aspect", "betas"):
            pair = getattr(self, name)
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise SettingsError(f"{name}: two numbers above 0, the lesser first, expected, got {pair}")
        if max(self.betas) >= 1 or self.layer_decay <= 0:
            raise SettingsError(f"betas below 1 and layer_decay above 0 expected, got {self.betas} and "
                                f"{self.layer_decay}")  # fmt: skip
        parse(self.auto_augment)

    def _check_choices(self) -> None:
        choices = {
            "sampling": SAMPLING, "class_weights": CLASS_WEIGHTS, "engine": ENGINES, "precision": tuple(AUTOCAST_TYPES),
            "model": tuple(VARIANTS), "positions": POSITIONS, "zero": (0, 1, 2, 3), "device": ("auto", "cpu", "cuda"),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                listed = ", ".join(map(str, allowed))
                raise SettingsError(f"{name}: one of {listed} expected, got {getattr(self, name)!r}")
        if self.offload and not self.zero:
            raise SettingsError("offload needs ZeRO: set zero = 1 or higher")

    def _check_sizes(self) -> None:
        for name, value in vars(self).items():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, float) and not math.isfinite(one):
                    raise SettingsError(f"{name}: a finite number expected, got {one}")
                if name in LEAST and one < LEAST[name]:
                    raise SettingsError(f"{name}: at least {LEAST[name]} expected, got {one}")

    @property
    def decay_end(self) -> float:
        return self.weight_decay if self.weight_decay_end < 0 else self.weight_decay_end

    def total_batch(self, world_size: int) -> int:
        """Windows per optimiser step over all processes; repeated views are not counted."""
        return self.batch * self.accumulation * world_size

    def rate_scale(self, world_size: int) -> float:
        """What lr, min_lr and warmup_lr are multiplied by."""
        return self.total_batch(world_size) / self.base_batch if self.base_batch else 1.0


def spec_of(knobs: Knobs, classes: tuple[str, ...], trained_fps: float) -> ClassifierSpec:
    """What training shares with inference: how windows and crops are taken. The background is class 0."""
    return ClassifierSpec(
        name="in training", sha256="", classes=classes, background=BACKGROUND, num_frames=knobs.num_frames,
        sampling_rate=knobs.sampling_rate, stride=knobs.stride, input_size=knobs.input_size,
        crop_padding=knobs.crop_padding, trained_fps=trained_fps, is_multi_label=False,
        rules=(BoutRule(),) * len(classes),
    )  # fmt: skip


def network_config(knobs: Knobs, num_classes: int) -> VitConfig:
    """The sizes of the network. Raises SettingsError when they do not fit together."""
    named = VARIANTS[knobs.model]
    try:
        return VitConfig(
            num_classes=num_classes, img_size=knobs.input_size, num_frames=knobs.num_frames,
            patch_size=knobs.patch_size, tubelet_size=knobs.tubelet_size, dim=knobs.dim or named.dim,
            depth=knobs.depth or named.depth, heads=knobs.heads or named.heads, use_cls_token=knobs.use_cls_token,
            use_mean_pooling=knobs.use_mean_pooling, dropout=knobs.dropout, attn_dropout=knobs.attn_dropout,
            head_dropout=knobs.head_dropout, drop_path=knobs.drop_path, init_scale=knobs.init_scale,
            positions=knobs.positions,
        )  # fmt: skip
    except ModelError as error:
        raise SettingsError(str(error)) from error


def model_config(spec: ClassifierSpec, name: str, provenance: dict[str, object]) -> MvdConfig:
    """What the model folder's config.json will say of the model called ``name``."""
    clip = ClipInput(
        spec.num_frames, spec.sampling_rate, spec.input_size, spec.stride, spec.crop_padding, spec.trained_fps
    )
    return MvdConfig(spec.classes, spec.background, {}, clip, spec.rules, provenance=provenance, name=name)


def disturbance(knobs: Knobs) -> Disturbance:
    """How training views differ from what inference sees."""
    area, aspect = (knobs.crop_area[0], knobs.crop_area[1]), (knobs.crop_aspect[0], knobs.crop_aspect[1])
    return Disturbance(
        parse(knobs.auto_augment), area, aspect, knobs.box_jitter, knobs.mirror, knobs.turns, knobs.backwards,
        knobs.light,
    )  # fmt: skip
