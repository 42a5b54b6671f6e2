"""Detectors in a folder as the transformers library writes it: ``config.json``, ``model.safetensors`` and, where images
are prepared otherwise than by default, ``preprocessor_config.json``.

The weights go through the same strict key table as official ones, so the library's own loading, which tolerates
missing tensors, is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import RTDetrResNetConfig, RTDetrV2Config

from mousetal.detector.checkpoints import DEFAULT_INPUT_SIZE, Checkpoint
from mousetal.detector.config import LEVELS, NetworkConfig
from mousetal.detector.keys import to_official
from mousetal.errors import ModelError
from mousetal.modelfolder import PREPROCESSOR_NAME, Located, have_names, read_object

# Tensors are stored under the names of version 4 of the library; version 5 renamed three kinds of modules in memory.
_RENAMED = (
    (re.compile(r"^model\.encoder\.encoder\."), "model.encoder.aifi."),
    (re.compile(r"\.self_attn\.out_proj\."), ".self_attn.o_proj."),
    (re.compile(r"(\.layers\.\d+)\.(fc[12])\."), r"\1.mlp.\2."),
)
# What changes the network's arithmetic without a trace in the weights, and the one value that we build.
_FIXED: Mapping[str, Any] = {
    "activation_function": "silu",
    "decoder_activation_function": "relu",
    "decoder_n_levels": LEVELS,
    "decoder_offset_scale": 0.5,
    "encode_proj_layers": [2],
    "encoder_activation_function": "gelu",
    "encoder_layers": 1,
    "feat_strides": [8, 16, 32],
    "learn_initial_query": False,
    "normalize_before": False,
    "num_feature_levels": LEVELS,
    "positional_encoding_temperature": 10000,
    "with_box_refine": True,
}


def read_transformers(located: Located) -> Checkpoint:
    """Read a transformers RT-DETRv2 folder. Raises `ModelError` when it holds another network or odd settings."""
    where = located.root / "config.json"
    config = _parse_config(where)
    network = _network_config(config, where)
    try:
        stored = load_file(located.weights)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{located.weights}: expected a safetensors file, it is unreadable ({error})") from error
    state = to_official({_current_name(name): tensor for name, tensor in stored.items()}, network)
    titles = tuple((config.id2label or {}).values())
    return Checkpoint(state, network, _input_size(located.root), titles if have_names(titles) else None)


def _parse_config(path: Path) -> RTDetrV2Config:
    document = read_object(path)
    if document.get("model_type") != RTDetrV2Config.model_type:
        raise ModelError(
            f"{path}: model_type {RTDetrV2Config.model_type!r} expected, got {document.get('model_type')!r}"
        )
    try:
        config = RTDetrV2Config.from_dict(document)
    except (StrictDataclassError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not a configuration that the transformers library takes ({error})") from error
    for key, expected in _FIXED.items():
        value = getattr(config, key)
        if (list(value) if isinstance(value, tuple) else value) != expected:
            raise ModelError(f"{path}: {key}: only {expected!r} is supported, got {value!r}")
    return config


def _network_config(config: RTDetrV2Config, path: Path) -> NetworkConfig:
    backbone = config.backbone_config
    if not isinstance(backbone, RTDetrResNetConfig):
        raise ModelError(f"{path}: a backbone of type 'rt_detr_resnet' expected, got {backbone!r}")
    return NetworkConfig(
        num_classes=len(config.id2label or {}),
        block=backbone.layer_type,
        depths=tuple(backbone.depths),
        stem_width=backbone.embedding_size,
        widths=tuple(backbone.hidden_sizes),
        encoder_dim=config.encoder_hidden_dim,
        encoder_ffn=config.encoder_ffn_dim,
        expansion=config.hidden_expansion,
        hidden_dim=config.d_model,
        decoder_ffn=config.decoder_ffn_dim,
        decoder_layers=config.decoder_layers,
        eval_layer=config.decoder_layers - 1,  # the library always uses the last one
        num_heads=config.decoder_attention_heads,
        num_points=config.decoder_n_points,
        num_queries=config.num_queries,
        sampling=config.decoder_method,
        freeze_backbone_norms=config.freeze_backbone_batch_norms,
    )


def _current_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _input_size(folder: Path) -> int:
    """The square side that the folder's image preparation asks for, which must be the plain one (no normalisation)."""
    path = folder / PREPROCESSOR_NAME
    if not path.is_file():
        return DEFAULT_INPUT_SIZE
    document = read_object(path)
    size = document.get("size", {})
    side = size.get("height") if isinstance(size, dict) else None
    if not isinstance(side, int) or size != {"height": side, "width": side} or document.get("do_normalize", False):
        raise ModelError(f"{path}: a square size {{height, width}} without do_normalize expected, got {document}")
    return side
