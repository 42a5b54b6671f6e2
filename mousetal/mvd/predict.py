"""Clips in, class probabilities out.

classifier = mousetal.mvd.load("models/demo-mvd")
probabilities = classifier.predict(clips)       # uint8 (n, T, S, S, 3) -> float32 (n, classes)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from mousetal.errors import InvalidRequest, ModelError, SettingsError
from mousetal.execution import Execution
from mousetal.modelconfig import MvdConfig
from mousetal.mvd.vit import VisionTransformer
from mousetal.types import ClassifierSpec, ClipBatch, Float32Array, UInt8Array

log = logging.getLogger(__name__)


class Classifier:
    """A loaded clip classifier. Not safe for use from several threads at once."""

    def __init__(
        self, network: VisionTransformer, config: MvdConfig, spec: ClassifierSpec, execution: Execution
    ) -> None:
        self.config = config
        self.spec = spec
        self.network = network.to(execution.device).eval()
        self._execution = execution
        self._run: nn.Module = network
        if execution.compiled:
            self._run = torch.compile(network)  # type: ignore[assignment]  # it returns a module for a module
        shape = (1, 1, 1, 1, 3)
        self._mean = torch.tensor(config.input.mean, device=execution.device).reshape(shape)
        self._std = torch.tensor(config.input.std, device=execution.device).reshape(shape)

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
        # A copy: arrays from the wire are read-only, which torch.from_numpy does not take.
        pixels = self.normalise(torch.tensor(clips, device=self._execution.device))
        with self._execution.autocast():
            logits: Tensor = self._run(pixels)
        logits = logits.float() / self.config.temperature
        scores = logits.sigmoid() if self.config.multi_label else logits.softmax(dim=1)
        if not bool(scores.isfinite().all()):
            raise ModelError(
                f"{self.spec.name}: the network gave no finite numbers in {self._execution.precision}. "
                "Its weights are broken or too large for the precision: try PRECISION=fp32."
            )
        return np.asarray(scores.cpu().numpy(), np.float32)

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        """``predict`` for one batch after the other, lazily: the pipeline's ``classify``."""
        for batch in batches:
            yield self.predict(batch.clips)

    def normalise(self, clips: Tensor) -> Tensor:
        """What the network takes, float32 (n, 3, T, S, S), of uint8 clips (n, T, S, S, 3)."""
        pixels = clips.float().div_(255).sub_(self._mean).div_(self._std)
        return pixels.permute(0, 4, 1, 2, 3)

    def warm_up(self) -> None:
        """Classifies one grey clip, so that one-off work (memory, kernels, compilation) is done before the first.

        Raises SettingsError when the network cannot be compiled here, for lack of a C++ compiler for instance.
        """
        grey = np.full((1, *self._clip_shape), 127, np.uint8)
        try:
            self.predict(grey)
        except RuntimeError as error:
            if not self._execution.compiled:
                raise
            reason = str(error).splitlines()[0]
            raise SettingsError(f"COMPILE: the network cannot be compiled here ({reason}). Set COMPILE=0.") from error
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
