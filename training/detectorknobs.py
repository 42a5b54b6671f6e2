"""All settings of `training.train_detector`, with their units and defaults, and what is refused of them."""

from __future__ import annotations

from dataclasses import dataclass

from mousetal.detector.config import VARIANTS
from mousetal.errors import SettingsError
from training.knobs import knob
from training.team import Team


@dataclass(frozen=True)
class Knobs:
    """Everything that can be turned, with its unit where it has one."""

    # data
    data: tuple[str, ...] = knob((), "folders of boxes in COCO's format")
    shares: tuple[float, ...] = knob((), "of each folder in what is learned from; empty: by their numbers of pictures")
    validation: tuple[str, ...] = knob((), "the same, for validation alone; without, a part of `data` is taken")
    validation_share: float = knob(0.2, "share of the groups (subject, else session, else video) that is validated on")
    classes: tuple[str, ...] = knob((), "names in order; without, all that the data has")
    picture_limit: int = knob(960, "pixels; pictures are kept with no side longer than this")
    workers: int = knob(0, "processes that prepare pictures; 0: the training process itself")
    seed: int = knob(0, "of everything random")

    # network
    start: str = knob("", "weights to start from: a model folder or an official .pth; empty: random")
    variant: str = knob("", "a published one (r18vd, r34vd, r50vd_m, r50vd, r101vd); empty: the sizes below")
    norms: str = knob("", "batch norms of the backbone: 'trained' or 'frozen'; empty: as the variant has them")
    input_size: int = knob(160, "pixels, a multiple of 32; the whole frame is squeezed into this square")
    width: int = knob(16, "channels of the first stage; the next ones double")
    hidden_dim: int = knob(64, "channels of encoder and decoder")
    decoder_layers: int = knob(2, "of them the last one answers")
    num_queries: int = knob(30, "boxes that are looked for in a picture")
    num_denoising: int = knob(10, "noisy copies of the true boxes per picture (published: 100)")

    # optimiser and schedule
    batch: int = knob(16, "pictures per step, over all processes")
    accumulate: int = knob(1, "parts into which a process cuts its batch, for small memories")
    steps: int = knob(4_000, "optimiser steps")
    epochs: float = knob(0.0, "passes over the data; above 0 it decides `steps`")
    warmup: int = knob(200, "steps")
    schedule: str = knob("cosine", "after the warm-up: cosine, constant, or multistep")
    milestones: tuple[float, ...] = knob((0.7, 0.9), "shares of the run at which multistep divides the rate by ten")
    learning_rate: float = knob(6e-4, "its highest, after the warm-up")
    backbone_factor: float = knob(1.0, "of the learning rate, for the backbone")
    weight_decay: float = knob(1e-4, "not of norms and biases")
    clip_norm: float = knob(0.5, "largest norm of the gradient (published: 0.1)")
    ema: float = knob(0.998, "share kept per step by the averaged weights, which are the ones that are saved")
    ema_ramp: float = knob(200.0, "steps over which the average becomes that slow (published: 0.9999 and 2000)")
    precision: str = knob("fp32", "of the network: fp32, bf16 or fp16; the loss is always fp32")

    # augmentation: probabilities
    photometric: float = knob(0.5, "other light and colour")
    brightness: float = knob(0.125, "largest change of that light, a share")
    zoom_out: float = knob(0.5, "the picture made smaller on black")
    zoom_most: float = knob(1.5, "by up to this factor")
    iou_crop: float = knob(0.8, "a part of the picture")
    mirror: float = knob(0.5, "left for right")
    flip: float = knob(0.5, "upside down: right for a camera above")
    turn: float = knob(0.5, "a quarter turn")
    grey: float = knob(0.0, "without colour")
    invert: float = knob(0.0, "bright for dark")
    scales: tuple[int, ...] = knob((0,), "input sizes to draw from, one per step; 0: input_size")
    plain_share: float = knob(0.1, "last share of the run, without the three strong ones and other scales")

    # bookkeeping
    save_every: int = knob(250, "steps between checkpoints")
    evaluate_every: int = knob(500, "steps between evaluations, if there is something to validate on")
    print_every: int = knob(50, "steps")


HARMLESS = ("workers", "save_every", "print_every")  # knobs that change no weight
TOO_LARGE = "Lower batch, or raise accumulate; or lower input_size or scales; or set precision to bf16."


def check(knobs: Knobs, team: Team) -> None:
    """Refuse what makes no sense, before anything is read. Raises SettingsError, ModelError for sizes."""
    if knobs.variant and knobs.variant not in VARIANTS:
        raise SettingsError(f"variant: one of {', '.join(VARIANTS)} expected, got {knobs.variant!r}")
    if knobs.variant and knobs.start:
        raise SettingsError("variant and start: the weights decide the sizes. Leave one of the two out.")
    for name, known in (("schedule", ("cosine", "constant", "multistep")), ("norms", ("", "trained", "frozen"))):
        if getattr(knobs, name) not in known:
            raise SettingsError(
                f"{name}: one of {', '.join(filter(None, known))} expected, got {getattr(knobs, name)!r}"
            )
    if knobs.shares and (len(knobs.shares) != len(knobs.data) or min(knobs.shares) < 0 or max(knobs.shares) <= 0):
        raise SettingsError(
            f"shares: a number for each of the {len(knobs.data)} folders in data expected, none below 0 and one above, "
            f"got {list(knobs.shares)}"
        )
    if min(knobs.batch, knobs.accumulate, knobs.save_every, knobs.evaluate_every, knobs.print_every, knobs.steps) < 1:
        raise SettingsError("batch, accumulate, steps and the *_every knobs: at least 1 expected")
    if knobs.batch % (knobs.accumulate * team.size):
        raise SettingsError(f"batch {knobs.batch} cannot be cut into {team.size} processes x {knobs.accumulate} parts.")
    if knobs.precision == "fp16" and team.device.type == "cpu":
        raise SettingsError("precision fp16 needs a GPU. On a CPU set fp32 or bf16.")
