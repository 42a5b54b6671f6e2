"""Checkpoints of the reference system's training runs, as they lie on disk.

The weights are under ``module`` (DeepSpeed: ``checkpoint-*/mp_rank_00_model_states.pt``, or the same renamed to
``checkpoints/*.pth`` by the training app), under ``model`` (``checkpoint-*.pth`` without DeepSpeed), or the file is
nothing but a state dict. Sizes come from the run's ``config.txt`` where it names a published variant, else from the
weights themselves. Clip geometry that nobody wrote down takes the reference's defaults, and class names its two
customs; both are reported as assumptions.
"""

from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mousetal.errors import ModelError, SettingsError
from mousetal.modelconfig import ClipInput, MvdConfig
from mousetal.modelfolder import LISTED_TENSORS, Located
from mousetal.mvd import legacyconfig
from mousetal.mvd.config import with_network
from mousetal.mvd.legacyconfig import RunSettings
from mousetal.mvd.vit import VitConfig
from mousetal.types import BoutRule

BACKGROUND = "idle"
# Runs on the command line (and the published model) number the classes one way, the training app the other.
COMMAND_LINE_CLASSES = (BACKGROUND, "Self-Grooming", "Head/Body TWITCH")
TRAINING_APP_CLASSES = (BACKGROUND, "Head/Body TWITCH", "Self-Grooming")
TRAINING_APP_MARK = "experiment_info.json"

STRIDE = 8  # sampled frames, half a window of 16
CROP_PADDING = 0.05


class Variant(NamedTuple):
    """The sizes that a published name stands for."""

    dim: int
    depth: int
    heads: int


VARIANTS = {
    "vit_small_patch16_224": Variant(384, 12, 6),
    "vit_base_patch16_224": Variant(768, 12, 12),
    "vit_large_patch16_224": Variant(1024, 24, 16),
    "vit_huge_patch16_224": Variant(1280, 32, 16),
}
HEADS_OF_DIM = {variant.dim: variant.heads for variant in VARIANTS.values()}
USUAL_HEAD_DIM = 64

# Numpy numbers lie in optimizer states (a learning rate from a numpy schedule) and arguments. Rebuilding one runs no
# foreign code. The first name is numpy 1's.
ALLOWED_GLOBALS: list[Any] = [
    argparse.Namespace,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # untyped in numpy
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    *(type(np.dtype(code)) for code in ("f8", "f4", "i8", "i4", "?")),
]

State = dict[str, Tensor]


def read(located: Located, class_names: tuple[str, ...] | None) -> tuple[MvdConfig, State, tuple[str, ...]]:
    """Config, weights and what had to be assumed, of a checkpoint. Raises ModelError."""
    where = str(located.weights)
    content = unpickle(located.weights)
    state = state_dict(content, where)
    run = _run_settings(located, content)
    vit = _network_sizes(state, run, where)
    classes, class_assumption = _classes(located, class_names, vit.num_classes)
    config = MvdConfig(
        classes=classes,
        background=classes.index(BACKGROUND) if BACKGROUND in classes else 0,
        network={},
        input=ClipInput(run.num_frames, run.sampling_rate, run.input_size, STRIDE, CROP_PADDING, trained_fps=None),
        bouts=(BoutRule(),) * len(classes),
        provenance={"origin": "training run of the reference system", "weights": located.weights.name},
    )
    assumptions = [class_assumption] if class_assumption else []
    if run.defaulted:
        values = ", ".join(f"{name}={getattr(run, name)}" for name in run.defaulted)
        assumptions.append(f"{values}: not stated by the run, the reference system's defaults")
    if run.model not in VARIANTS and vit.dim not in HEADS_OF_DIM:
        assumptions.append(f"{vit.heads} attention heads: not stated, {USUAL_HEAD_DIM} channels each as usual")
    return with_network(config, vit), state, tuple(assumptions)


def unpickle(path: Path) -> Any:
    """The content of a ``torch.save`` file, on the CPU, without running code from it. Raises ModelError."""
    try:
        with torch.serialization.safe_globals(ALLOWED_GLOBALS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: no checkpoint that can be read safely ({_reason(error)}). "
            "Copy it again, or save only its tensors."
        ) from error


