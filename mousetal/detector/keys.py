"""Which tensor of an official RT-DETRv2 checkpoint is which tensor of the transformers library's module.

Our own model folders keep the official names too, so a new release of the library can rename its modules without
touching a single stored model: only this table changes. The table is strict in both directions. Left out, because they
are computed from the sizes or used in training only: batch counters, anchors and their mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from mousetal.detector.config import BLOCKS, LEVELS, NetworkConfig
from mousetal.modelfolder import require_match

DROPPED = re.compile(r"(\.num_batches_tracked|^decoder\.anchors|^decoder\.valid_mask)$")
_NORM = ("weight", "bias", "running_mean", "running_var")
_LINEAR = ("weight", "bias")


@dataclass(frozen=True, slots=True)
class Key:
    """One official tensor. ``names`` are its names in the module: the thirds q, k, v when fused, else shared copies."""

    official: str
    names: tuple[str, ...]
    is_fused: bool = False


State = dict[str, torch.Tensor]


def key_table(config: NetworkConfig) -> tuple[Key, ...]:
    """Every official tensor that a network of these sizes needs, with its names in the transformers module."""
    return (*_backbone(config), *_encoder(config), *_decoder_inputs(), *_decoder_layers(config), *_heads(config))


def load_official(network: nn.Module, config: NetworkConfig, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Put the official tensors `state` into `network`, every one of them or none.

    Raises `ModelError` listing what is missing, unexpected or misshapen; `where` names the file in it.
    """
    table = key_table(config)
    kept = {name: tensor for name, tensor in state.items() if not DROPPED.search(name)}
    expected = to_official(network.state_dict(), config)
    require_match(_shapes(expected), _shapes(kept), where, "Is this the detector's file, with its own configuration?")
    network.load_state_dict(_to_transformers(kept, table), strict=False)


def to_official(state: Mapping[str, torch.Tensor], config: NetworkConfig) -> State:
    """The module's tensors `state` under the official names, without batch counters.

    Of tensors that the module has twice, one copy is enough. A name that is not in the table is kept as it is, and a
    tensor that is not in `state` is left out, for the strict check of `load_official` to find.
    """
    left = {name: tensor for name, tensor in state.items() if not DROPPED.search(name)}
    renamed: State = {}
    for key in key_table(config):
        found = [left.pop(name) for name in key.names if name in left]
        if found and not key.is_fused:
            renamed[key.official] = found[0]
        elif found and len(found) == len(key.names):
            renamed[key.official] = torch.cat(found)
    return renamed | left


def _to_transformers(state: Mapping[str, torch.Tensor], table: tuple[Key, ...]) -> State:
    renamed: State = {}
    for key in table:
        tensor = state[key.official]
        parts = tensor.chunk(len(key.names)) if key.is_fused else (tensor,) * len(key.names)
        renamed.update(zip(key.names, parts, strict=True))
    return renamed


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _leaves(official: str, name: str, leaves: tuple[str, ...]) -> Iterator[Key]:
    for leaf in leaves:
        yield Key(f"{official}.{leaf}", (f"{name}.{leaf}",))


def _conv_norm(official: str, conv: str, norm: str) -> Iterator[Key]:
    yield Key(f"{official}.conv.weight", (f"{conv}.weight",))
    yield from _leaves(f"{official}.norm", norm, _NORM)


def _backbone(config: NetworkConfig) -> Iterator[Key]:
    module = "model.backbone.model"
    for n in range(3):
        layer = f"{module}.embedder.embedder.{n}"
        yield from _conv_norm(f"backbone.conv1.conv1_{n + 1}", f"{layer}.convolution", f"{layer}.normalization")
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            official = f"backbone.res_layers.{stage}.blocks.{block}"
            name = f"{module}.encoder.stages.{stage}.layers.{block}"
            for n in range(BLOCKS[config.block]):
                layer = f"{name}.layer.{n}"
                yield from _conv_norm(f"{official}.branch2{'abc'[n]}", f"{layer}.convolution", f"{layer}.normalization")
            if block == 0:  # from the second stage on, the shortcut pools first and the convolution comes second
                shortcut = f"{name}.shortcut.1" if stage else f"{name}.shortcut"
                short = f"{official}.short.conv" if stage else f"{official}.short"
                yield from _conv_norm(short, f"{shortcut}.convolution", f"{shortcut}.normalization")


