"""What a prediction costs: soft targets, label smoothing, focal loss, and weights for rare classes.

Everything is one formula, minus the sum over classes of ``weight * target * (1 - p) ** gamma * log p``: with smoothed
one-hot targets it is label smoothing (Szegedy et al. 2016), with ``gamma`` above 0 the focal loss (Lin et al. 2017,
"Focal Loss for Dense Object Detection").
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mousetal.types import Float64Array

CLASS_WEIGHTS = ("none", "sqrt", "effective")
BETA = 0.999  # of the effective number: how fast another sample of a class stops being news


def soft_targets(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Smoothed one-hot targets, float32 (B, classes), of labels (B,): ``smoothing / classes`` for each, the rest on
    the label's own."""
    off = smoothing / num_classes
    return F.one_hot(labels, num_classes).float() * (1 - smoothing) + off


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, focal_gamma: float = 0.0
) -> Tensor:
    """Mean loss of logits against soft targets, both (B, classes). Computed in float32."""
    log_p = logits.float().log_softmax(dim=1)
    terms = targets * log_p
    if focal_gamma:
        terms = terms * (1 - log_p.exp()) ** focal_gamma
    if class_weights is not None:
        terms = terms * class_weights
    return -terms.sum(dim=1).mean()


def class_weights(counts: Float64Array, kind: str) -> Float64Array:
    """A weight per class, (classes,), whose mean over samples is 1; 0 for a class without samples.

    ``counts`` says how often each class comes up. "sqrt" weighs by one over the root of the count; "effective" by one
    over the effective number of samples, ``(1 - beta ** n) / (1 - beta)`` (Cui et al. 2019, "Class-Balanced Loss Based
    on Effective Number of Samples").
    """
    if kind not in CLASS_WEIGHTS:
        raise ValueError(f"class weights are one of {', '.join(CLASS_WEIGHTS)}, got {kind!r}")
    present = counts > 0
    raw = np.zeros_like(counts, dtype=np.float64)
    if kind == "none":
        raw[present] = 1.0
    elif kind == "sqrt":
        raw[present] = counts[present] ** -0.5
    else:
        raw[present] = (1 - BETA) / (1 - BETA ** counts[present])
    mean = (raw * counts).sum() / max(counts.sum(), 1e-12)
    return raw / mean if mean > 0 else raw
