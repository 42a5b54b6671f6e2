"""The RT-DETRv2 network: the transformers library's module, built from our `NetworkConfig`.

Lv et al., "RT-DETRv2: Improved Baseline with Bag-of-Freebies for Real-Time Detection Transformer", 2024. The module
takes ``pixel_values`` float (n, 3, S, S) in 0..1 without mean and deviation, and ``labels`` (a list of
``{"class_labels": int64 (m,), "boxes": float (m, 4) as cx, cy, w, h in 0..1}``) when a loss is wanted.
"""

from __future__ import annotations

import math
import os

import torch
from torch import nn
from transformers import PreTrainedModel, RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

from mousetal.detector.config import LEVELS, NetworkConfig

SCORE_PRIOR = 0.01  # what every class score starts at, so that early training is not drowned by background


def build(config: NetworkConfig) -> RTDetrV2ForObjectDetection:
    """A network with fresh weights, ready for training; seed torch first for a reproducible one."""
    # Every decoder layer checks what cannot be otherwise, that shapes fit, and waits for the GPU to do so. That can
    # neither be captured as a CUDA graph nor compiled in one piece. The library offers no other way to leave it out.
    os.environ.setdefault("TRANSFORMERS_DISABLE_TORCH_CHECK", "1")
    network = RTDetrV2ForObjectDetection(transformers_config(config))
    # The heads appear in two places and are meant to be one; the library ties them by name, which fails where there is
    # only one decoder layer, so it is told not to and the modules themselves are shared.
    network.model.decoder.class_embed = network.class_embed
    network.model.decoder.bbox_embed = network.bbox_embed
    # Without this, what looks at all attributes of the inner modules (OpenVINO does) makes the library warn the user of
    # a loss for language models.
    for module in network.modules():
        if isinstance(module, PreTrainedModel):
            module.loss_type = network.loss_type
    _initialise(network)
    return network


def transformers_config(config: NetworkConfig) -> RTDetrV2Config:
    """`config` in the words of the transformers library; its image backbone needs neither timm nor torchvision."""
    backbone = RTDetrResNetConfig(
        embedding_size=config.stem_width,
        hidden_sizes=list(config.widths),
        depths=list(config.depths),
        layer_type=config.block,
        out_indices=[2, 3, 4],  # type: ignore[call-arg]  # a keyword that the library takes apart after the fields
    )
    return RTDetrV2Config(
        backbone_config=backbone,
        freeze_backbone_batch_norms=config.freeze_backbone_norms,
        num_labels=config.num_classes,  # type: ignore[call-arg]  # the same
        encoder_hidden_dim=config.encoder_dim,
        encoder_in_channels=list(config.widths[1:]),
        encoder_ffn_dim=config.encoder_ffn,
        encoder_attention_heads=config.num_heads,
        hidden_expansion=config.expansion,
        d_model=config.hidden_dim,
        decoder_in_channels=[config.encoder_dim] * LEVELS,
        decoder_ffn_dim=config.decoder_ffn,
        decoder_layers=config.decoder_layers,
        decoder_attention_heads=config.num_heads,
        decoder_n_points=config.num_points,
        decoder_method=config.sampling,
        num_queries=config.num_queries,
        initializer_bias_prior_prob=SCORE_PRIOR,
        tie_word_embeddings=False,
    )


def _initialise(network: RTDetrV2ForObjectDetection) -> None:
    """Replace the library's starting weights where training from scratch does not get off the ground with them.

    It draws batch-norm gains around 0 and all linear layers with a deviation of 0.01, which is harmless before a
    checkpoint is loaded and otherwise silences the encoder. Here gains are 1, linear layers are Xavier-uniform, and the
    box heads end in zeros, so that the first boxes are the anchors.
    """
    sampling_layers = {
        id(layer)
        for module in network.modules()
        if hasattr(module, "sampling_offsets")
        for layer in (module.sampling_offsets, module.attention_weights)
    }
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Linear) and id(module) not in sampling_layers:
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        for score_head in (network.model.enc_score_head, *network.class_embed):
            score_head.bias.fill_(-math.log((1 - SCORE_PRIOR) / SCORE_PRIOR))
        for box_head in (network.model.enc_bbox_head, *network.bbox_embed):
            box_head.layers[-1].weight.zero_()
            box_head.layers[-1].bias.zero_()
