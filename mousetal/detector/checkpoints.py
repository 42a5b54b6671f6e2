"""Detectors as others store them: official and Supervisely ``.pth`` files, and transformers folders.

Sizes are read off the weights: which variant a file holds is written nowhere in it. What weights cannot tell (number of
queries, sampling method, decoder layer used) comes from the ``model_config.yml`` that Supervisely's training leaves
beside the checkpoint, else from what the published variants have.
"""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from mousetal.detector.config import LARGEST_STRIDE, LEVELS, VARIANTS, NetworkConfig, num_tokens, variant_name
from mousetal.detector.keys import State
from mousetal.errors import ModelError
from mousetal.modelfolder import Located

DEFAULT_INPUT_SIZE = 640
LEGACY_SCORE_THRESHOLD = 0.4  # what the reference system's server drops below, unasked


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Weights under official names, with all that is known about them. ``classes`` is None where no file names them."""

    state: State
    network: NetworkConfig
    input_size: int
    classes: tuple[str, ...] | None


def read_official(located: Located) -> Checkpoint:
    """Read an official RT-DETRv2 ``.pth`` or a Supervisely ``best.pth``; averaged (EMA) weights are preferred.

    Raises `ModelError` when the file is no such checkpoint.
    """
    state = _chosen_state(_unpickle(located.weights), located.weights)
    network = infer(state, str(located.weights))
    classes = None
    for path in located.extras:
        if path.name == "model_config.yml":
            network = _with_training_config(network, path)
        elif path.name == "model_meta.json":
            classes = _class_titles(path)
    return Checkpoint(state, network, _input_size(state), classes)


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{path}: expected a PyTorch checkpoint of tensors and plain values; it cannot be read as one ({reason})"
        ) from error


def _chosen_state(content: Any, path: Path) -> State:
    """The averaged weights if the file has them, else the last ones."""
    if isinstance(content, dict):
        ema = content.get("ema")
        for candidate in (ema.get("module") if isinstance(ema, dict) else None, content.get("model")):
            if isinstance(candidate, dict) and candidate:
                return {name: value for name, value in candidate.items() if isinstance(value, torch.Tensor)}
        found = ", ".join(sorted(map(str, content))[:12])
    else:
        found = type(content).__name__
    raise ModelError(
        f"{path}: expected an RT-DETRv2 checkpoint with the weights under 'ema' / 'module' or under 'model', "
        f"found: {found or 'nothing'}"
    )


def infer(state: Mapping[str, torch.Tensor], where: str) -> NetworkConfig:
    """The sizes of the network that official weights belong to. Raises `ModelError` when they are no RT-DETRv2's.

    Queries and the sampling method leave no trace in the weights and are those of the published variants; so is the
    rule that the network with slim bottlenecks and six decoder layers (r50vd_m) is used after the third.
    """
    try:
        return _inferred(state)
    except KeyError as error:
        raise ModelError(
            f"{where}: expected the weights of an RT-DETRv2 network, but there is no tensor {error.args[0]!r} "
            f"among its {len(state)} (first: {', '.join(sorted(state)[:8])}). Check that this is the detector's file."
        ) from error


def _inferred(state: Mapping[str, torch.Tensor]) -> NetworkConfig:
    def size(name: str, dim: int = 0) -> int:
        return int(state[name].shape[dim])

    is_bottleneck = "backbone.res_layers.0.blocks.0.branch2c.conv.weight" in state
    depths = tuple(_count(state, rf"backbone\.res_layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4))
    last_conv = "branch2c" if is_bottleneck else "branch2b"
    encoder_dim = size("encoder.input_proj.0.conv.weight")
    layers = _count(state, r"decoder\.decoder\.layers\.(\d+)\.")
    samples = size("decoder.decoder.layers.0.cross_attn.num_points_scale")
    config = NetworkConfig(
        num_classes=size("decoder.enc_score_head.weight"),
        block="bottleneck" if is_bottleneck else "basic",
        depths=depths,
        stem_width=size("backbone.conv1.conv1_3.conv.weight"),
        widths=tuple(size(f"backbone.res_layers.{stage}.blocks.0.{last_conv}.conv.weight") for stage in range(4)),
        encoder_dim=encoder_dim,
        encoder_ffn=size("encoder.encoder.0.layers.0.linear1.weight"),
        expansion=size("encoder.fpn_blocks.0.conv1.conv.weight") / encoder_dim,
        hidden_dim=size("decoder.enc_output.proj.weight"),
        decoder_ffn=size("decoder.decoder.layers.0.linear1.weight"),
        decoder_layers=layers,
        eval_layer=layers - 1,
        num_heads=size("decoder.decoder.layers.0.cross_attn.attention_weights.weight") // samples,
        num_points=samples // LEVELS,
        freeze_backbone_norms="backbone.conv1.conv1_1.norm.num_batches_tracked" not in state,
    )
    slim = replace(config, eval_layer=VARIANTS["r50vd_m"].eval_layer) if layers > 2 else config
    return slim if variant_name(slim) == "r50vd_m" else config


def _count(state: Mapping[str, torch.Tensor], pattern: str) -> int:
    """How many different numbers the group of `pattern` takes among the names."""
    found = {match.group(1) for match in map(re.compile(pattern).match, state) if match}
    if not found:
        raise KeyError(pattern.replace("\\", ""))
    return len(found)


def _input_size(state: Mapping[str, torch.Tensor]) -> int:
    """The square side the stored anchors were made for; without anchors, that of the published variants."""
    if "decoder.anchors" not in state:
        return DEFAULT_INPUT_SIZE
    tokens = int(state["decoder.anchors"].shape[1])
    side = LARGEST_STRIDE * math.isqrt(tokens // 21)  # a side of 32 n gives n² (16 + 4 + 1) cells on the three maps
    return side if side and num_tokens(side) == tokens else DEFAULT_INPUT_SIZE


def _with_training_config(network: NetworkConfig, path: Path) -> NetworkConfig:
    """`network` with what only the resolved training configuration knows."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"{path}: expected the YAML file of an RT-DETRv2 training ({error})") from error
    section = document.get("RTDETRTransformerv2") if isinstance(document, dict) else None
    if not isinstance(section, dict):
        raise ModelError(f"{path}: expected the settings of an RT-DETRv2 training under 'RTDETRTransformerv2'")
    eval_layer = section.get("eval_idx", network.eval_layer)
    if isinstance(eval_layer, int) and eval_layer < 0:
        eval_layer += network.decoder_layers  # as in a Python list, -1 is the last
    told = {
        "num_queries": section.get("num_queries", network.num_queries),
        "sampling": section.get("cross_attn_method", network.sampling),
        "eval_layer": eval_layer,
    }
    return NetworkConfig.from_json(network.to_json() | told, str(path))


def _class_titles(path: Path) -> tuple[str, ...]:
    try:
        return tuple(str(entry["title"]) for entry in json.loads(path.read_text(encoding="utf-8"))["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected a project's meta file with classes[].title ({error!r})") from error
