"""A loaded detector: batches of frames in, boxes in the pixels of the source frames out.

The network suppresses duplicates by itself, so there is no non-maximum suppression: the best scores over all queries
and classes are the detections.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from transformers import RTDetrV2ForObjectDetection

from mousetal.detector.backends import Forward, Raw, TorchForward
from mousetal.errors import InvalidRequest, ModelError
from mousetal.execution import Execution
from mousetal.modelconfig import RtdetrConfig
from mousetal.types import Detections, DetectorBatch, DetectorSpec, UInt8Array

logger = logging.getLogger(__name__)


class Detector:
    """An RT-DETRv2 network on one device, with its classes and its input size. Not safe to share between threads."""

    def __init__(
        self,
        network: RTDetrV2ForObjectDetection,
        config: RtdetrConfig,
        spec: DetectorSpec,
        execution: Execution,
        forward: Forward | None = None,
    ) -> None:
        """``forward`` computes the network's outputs (`backends`); by default torch does."""
        self.config = config
        self.spec = spec
        self.network = network
        self._precision = execution.precision
        self._forward = forward or TorchForward(network, config, execution)

    def warm_up(self) -> None:
        """Run once on an empty image, so that the first request does not pay for allocations and kernel choices."""
        self.forward(np.zeros((1, self.spec.input_size, self.spec.input_size, 3), np.uint8))
        logger.info("detector is warm model=%s device=%s", self.spec.name, self.spec.device)

    def detect(
        self, batches: Iterable[DetectorBatch], score_threshold: float | None = None
    ) -> Iterator[list[Detections]]:
        """Yield `predict` of each batch, in order, as they are asked for: the pipeline's ``detect``."""
        for batch in batches:
            yield self.predict(batch, score_threshold)

    @torch.inference_mode()
    def predict(self, batch: DetectorBatch, score_threshold: float | None = None) -> list[Detections]:
        """Detections of each frame of the batch, best first, in pixels of the source frames.

        Boxes may stick out of the frame a little, as the network drew them. Kept are scores of at least
        `score_threshold`, by default the model's own. Raises `InvalidRequest` when the images are not squares of the
        network's input size or the batch's parts differ in length, `ModelError` when the network's numbers overflow.
        """
        self._check(batch)
        if len(batch.images) == 0:
            return []
        threshold = self.spec.score_threshold if score_threshold is None else score_threshold
        scores, labels, boxes = best(self.forward(batch.images), batch.source_sizes)
        if not bool(scores.isfinite().all() and boxes.isfinite().all()):
            raise ModelError(
                f"{self.spec.name}: the network gave no finite numbers in {self._precision}. "
                "Its weights are broken or too large for the precision: try PRECISION=fp32."
            )
        kept = (scores >= threshold).sum(dim=1).tolist()  # scores fall along a row, so the kept ones come first
        box_rows, score_rows, label_rows = (tensor.cpu().numpy() for tensor in (boxes, scores, labels))
        return [
            Detections(frame, box_rows[i, :n].copy(), score_rows[i, :n].copy(), label_rows[i, :n].copy())
            for i, (frame, n) in enumerate(zip(batch.frame_indices, kept, strict=True))
        ]

    def forward(self, images: UInt8Array) -> Raw:
        """The network's output, at the decoder layer used for detection, for uint8 RGB `images` (n, S, S, 3)."""
        return self._forward(images)

    def _check(self, batch: DetectorBatch) -> None:
        size = self.spec.input_size
        if batch.images.dtype != np.uint8 or batch.images.shape[1:] != (size, size, 3):
            raise InvalidRequest(
                f"images of uint8 (n, {size}, {size}, 3) expected, got {batch.images.dtype} {batch.images.shape}"
            )
        if not len(batch.images) == len(batch.frame_indices) == len(batch.source_sizes):
            raise InvalidRequest(
                f"one frame index and one source size per image expected, got {len(batch.images)} images, "
                f"{len(batch.frame_indices)} frame indices and {len(batch.source_sizes)} source sizes"
            )


def best(raw: Raw, source_sizes: Iterable[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best scores of each image over queries and classes, as many as there are queries, best first.

    `source_sizes` are the (width, height) to scale to. Returns scores (n, q), labels int64 (n, q) and boxes (n, q, 4)
    as x1, y1, x2, y2 in source pixels. One query may appear with several labels.
    """
    num_queries, num_classes = raw.logits.shape[1:]
    scores, order = raw.logits.sigmoid().flatten(1).topk(num_queries, dim=1)
    query = (order // num_classes).unsqueeze(-1).expand(-1, -1, 4)
    centre, extent = raw.boxes.gather(1, query).chunk(2, dim=-1)
    corners = torch.cat([centre - extent / 2, centre + extent / 2], dim=-1)
    scale = torch.tensor([(w, h, w, h) for w, h in source_sizes], dtype=corners.dtype, device=corners.device)
    return scores, order % num_classes, corners * scale.unsqueeze(1)
