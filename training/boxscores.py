"""How well found boxes agree with true ones: the plain arithmetic, without pycocotools.

`training.coco_scores` gives the numbers that the field compares; this chooses a score threshold, and scores where
nothing but the product itself is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mousetal.geometry import iou
from training.pictures import Images


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a detector says of one picture, and what is true: boxes (n, 4) as x1, y1, x2, y2 in one unit.

    ``scores`` (n,) and ``labels`` (n,) belong to the found ``boxes``; ``true_labels`` (m,) to the ``true_boxes``.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_boxes: np.ndarray
    true_labels: np.ndarray


def matched(found: Sequence[Found], min_iou: float = 0.5) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of all found boxes, whether each meets a true box of its class, and how many true boxes there are.

    Best scores choose first, each true box is met once.
    """
    scores: list[float] = []
    hits: list[bool] = []
    for one in found:
        taken: set[int] = set()
        for box in np.argsort(-one.scores, kind="stable").tolist():
            overlaps = {
                true: iou(one.boxes[box], one.true_boxes[true])
                for true in range(len(one.true_boxes))
                if true not in taken and one.true_labels[true] == one.labels[box]
            }
            best = max(overlaps, key=lambda true: overlaps[true], default=None)
            is_hit = best is not None and overlaps[best] >= min_iou
            if is_hit and best is not None:
                taken.add(best)
            scores.append(float(one.scores[box]))
            hits.append(is_hit)
    return np.array(scores), np.array(hits, bool), sum(len(one.true_boxes) for one in found)


def average_precision_of(found: Sequence[Found], min_iou: float = 0.5) -> float | None:
    """Area under the precision-recall curve (all-point) over all classes together; None without a true box."""
    scores, hits, truths = matched(found, min_iou)
    if not truths:
        return None
    correct = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = correct / np.arange(1, len(correct) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], correct / truths])
    return float((np.diff(recall) * best_from_here).sum())


def best_threshold(found: Sequence[Found], min_iou: float = 0.5) -> tuple[float, float] | None:
    """The score threshold with the best F1, and that F1; None where there is no true box or no hit.

    It lies half-way down to the next score, so that a score a little lower than any seen still counts.
    """
    scores, hits, truths = matched(found, min_iou)
    if not truths or not hits.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, correct = scores[order], np.cumsum(hits[order])
    f1 = 2 * correct / (np.arange(1, len(scores) + 1) + truths)
    f1[:-1][scores[:-1] == scores[1:]] = -1.0  # a threshold cannot part equal scores
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return float((scores[best] + below) / 2), float(f1[best])


@torch.no_grad()  # not inference mode: the library keeps anchors between calls, and training uses them afterwards
def average_precision(network: nn.Module, data: Images, min_iou: float = 0.5) -> float:
    """AP (all-point) on pictures with one true box each; the network's every query is a candidate."""
    was_training = network.training
    network.eval()
    found: list[Found] = []
    for start in range(0, len(data.images), 16):
        images = torch.from_numpy(data.images[start : start + 16]).permute(0, 3, 1, 2).float() / 255
        output = network(pixel_values=images)
        for logits, boxes, truth in zip(output.logits, output.pred_boxes, data.boxes[start : start + 16], strict=True):
            labels = np.zeros(len(logits), np.int64)
            found.append(
                Found(corners(boxes.numpy()), logits[:, 0].numpy(), labels, corners(truth[None]), np.zeros(1, np.int64))
            )
    network.train(was_training)
    return average_precision_of(found, min_iou) or 0.0


def corners(boxes: np.ndarray) -> np.ndarray:
    """Centre x, centre y, width, height (n, 4) as x1, y1, x2, y2."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
