"""The animal detector: RT-DETRv2 from the transformers library, with our own reading, checking and writing of weights.

detector = mousetal.detector.load(Path("models/demo-detector"))
for detections in detector.predict(batch):
    print(detections.frame_index, detections.boxes_xyxy)
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn
from transformers import RTDetrV2ForObjectDetection

from mousetal import modelfolder
from mousetal.detector import network as networks
from mousetal.detector.backends import choose, ways
from mousetal.detector.checkpoints import LEGACY_SCORE_THRESHOLD, Checkpoint, read_official
from mousetal.detector.config import NetworkConfig, variant_name
from mousetal.detector.keys import State, load_official, to_official
from mousetal.detector.predict import Detector
from mousetal.detector.transformers_folder import read_transformers
from mousetal.errors import ModelError
from mousetal.execution import Execution, identity
from mousetal.modelconfig import ImageInput, RtdetrConfig, with_classes
from mousetal.modelfolder import Layout, Located
from mousetal.types import DetectorSpec

__all__ = ["Detector", "NetworkConfig", "load", "save"]

logger = logging.getLogger(__name__)


def load(
    path: str | Path,
    device: str = "cpu",
    precision: str = "fp32",
    class_names: tuple[str, ...] | None = None,
    backend: str = "torch",
    threads: int = 0,
    compile: bool = False,
) -> Detector:
    """Load the detector at `path`.

    That is a folder of ours, an official or Supervisely ``.pth`` or the folder of its training, or a transformers
    folder. `precision` is "fp32", "bf16", "fp16" or "int8", by a graph from `training.quantise`; `backend` is "torch",
    "openvino" or "ncnn" (on a CPU, with `threads` threads or one per core) or "auto"; a way other than torch in fp32 is
    used once it has shown that it computes the same (`acceptance`), else the next best is, with a warning.
    `class_names` renames the classes, in order.
    Raises `ModelError` when there is no detector, its weights do not fit, or the number of names is not the number of
    classes, `SettingsError` for an unusable device, or a compiler (`compile`) that is not there.
    """
    located = modelfolder.locate(Path(path))
    config, state = _read(located, class_names)
    sizes = _sizes(config, located.root)
    execution = Execution.on(device, precision, compile, backend, threads, ways(config))
    network = networks.build(sizes)
    load_official(network, sizes, state, str(located.weights))
    module: nn.Module = network  # the library's own `to` and `eval` are untyped
    module.to(execution.device).eval()
    forward, execution = choose(network, config, execution, located)
    spec = DetectorSpec(
        name=located.name,
        sha256=identity(located, execution),
        classes=config.classes,
        input_size=config.input.input_size,
        score_threshold=config.input.score_threshold,
        device=str(execution),
    )
    return Detector(network, config, spec, execution, forward)


def save(folder: str | Path, network: RTDetrV2ForObjectDetection, config: RtdetrConfig, card: str) -> None:
    """Write a model folder of `network`, whose sizes are ``config.network``; `card` is the text of its README.md.

    Tensors are stored as float32 under the official names. Raises `ModelError` when the sizes are not the network's,
    `OutputError` when the folder cannot be written.
    """
    sizes = _sizes(config, Path(folder))
    state = {name: tensor.detach().cpu().float() for name, tensor in to_official(network.state_dict(), sizes).items()}
    with torch.random.fork_rng(devices=()):  # a training run must not depend on how often it saves
        load_official(networks.build(sizes), sizes, state, str(folder))  # what does not load again must not be saved
    modelfolder.write(Path(folder), config, {name: tensor.numpy() for name, tensor in state.items()}, card)


def _sizes(config: RtdetrConfig, folder: Path) -> NetworkConfig:
    """The network's sizes, once they are known to agree with the classes and the input."""
    sizes = NetworkConfig.from_json(config.network, f"{folder}: network")
    if sizes.num_classes != len(config.classes):
        raise ModelError(
            f"{folder}: the network has {sizes.num_classes} classes, but {len(config.classes)} are named "
            f"({', '.join(config.classes)}). Name one per class, in order, in config.json or model_meta.json."
        )
    sizes.check_input_size(config.input.input_size)
    return sizes


def _read(located: Located, class_names: tuple[str, ...] | None) -> tuple[RtdetrConfig, State]:
    """The configuration, with the user's class names, and the weights under official names."""
    if located.layout is Layout.MOUSETAL:
        config, tensors = modelfolder.read(located, RtdetrConfig)
        state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
        return with_classes(config, class_names, str(located.root)), state
    reader = read_transformers if located.layout is Layout.TRANSFORMERS else read_official
    checkpoint = reader(located)
    logger.info(
        "a detector from elsewhere variant=%s input_size=%d path=%s",
        variant_name(checkpoint.network),
        checkpoint.input_size,
        located.weights,
    )
    return _legacy_config(checkpoint, located, class_names), checkpoint.state


def _legacy_config(checkpoint: Checkpoint, located: Located, class_names: tuple[str, ...] | None) -> RtdetrConfig:
    """The configuration of a checkpoint that came without one of ours."""
    count = checkpoint.network.num_classes
    classes = class_names or checkpoint.classes or (("mouse",) if count == 1 else None)
    if classes is None:
        raise ModelError(
            f"{located.weights}: {count} classes, named nowhere. Put the project's model_meta.json beside it, "
            f"with {count} titles under 'classes'."
        )
    return RtdetrConfig(
        classes=classes,
        network=checkpoint.network.to_json(),
        input=ImageInput(checkpoint.input_size, LEGACY_SCORE_THRESHOLD),
        provenance={"source": str(located.weights)},
    )