def _reason(error: Exception) -> str:
    """Why a file was not unpickled, in a line. Torch's own words advise the user to switch its safety off."""
    if blocked := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds {blocked[1]}, which is not read from files"
    if isinstance(error, pickle.UnpicklingError | EOFError):
        return "it is empty or not of torch.save"
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def state_dict(content: Any, where: str) -> State:
    """The weights in what `unpickle` gives: under ``model``, else ``module``, else all of it. Raises ModelError."""
    if not isinstance(content, dict):
        raise ModelError(f"{where}: a dict of tensors expected, got {type(content).__name__}")
    if "ema" in content:
        raise ModelError(f"{where}: a clip classifier expected, this looks like a detector. Is it in MODEL_DIR?")
    state = next((content[key] for key in ("model", "module") if key in content), content)
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{where}: weights expected under 'model', 'module' or at the top; keys: {_listed(content)}")
    return {str(name): tensor for name, tensor in state.items()}


def _run_settings(located: Located, content: dict[str, Any]) -> RunSettings:
    for path in located.extras:
        if path.name == "config.txt":
            return legacyconfig.settings(legacyconfig.read_text(path), str(path))
    arguments = content.get("args")
    values = vars(arguments) if isinstance(arguments, argparse.Namespace) else {}
    return legacyconfig.settings(values, f"{located.weights}: args")


def _network_sizes(state: State, run: RunSettings, where: str) -> VitConfig:
    """Sizes of the network: those the run names, else those the weights have."""
    needed = ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "head.weight")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if missing := [name for name in needed if name not in shapes]:
        hint = " It is a pre-training checkpoint: fine-tune it first." if "mask_token_img" in shapes else ""
        raise ModelError(
            f"{where}: not the weights of a fine-tuned classifier.{hint}\n"
            f"  missing, among others: {', '.join(missing)}\n  found: {_listed(shapes)}"
        )
    dim, _, tubelet_size, patch_size, _ = _five(shapes["patch_embed.proj.weight"], where)
    depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    named = VARIANTS.get(run.model or "")
    sizes = named or Variant(dim, depth, _heads(dim, where))
    return VitConfig(
        num_classes=run.num_classes or shapes["head.weight"][0],
        img_size=run.input_size,
        num_frames=run.num_frames,
        patch_size=patch_size,
        tubelet_size=run.tubelet_size or tubelet_size,
        dim=sizes.dim,
        depth=sizes.depth,
        heads=sizes.heads,
        mlp_ratio=shapes["blocks.0.mlp.fc1.weight"][0] / dim,
        use_cls_token="cls_token" in shapes,
        use_mean_pooling="fc_norm.weight" in shapes,
    )


def _classes(located: Located, class_names: tuple[str, ...] | None, count: int) -> tuple[tuple[str, ...], str | None]:
    """The class names in the order of the network's outputs, and what was assumed about them."""
    by_app = any(path.name == TRAINING_APP_MARK for path in located.extras)
    names = class_names or (TRAINING_APP_CLASSES if by_app else COMMAND_LINE_CLASSES)
    if len(names) != count:
        origin = "CLASS_NAMES has" if class_names else "runs of the reference system usually have"
        # Names that were said are a setting to change; else it is the model that is not what we know.
        raise (SettingsError if class_names else ModelError)(
            f"{located.weights}: the network has {count} classes, {origin} {len(names)} ({', '.join(names)}). "
            "Set CLASS_NAMES to one name per class, in order."
        )
    if class_names is None:
        reason = f"there is {'an' if by_app else 'no'} {TRAINING_APP_MARK} in {located.root.name}"
        return names, f"class order {', '.join(names)}: {reason}"
    if BACKGROUND not in class_names:
        return names, f"{class_names[0]!r} is the background class: none is named {BACKGROUND!r}, so the first"
    return names, None


def _heads(dim: int, where: str) -> int:
    """The number of heads leaves no trace in the weights' shapes; all published networks but the huge have 64 wide."""
    if dim not in HEADS_OF_DIM and dim % USUAL_HEAD_DIM:
        raise ModelError(f"{where}: cannot tell how many attention heads a network of width {dim} has. Convert it.")
    return HEADS_OF_DIM.get(dim, dim // USUAL_HEAD_DIM)


def _five(shape: tuple[int, ...], where: str) -> tuple[int, int, int, int, int]:
    if len(shape) != 5:
        raise ModelError(f"{where}: patch_embed.proj.weight of 5 dimensions expected, got {shape}")
    return shape[0], shape[1], shape[2], shape[3], shape[4]


def _listed(names: dict[str, Any]) -> str:
    shown = ", ".join(map(str, list(names)[:LISTED_TENSORS]))
    return shown + (f", and {len(names) - LISTED_TENSORS} more" if len(names) > LISTED_TENSORS else "")
