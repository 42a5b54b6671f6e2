"""What a detector's training starts from: an official checkpoint, a transformers folder, or a model folder of ours."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import RTDetrV2ForObjectDetection

from mousetal import modelfolder
from mousetal.detector.checkpoints import read_official
from mousetal.detector.config import NetworkConfig, variant_name
from mousetal.detector.keys import State, load_official, to_official
from mousetal.detector.network import build
from mousetal.detector.transformers_folder import read_transformers
from mousetal.modelconfig import RtdetrConfig
from mousetal.modelfolder import Layout

HEADS = ("decoder.enc_score_head.", "decoder.dec_score_head.", "decoder.denoising_class_embed.")

log = logging.getLogger(__name__)


def start_from(
    path: Path, classes: Sequence[str], is_frozen: bool | None = None
) -> tuple[RTDetrV2ForObjectDetection, NetworkConfig]:
    """The network at ``path`` with a head for ``classes``, and its sizes; ``is_frozen`` overrides its batch norms.

    Where the classes differ in number or name the heads start anew and everything else is kept; the log says so. Seed
    torch first. Raises ModelError when there is no detector, or weights other than the heads' do not fit.
    """
    sizes, state, names = _read(path)
    wanted = replace(sizes, num_classes=len(classes))
    if is_frozen is not None:
        wanted = replace(wanted, freeze_backbone_norms=is_frozen)
    network = build(wanted)
    if sizes.num_classes != len(classes) or (names is not None and tuple(names) != tuple(classes)):
        theirs = ", ".join(names) if names and len(names) <= 10 else f"{sizes.num_classes} classes"
        log.info("the class heads start anew: %s finds %s, wanted are %s", path, theirs, ", ".join(classes))
        state = _with_fresh_heads(state, to_official(network.state_dict(), wanted))
    load_official(network, wanted, state, str(path))
    log.info("training starts from weights variant=%s path=%s", variant_name(wanted), path)
    return network, wanted


def _read(path: Path) -> tuple[NetworkConfig, State, tuple[str, ...] | None]:
    """Sizes, weights under official names, class names where the file tells them."""
    located = modelfolder.locate(path)
    if located.layout is Layout.MOUSETAL:
        config, tensors = modelfolder.read(located, RtdetrConfig)
        state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
        return NetworkConfig.from_json(config.network, f"{path}: network"), state, config.classes
    reader = read_transformers if located.layout is Layout.TRANSFORMERS else read_official
    checkpoint = reader(located)
    return checkpoint.network, checkpoint.state, checkpoint.classes


def _with_fresh_heads(state: State, fresh: State) -> State:
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(HEADS)}
    return kept | {name: tensor for name, tensor in fresh.items() if name.startswith(HEADS)}
