"""VideoMAE classifiers and pre-trained encoders in a folder as the transformers library writes it.

The network is the same but for its table of positions. What differs besides: the tensors' names, queries, keys and
values that are three matrices there and one here, and the epsilons of its norms, which are too small to show (tests
compare the logits). Read without the library, which whoever only classifies clips need not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mousetal.errors import ModelError
from mousetal.modelconfig import IMAGENET_MEAN, IMAGENET_STD, ClipInput, Fields, MvdConfig, colour, with_classes
from mousetal.modelfolder import CONFIG_NAME, PREPROCESSOR_NAME, Located, have_names, read_object
from mousetal.mvd.checkpoints import BACKGROUND, CROP_PADDING, STRIDE, State
from mousetal.mvd.config import with_network
from mousetal.mvd.legacyconfig import DEFAULTS
from mousetal.mvd.vit import VIDEOMAE, VitConfig
from mousetal.types import BoutRule

MODEL_TYPE = "videomae"
QUERIES_KEYS_VALUES = ("query", "key", "value")
_BASE, _LAYER = r"^(?:videomae\.)?", r"^(?:videomae\.)?encoder\.layer\.(\d+)\."
# Version 5 of the library has query.bias in memory and q_bias in files, as older versions have in both.
_RENAMED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (_BASE + r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (_BASE + r"layernorm\.", "norm."),
        (_LAYER + r"layernorm_before\.", r"blocks.\1.norm1."),
        (_LAYER + r"layernorm_after\.", r"blocks.\1.norm2."),
        (_LAYER + r"attention\.attention\.(?:q_bias|query\.bias)$", r"blocks.\1.attn.q_bias"),
        (_LAYER + r"attention\.attention\.(?:v_bias|value\.bias)$", r"blocks.\1.attn.v_bias"),
        (_LAYER + r"attention\.attention\.", r"blocks.\1.attn."),
        (_LAYER + r"attention\.output\.dense\.", r"blocks.\1.attn.proj."),
        (_LAYER + r"intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
        (_LAYER + r"output\.dense\.", r"blocks.\1.mlp.fc2."),
        (r"^classifier\.", "head."),
    )
)


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds: sizes, weights under our names, and classes, which may have numbers instead of names."""

    vit: VitConfig
    state: State
    classes: tuple[str, ...]
    is_named: bool


def read_folder(located: Located) -> Folder:
    """Read a VideoMAE folder, pre-trained only or fine-tuned. Raises ModelError when it holds another network."""
    where = located.root / CONFIG_NAME
    fields = Fields(read_object(where), str(where))
    found = fields.take("model_type", str) if fields.has("model_type") else None
    if found != MODEL_TYPE:
        raise ModelError(
            f"{where}: a clip classifier expected, of the transformers library model_type {MODEL_TYPE!r}, "
            f"got {found!r}. Is it the detector?"
        )
    titles = _titles(fields)
    vit = _sizes(fields, len(titles))
    try:
        stored = load_file(located.weights)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{located.weights}: expected a safetensors file, it is unreadable ({error})") from error
    state = _joined({_our_name(name): tensor for name, tensor in stored.items()})
    return Folder(vit, state, titles, have_names(titles))


def read(located: Located, class_names: tuple[str, ...] | None) -> tuple[MvdConfig, State, tuple[str, ...]]:
    """Config, weights and what had to be assumed, of a fine-tuned classifier. Raises ModelError, SettingsError."""
    folder = read_folder(located)
    if "head.weight" not in folder.state:
        raise ModelError(f"{located.weights}: a pre-trained encoder without a head. Fine-tune it first.")
    if not folder.is_named and class_names is None:
        raise ModelError(
            f"{located.root}: the {len(folder.classes)} classes have no names. "
            "Set CLASS_NAMES to one name per class, in order."
        )
    mean, std = _normalisation(located.root)
    frames, rate, side = folder.vit.num_frames, DEFAULTS["sampling_rate"], folder.vit.img_size
    config = MvdConfig(
        classes=folder.classes,
        background=0,
        network={},
        input=ClipInput(frames, rate, side, STRIDE, CROP_PADDING, trained_fps=None, mean=mean, std=std),
        bouts=(BoutRule(),) * len(folder.classes),
        provenance={"origin": "VideoMAE of the transformers library", "weights": located.weights.name},
    )
    config = with_classes(config, class_names, str(located.root))
    assumptions = [f"sampling_rate={rate}: not stated by such a folder, the reference system's default"]
    if BACKGROUND in config.classes:
        config = replace(config, background=config.classes.index(BACKGROUND))
    else:
        assumptions.append(f"{config.classes[0]!r} is the background class: none is named {BACKGROUND!r}, so the first")
    return with_network(config, folder.vit), folder.state, tuple(assumptions)


def _titles(fields: Fields) -> tuple[str, ...]:
    by_number = fields.take("id2label", dict)
    try:
        return tuple(str(by_number[number]) for number in sorted(by_number, key=int))
    except ValueError:
        raise ModelError(f"{fields.where}: id2label: names by number expected, got {by_number}") from None


def _sizes(fields: Fields, num_classes: int) -> VitConfig:
    """Raises ModelError for a network that is none of ours in what the weights' shapes do not tell."""
    fixed: dict[str, Any] = {"hidden_act": "gelu", "qkv_bias": True, "qv_bias": True, "num_channels": 3}
    for key, expected in fixed.items():
        if fields.has(key) and (value := fields.take(key, type(expected))) != expected:
            raise ModelError(f"{fields.where}: {key}: only {expected!r} is supported, got {value!r}")
    dim = fields.take("hidden_size", int)
    return VitConfig(
        num_classes=num_classes,
        img_size=fields.take("image_size", int),
        num_frames=fields.take("num_frames", int),
        patch_size=fields.take("patch_size", int),
        tubelet_size=fields.take("tubelet_size", int),
        dim=dim,
        depth=fields.take("num_hidden_layers", int),
        heads=fields.take("num_attention_heads", int),
        mlp_ratio=fields.take("intermediate_size", int) / max(1, dim),  # whose turn to be refused comes
        use_mean_pooling=fields.take("use_mean_pooling", bool),
        positions=VIDEOMAE,
    )


def _our_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name, count = pattern.subn(replacement, name)
        if count:
            break
    return name


def _joined(state: State) -> State:
    """Queries, keys and values as one matrix, in this order. What is not all there is left as it is, to be listed."""
    for first in [name for name in state if name.endswith(".attn.query.weight")]:
        stem = first.removesuffix("query.weight")
        names = [f"{stem}{part}.weight" for part in QUERIES_KEYS_VALUES]
        if all(name in state for name in names):
            state[f"{stem}qkv.weight"] = torch.cat([state.pop(name) for name in names])
    return state


def _normalisation(folder: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation of each colour, as the folder's image preparation has them, else ImageNet's."""
    path = folder / PREPROCESSOR_NAME
    if not path.is_file():
        return IMAGENET_MEAN, IMAGENET_STD
    document = read_object(path)
    if document.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    fields = Fields({"image_mean": [*IMAGENET_MEAN], "image_std": [*IMAGENET_STD]} | document, str(path))
    return colour(fields, "image_mean"), colour(fields, "image_std")
