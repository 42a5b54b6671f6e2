"""How well a score tells two classes apart: area under the ROC curve, average precision, accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from mousetal.intervals import BoolArray
from mousetal.types import Float64Array
from training.evaluation.frames import average_precision, curve
from training.evaluation.share import Number


@dataclass(frozen=True, slots=True)
class Ranking:
    """``auc`` and ``ap`` are None where they are undefined: one class only, or nothing that is true."""

    auc: Number
    ap: Number
    accuracy: Number
    clips: int


def rank(scores: Float64Array, is_true: BoolArray, threshold: float = 0.5) -> Ranking:
    """The three numbers for scores (n,) of n clips; what scores at least ``threshold`` is called true."""
    accuracy = float(((scores >= threshold) == is_true).mean()) if len(scores) else None
    return Ranking(auc(scores, is_true), average_precision(curve(scores, is_true)), accuracy, len(scores))


def auc(scores: Float64Array, is_true: BoolArray) -> Number:
    """How often a true one scores above one that is not; equal scores count half."""
    true, false = scores[is_true], scores[~is_true]
    if not len(true) or not len(false):
        return None
    above = (true[:, None] > false).sum() + 0.5 * (true[:, None] == false).sum()
    return float(above / (len(true) * len(false)))
