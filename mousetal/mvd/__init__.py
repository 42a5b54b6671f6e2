"""The clip classifier: a video Vision Transformer, fine-tuned from Masked Video Distillation.

classifier = mousetal.mvd.load("models/demo-mvd", device="cuda", precision="bf16")
probabilities = classifier.predict(clips)                     # uint8 (n, T, S, S, 3) -> float32 (n, classes)
mousetal.mvd.save("models/mine", network, config, card)       # after training
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from mousetal import modelfolder
from mousetal.execution import Execution, identity
from mousetal.modelconfig import MvdConfig, with_classes
from mousetal.modelfolder import Layout, Located
from mousetal.mvd import checkpoints, transformers_folder
from mousetal.mvd.backends import choose
from mousetal.mvd.config import vit_config, with_network
from mousetal.mvd.predict import Classifier, classifier_spec
from mousetal.mvd.vit import VisionTransformer, VitConfig

__all__ = ["Classifier", "VisionTransformer", "VitConfig", "load", "save"]

log = logging.getLogger(__name__)


def load(
    path: str | Path,
    device: str = "cpu",
    precision: str = "fp32",
    class_names: tuple[str, ...] | None = None,
    compile: bool = False,
    backend: str = "torch",
    threads: int = 0,
) -> Classifier:
    """The classifier in a model folder, a folder of a reference training run, one of the latter's weight files, or a
    VideoMAE folder of the transformers library.

    ``precision`` is "fp32", "bf16", "fp16" or "int8", by a graph from `training.quantise`; ``backend`` is "torch",
    "openvino" (on a CPU, with ``threads`` threads or one per core), "auto", or "ncnn", for which OpenVINO stands in:
    convolutions are what that is for. A way other than torch in fp32 is used once it has shown that it computes the
    same (`acceptance`), else the next best is, with a warning. ``class_names``
    replaces the stored (or, for runs of the reference system, assumed) names, in the model's order. What had to be
    assumed is logged and stands in ``spec.assumptions``.
    Raises ModelError when the path holds no such model or its weights do not fit, SettingsError for an unusable device,
    another number of class names than the model has, or a compiler that is not there.
    """
    execution = Execution.on(device, precision, compile, backend, threads)
    located = modelfolder.locate(Path(path))
    config, state, assumptions = _read(located, class_names)
    with torch.device("meta"):
        network = VisionTransformer(vit_config(config, str(located.root)))
    network = _filled(network, state, str(located.weights))
    for assumption in assumptions:
        log.warning("assumed of a model whose files do not say model=%s assumed=%r", located.name, assumption)
    logits, execution = choose(network, config, execution, located)
    spec = classifier_spec(config, located.name, identity(located, execution), assumptions, execution)
    return Classifier(network, config, spec, execution, logits)


def save(folder: str | Path, network: VisionTransformer, config: MvdConfig, card: str) -> None:
    """Writes a model folder; ``card`` is the text of its README.md.

    ``config.network`` is filled in from the network. Raises ModelError when the two disagree, OutputError.
    """
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    modelfolder.write(Path(folder), with_network(config, network.config), tensors, card)


def _read(
    located: Located, class_names: tuple[str, ...] | None
) -> tuple[MvdConfig, dict[str, Tensor], tuple[str, ...]]:
    if located.layout is Layout.PICKLE:
        return checkpoints.read(located, class_names)
    if located.layout is Layout.TRANSFORMERS:
        return transformers_folder.read(located, class_names)
    config, arrays = modelfolder.read(located, MvdConfig)
    config = with_classes(config, class_names, str(located.root))
    return config, {name: torch.from_numpy(array) for name, array in arrays.items()}, ()


def _filled(network: VisionTransformer, state: dict[str, Tensor], where: str) -> VisionTransformer:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    modelfolder.require_match(expected, found, where, "Do the weights and the configuration belong together?")
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True, assign=True)
    return network
