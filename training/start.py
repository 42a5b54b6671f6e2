"""Where a network's first weights come from: a checkpoint or a folder of any layout, or nothing.

Nothing is skipped in silence: every tensor of the file is used, or is known by name to have no place in a classifier
(what only pre-training needs), or the start is refused with a list. A head is kept only when the file's classes are
those of the clips, in the same order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mousetal import modelfolder
from mousetal.errors import ModelError
from mousetal.modelconfig import MvdConfig
from mousetal.modelfolder import Layout
from mousetal.mvd import checkpoints, transformers_folder
from mousetal.mvd.config import vit_config
from mousetal.mvd.vit import MVD, VIDEOMAE, VisionTransformer, VitConfig

# What pre-training needs and a classifier does not: position tables, mask tokens, decoders and the way into them, and
# the encoder's last norm (a classifier that averages its tokens has one of its own).
PRETRAINING_ONLY = re.compile(r"(pos_embed|mask_token|decoder|encoder_to_decoder|down_img|down_vid)[\w.]*|norm\.\w+")
# Each table of positions with a tensor that only its pre-training has. A fine-tuned checkpoint does not tell.
PRETRAINING_MARKS = {MVD: "mask_token_img", VIDEOMAE: "encoder_to_decoder.weight"}
PREFIXES = ("backbone.", "encoder.")
HEAD = ("head.weight", "head.bias")
FRESH_AFTER_PRETRAINING = ("fc_norm.weight", "fc_norm.bias", *HEAD)
HINT = "Do model, dim, depth, patch_size and tubelet_size describe the network that was saved?"

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Start:
    """What came of a start: tensors taken, parameters left fresh, names of the file that have no place here."""

    loaded: int
    fresh: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        fresh = f"; fresh: {', '.join(self.fresh)}" if self.fresh else ""
        return f"{self.loaded} tensors loaded{fresh}" + (
            f"; {len(self.ignored)} not needed (pre-training)" if self.ignored else ""
        )


def load_start(
    network: VisionTransformer, path: Path, classes: tuple[str, ...], stated: tuple[str, ...], reset_head: bool
) -> Start:
    """Put the weights in ``path`` into ``network``, whose classes are ``classes``. Raises ModelError.

    ``stated`` are the file's classes where the user names them; a model folder of ours knows its own. With
    ``reset_head`` the network keeps its fresh head.
    """
    source = _read(path)
    _require_sizes(path, source, network.config)
    state, ignored = remap(source.state, network.config.use_cls_token)
    is_pretrained = not any(name in state for name in HEAD)
    fresh: tuple[str, ...] = ()
    if is_pretrained:
        fresh = FRESH_AFTER_PRETRAINING
        if not network.config.use_mean_pooling:
            fresh = ("norm.weight", "norm.bias", *HEAD)
    elif reset_head:
        fresh = HEAD
    else:
        _require_classes(path, source.classes or stated, classes)
    state = {name: tensor for name, tensor in state.items() if name not in fresh}
    parameters = dict(network.named_parameters())
    fresh = tuple(name for name in fresh if name in parameters)
    expected = {name: tuple(p.shape) for name, p in parameters.items() if name not in fresh}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    modelfolder.require_match(expected, found, str(path), HINT)
    with torch.no_grad():
        for name, tensor in state.items():
            parameters[name].copy_(tensor.float())
    return Start(len(state), fresh, ignored)


def remap(state: State, use_cls_token: bool = False) -> tuple[State, tuple[str, ...]]:
    """The weights under a classifier's names, and the names that were left out because only pre-training needs them.

    Pre-trained students carry a class token that a classifier without one has no use for.
    """
    renamed = {_without_prefix(name): tensor for name, tensor in state.items()}
    is_classifier = any(name in renamed for name in HEAD)
    # A classifier may have a norm of its own; and no decoder, so that one would be worth a refusal.
    left_out = {
        name
        for name in renamed
        if (name.startswith("pos_embed") if is_classifier else PRETRAINING_ONLY.fullmatch(name))
    }
    if not is_classifier and not use_cls_token:
        left_out |= renamed.keys() & {"cls_token"}
    return {name: renamed[name] for name in renamed if name not in left_out}, tuple(sorted(left_out))


def _without_prefix(name: str) -> str:
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


@dataclass(frozen=True, slots=True)
class _Source:
    """Weights and what is known of them: of a pickle less than of a folder with a config."""

    state: State
    classes: tuple[str, ...] = ()
    heads: int | None = None
    positions: str | None = None


def _read(path: Path) -> _Source:
    if not path.exists():
        raise ModelError(f"{path}: init names a checkpoint or a model folder, there is nothing.")
    located = modelfolder.locate(path)
    if located.layout is Layout.PICKLE:
        state = checkpoints.state_dict(checkpoints.unpickle(located.weights), str(located.weights))
        whose = [name for name, mark in PRETRAINING_MARKS.items() if mark in state]
        return _Source(state, positions=whose[0] if whose else None)
    if located.layout is Layout.TRANSFORMERS:
        folder = transformers_folder.read_folder(located)
        classes = folder.classes if folder.is_named else ()
        return _Source(folder.state, classes, folder.vit.heads, folder.vit.positions)
    config, arrays = modelfolder.read(located, MvdConfig)
    vit = vit_config(config, str(path))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return _Source(tensors, config.classes, vit.heads, vit.positions)


def _require_sizes(path: Path, source: _Source, ours: VitConfig) -> None:
    """What leaves no trace in the weights' shapes; raises ModelError."""
    for name in ("heads", "positions"):
        theirs, wanted = getattr(source, name), getattr(ours, name)
        if theirs is not None and theirs != wanted:
            raise ModelError(
                f"{path}: trained with {name} = {theirs!r}, wanted is {wanted!r}. Set {name} = {theirs!r}."
            )


def _require_classes(path: Path, theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    if not theirs:
        raise ModelError(
            f"{path}: its files do not say which classes its head tells apart. Set init_classes to their names in "
            "order, or reset_head = true for a fresh head."
        )
    if theirs != ours:
        raise ModelError(
            f"{path}: made for the classes {', '.join(theirs)}; the clips have {', '.join(ours)}. "
            "Set reset_head = true for a fresh head, or bring the clips' classes into that order."
        )
