"""Clips in, class probabilities out.

classifier = mousetal.mvd.load("models/demo-mvd")
probabilities = classifier.predict(clips)       # uint8 (n, T, S, S, 3) -> float32 (n, classes)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from mousetal.errors import InvalidRequest, ModelError
from mousetal.execution import Execution
from mousetal.modelconfig import MvdConfig
from mousetal.mvd.backends import Logits, Normalised, TorchLogits
from mousetal.mvd.vit import VisionTransformer
from mousetal.types import ClassifierSpec, ClipBatch, Float32Array, UInt8Array

log = logging.getLogger(__name__)


class Classifier:
    """A loaded clip classifier. Not safe for use from several threads at once."""

    def __init__(
        self, network: VisionTransformer, config: MvdConfig, spec: ClassifierSpec, execution: Execution,
        logits: Logits | None = None,
    ) -> None:  # fmt: skip
        """``logits`` computes the network's outputs (`backends`); by default torch does. ``precision`` tells in which
        arithmetic, which may be another than was asked for.
        """
        self.config = config
        self.spec = spec
        self.network = network.to(execution.device).eval()
        self.precision = execution.precision
        self._logits = logits or TorchLogits(network, config, execution)

    @torch.inference_mode()
    def predict(self, clips: UInt8Array) -> Float32Array:
        """Probabilities, float32 (n, classes), of RGB clips uint8 (n, num_frames, input_size, input_size, 3).

        Rows sum to 1, unless the model is multi-label: then each class has a probability of its own. Computed in
        float32 from the logits, whatever the precision of the network. Raises InvalidRequest for other shapes,
        ModelError when the network's numbers overflow.
        """
        self._check(clips)
        if len(clips) == 0:
            return np.zeros((0, len(self.config.classes)), np.float32)
        logits = torch.from_numpy(self._logits(clips)) / self.config.temperature
        scores = logits.sigmoid() if self.config.multi_label else logits.softmax(dim=1)
        if not bool(scores.isfinite().all()):
            raise ModelError(
                f"{self.spec.name}: the network gave no finite numbers in {self.precision}. "
                "Its weights are broken or too large for the precision: try PRECISION=fp32."
            )
        return np.asarray(scores.numpy(), np.float32)

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        """``predict`` for one batch after the other, lazily: the pipeline's ``classify``."""
        for batch in batches:
            yield self.predict(batch.clips)

    def normalise(self, clips: Tensor) -> Tensor:
        """What the network takes, float32 (n, 3, T, S, S), of uint8 clips (n, T, S, S, 3)."""
        return Normalised(self.network, self.config).to(clips.device).normalise(clips)

    def warm_up(self) -> None:
        """Classifies one grey clip, so that one-off work (memory, kernels) is done before the first."""
        self.predict(np.full((1, *self._clip_shape), 127, np.uint8))
        log.info("classifier is warm model=%s device=%s", self.spec.name, self.spec.device)

    @property
    def _clip_shape(self) -> tuple[int, int, int, int]:
        size = self.config.input.input_size
        return self.config.input.num_frames, size, size, 3

    def _check(self, clips: UInt8Array) -> None:
        if clips.dtype != np.uint8 or clips.shape[1:] != self._clip_shape:
            raise InvalidRequest(
                f"clips of uint8 (n, {', '.join(map(str, self._clip_shape))}) expected, got {clips.dtype} {clips.shape}"
            )


def classifier_spec(
    config: MvdConfig, name: str, sha256: str, assumptions: tuple[str, ...], execution: Execution
) -> ClassifierSpec:
    """What a driver must know of the model."""
    return ClassifierSpec(
        name=name,
        sha256=sha256,
        classes=config.classes,
        background=config.background,
        num_frames=config.input.num_frames,
        sampling_rate=config.input.sampling_rate,
        stride=config.input.stride,
        input_size=config.input.input_size,
        crop_padding=config.input.crop_padding,
        trained_fps=config.input.trained_fps,
        is_multi_label=config.multi_label,
        rules=config.bouts,
        assumptions=assumptions,
        device=str(execution),
    )
