"""Detectors in a folder as the transformers library writes it: ``config.json``, ``model.safetensors`` and, where images
are prepared otherwise than by default, ``preprocessor_config.json``.

The weights go through the same strict key table as official ones, so the library's own loading, which tolerates
missing tensors, is not used.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mousetal.detector.checkpoints import DEFAULT_INPUT_SIZE, Checkpoint, infer
from mousetal.detector.config import NetworkConfig
from mousetal.detector.keys import State, to_official
from mousetal.detector.network import transformers_config
from mousetal.errors import ModelError
from mousetal.modelfolder import Located

PREPROCESSOR = "preprocessor_config.json"
_MODEL_TYPE = "rt_detr_v2"
# Names on disk are those of version 4 of the library; version 5 renamed these modules in memory.
_RENAMED = (
    (re.compile(r"^model\.encoder\.encoder\."), "model.encoder.aifi."),
    (re.compile(r"\.self_attn\.out_proj\."), ".self_attn.o_proj."),
    (re.compile(r"(\.layers\.\d+)\.(fc[12])\."), r"\1.mlp.\2."),
)
# Settings that change what the network computes and that our NetworkConfig takes for granted or cannot express.
_FIXED = (
    "activation_function",
    "decoder_activation_function",
    "decoder_offset_scale",
    "encode_proj_layers",
    "encoder_activation_function",
    "encoder_attention_heads",
    "encoder_layers",
    "feat_strides",
    "learn_initial_query",
    "normalize_before",
    "num_feature_levels",
    "positional_encoding_temperature",
    "with_box_refine",
)