def _encoder(config: NetworkConfig) -> Iterator[Key]:
    for level in range(LEVELS):
        name = f"model.encoder_input_proj.{level}"
        yield from _conv_norm(f"encoder.input_proj.{level}", f"{name}.0", f"{name}.1")
    official, name = "encoder.encoder.0.layers.0", "model.encoder.aifi.0.layers.0"
    yield from _attention_and_ffn(official, name)
    yield from _leaves(f"{official}.norm1", f"{name}.self_attn_layer_norm", _LINEAR)
    yield from _leaves(f"{official}.norm2", f"{name}.final_layer_norm", _LINEAR)
    for n in range(LEVELS - 1):
        for part in ("lateral_convs", "downsample_convs"):
            yield from _same_conv_norm(f"encoder.{part}.{n}")
        for part in ("fpn_blocks", "pan_blocks"):
            yield from _csp_block(f"encoder.{part}.{n}", config)


def _csp_block(official: str, config: NetworkConfig) -> Iterator[Key]:
    for conv in ("conv1", "conv2", "conv3") if config.csp_dim != config.encoder_dim else ("conv1", "conv2"):
        yield from _same_conv_norm(f"{official}.{conv}")
    for n in range(3):
        for conv in ("conv1", "conv2"):
            yield from _same_conv_norm(f"{official}.bottlenecks.{n}.{conv}")


def _same_conv_norm(official: str) -> Iterator[Key]:
    yield from _conv_norm(official, f"model.{official}.conv", f"model.{official}.norm")


def _attention_and_ffn(official: str, name: str) -> Iterator[Key]:
    """Self-attention, whose query, key and value weights the official file stacks, and the feed-forward layers."""
    for leaf in _LINEAR:
        thirds = tuple(f"{name}.self_attn.{part}_proj.{leaf}" for part in "qkv")
        yield Key(f"{official}.self_attn.in_proj_{leaf}", thirds, is_fused=True)
    yield from _leaves(f"{official}.self_attn.out_proj", f"{name}.self_attn.o_proj", _LINEAR)
    yield from _leaves(f"{official}.linear1", f"{name}.mlp.fc1", _LINEAR)
    yield from _leaves(f"{official}.linear2", f"{name}.mlp.fc2", _LINEAR)


def _decoder_inputs() -> Iterator[Key]:
    for level in range(LEVELS):
        name = f"model.decoder_input_proj.{level}"
        yield from _conv_norm(f"decoder.input_proj.{level}", f"{name}.0", f"{name}.1")
    yield Key("decoder.denoising_class_embed.weight", ("model.denoising_class_embed.weight",))
    for n in range(2):
        yield from _leaves(f"decoder.query_pos_head.layers.{n}", f"model.decoder.query_pos_head.layers.{n}", _LINEAR)
    yield from _leaves("decoder.enc_output.proj", "model.enc_output.0", _LINEAR)
    yield from _leaves("decoder.enc_output.norm", "model.enc_output.1", _LINEAR)


def _decoder_layers(config: NetworkConfig) -> Iterator[Key]:
    for layer in range(config.decoder_layers):
        official, name = f"decoder.decoder.layers.{layer}", f"model.decoder.layers.{layer}"
        yield from _attention_and_ffn(official, name)
        for part in ("sampling_offsets", "attention_weights", "value_proj", "output_proj"):
            yield from _leaves(f"{official}.cross_attn.{part}", f"{name}.encoder_attn.{part}", _LINEAR)
        yield Key(f"{official}.cross_attn.num_points_scale", (f"{name}.encoder_attn.n_points_scale",))
        yield from _leaves(f"{official}.norm1", f"{name}.self_attn_layer_norm", _LINEAR)
        yield from _leaves(f"{official}.norm2", f"{name}.encoder_attn_layer_norm", _LINEAR)
        yield from _leaves(f"{official}.norm3", f"{name}.final_layer_norm", _LINEAR)


def _heads(config: NetworkConfig) -> Iterator[Key]:
    """The heads on the encoder's output, and those of the decoder layers, which the module has in two places."""
    yield from _leaves("decoder.enc_score_head", "model.enc_score_head", _LINEAR)
    for n in range(3):
        yield from _leaves(f"decoder.enc_bbox_head.layers.{n}", f"model.enc_bbox_head.layers.{n}", _LINEAR)
    for layer in range(config.decoder_layers):
        yield from _shared(f"decoder.dec_score_head.{layer}", f"class_embed.{layer}")
        for n in range(3):
            yield from _shared(f"decoder.dec_bbox_head.{layer}.layers.{n}", f"bbox_embed.{layer}.layers.{n}")


def _shared(official: str, name: str) -> Iterator[Key]:
    for leaf in _LINEAR:
        yield Key(f"{official}.{leaf}", (f"model.decoder.{name}.{leaf}", f"{name}.{leaf}"))
