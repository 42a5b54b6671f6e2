"""The floor that a network has to beat: logistic regression on the simplest summary of a clip.

A clip is its animal's square in grey at 48 x 48 pixels; it is summed up by the mean over time, the spread over time and
the mean change from frame to frame of every pixel. The main components of these numbers over the training clips, each
brought to unit spread, are what the regression sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mousetal import video
from mousetal.geometry import square, union
from mousetal.intervals import BoolArray
from mousetal.types import Float64Array, UInt8Array
from training.rat_clips import RatClip

SIDE = 48
COMPONENTS = 60
PADDING = 0.05  # of the square, as the network's
PENALTY = 1.0  # half of it times the squared weights is added to the summed log loss
STEPS = 100
LEAST_SPREAD = 1e-9


@dataclass(frozen=True, eq=False)
class Regression:
    """``mean`` (d,) and ``directions`` (d, k) bring features to components; then weights (k,) and an intercept."""

    mean: Float64Array
    directions: Float64Array
    weights: Float64Array
    intercept: float

    def probabilities(self, features: Float64Array) -> Float64Array:
        """Of features (n, d): (n,)."""
        return _sigmoid((features - self.mean) @ self.directions @ self.weights + self.intercept)


def features(clip: RatClip) -> Float64Array:
    """Mean, spread and change of every pixel: (3 * SIDE * SIDE,), in shares of white. Raises VideoError."""
    crop = square(union([box.box_xyxy for box in clip.boxes]), PADDING)
    frames = [small_grey(frame.rgb, crop) for frame in video.decode(video.probe(clip.path))]
    stacked = np.stack(frames).astype(np.float64) / 255
    parts = [stacked.mean(axis=0), stacked.std(axis=0), np.abs(np.diff(stacked, axis=0)).mean(axis=0)]
    return np.concatenate([part.ravel() for part in parts])


def small_grey(rgb: UInt8Array, crop: Sequence[int]) -> UInt8Array:
    """The square in grey, averaged down to SIDE pixels; what lies outside the picture repeats its edge."""
    x1, y1, x2, y2 = crop
    rows = np.clip(np.arange(y1, y2), 0, rgb.shape[0] - 1)
    columns = np.clip(np.arange(x1, x2), 0, rgb.shape[1] - 1)
    grey = cv2.cvtColor(rgb[rows][:, columns], cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def fit(
    features: Float64Array, is_true: BoolArray, components: int = COMPONENTS, is_whitened: bool = False
) -> Regression:
    """The regression on features (n, d) and classes (n,).

    As stated with the data, every feature is brought to unit spread and the components keep theirs, so that the penalty
    holds back the lesser ones most. ``is_whitened`` does it the other way round: features as they are, components at
    unit spread.
    """
    mean = features.mean(axis=0)
    scale = np.ones(features.shape[1]) if is_whitened else np.maximum(features.std(axis=0), LEAST_SPREAD)
    _, spread, directions = np.linalg.svd((features - mean) / scale, full_matrices=False)
    count = min(components, int((spread > LEAST_SPREAD * spread[0]).sum()))
    chosen = directions[:count].T / scale[:, None]
    if is_whitened:
        chosen = chosen / (spread[:count] / np.sqrt(max(1, len(features) - 1)))
    weights, intercept = _logistic((features - mean) @ chosen, is_true)
    return Regression(mean, chosen, weights, intercept)


def _logistic(inputs: Float64Array, is_true: BoolArray) -> tuple[Float64Array, float]:
    """Weights and intercept at the least penalised log loss, by Newton's steps; the intercept is not penalised."""
    design = np.column_stack([inputs, np.ones(len(inputs))])
    penalty = np.full(design.shape[1], PENALTY)
    penalty[-1] = 1e-9
    solution = np.zeros(design.shape[1])
    for _ in range(STEPS):
        found = _sigmoid(design @ solution)
        slope = design.T @ (found - is_true) + penalty * solution
        curvature = (design.T * (found * (1 - found))) @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        solution = solution - step
        if np.abs(step).max() < 1e-9:
            break
    return solution[:-1], float(solution[-1])


def _sigmoid(values: Float64Array) -> Float64Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -500, 500))), np.float64)
