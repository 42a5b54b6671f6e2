"""COCO's average precision, by COCO's own evaluator (pycocotools), and a detector's answers to a whole source."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import torch
from transformers import RTDetrV2ForObjectDetection

from mousetal.detector.backends import Raw
from mousetal.detector.predict import best
from mousetal.execution import Execution
from training.boxaugment import to_input
from training.boxscores import Found
from training.pictures import Source

MOST_FOUND = 100  # boxes of a picture that COCO's evaluator looks at


@torch.no_grad()  # not inference mode: the library keeps anchors between calls, and training uses them afterwards
def find_all(network: RTDetrV2ForObjectDetection, source: Source, input_size: int, eval_layer: int, batch: int,
             execution: Execution) -> list[Found]:  # fmt: skip
    """What the network finds on every picture of the source, its best scores first, beside the truth.

    The pictures are resized as at inference; boxes are in the source's pixels.
    """
    found = []
    for start in range(0, len(source), batch):
        pictures = [source.picture(number) for number in range(start, min(start + batch, len(source)))]
        pixels = torch.stack([to_input(picture, input_size)[0] for picture in pictures]).to(execution.device)
        with execution.autocast():
            output = network.model(pixel_values=pixels)
        logits = output.intermediate_logits[:, eval_layer].float()
        raw = Raw(logits, output.intermediate_reference_points[:, eval_layer].float())
        sizes = [(picture.rgb.shape[1], picture.rgb.shape[0]) for picture in pictures]
        scores, labels, boxes = (tensor[:, :MOST_FOUND].cpu().numpy() for tensor in best(raw, sizes))
        found += [
            Found(boxes[i], scores[i], labels[i], picture.boxes_xyxy, picture.labels)
            for i, picture in enumerate(pictures)
        ]
    return found


def coco_scores(found: Sequence[Found], classes: Sequence[str]) -> dict[str, float | None]:
    """AP (IoU 0.5:0.95), AP50, AP75 and recall (AR at 100 boxes a picture), means over classes; None if undefined."""
    truths, results = _truths(found, classes), _results(found)
    names = {"AP": 0, "AP50": 1, "AP75": 2, "recall": 8}
    if not truths["annotations"]:
        return dict.fromkeys(names)
    if not len(results):
        return dict.fromkeys(names, 0.0)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress and a table
        truth = COCO()
        truth.dataset = truths
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(evaluation.stats[place]) for name, place in names.items()}


def _truths(found: Sequence[Found], classes: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    annotations: list[dict[str, object]] = []
    for image, one in enumerate(found):
        for (x1, y1, x2, y2), label in zip(one.true_boxes.tolist(), one.true_labels.tolist(), strict=True):
            width, height = x2 - x1, y2 - y1
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": label, "iscrowd": 0,
                 "bbox": [x1, y1, width, height], "area": width * height}
            )  # fmt: skip
    return {
        "info": [],
        "images": [{"id": image} for image in range(len(found))],
        "annotations": annotations,
        "categories": [{"id": label, "name": name} for label, name in enumerate(classes)],
    }


def _results(found: Sequence[Found]) -> np.ndarray:
    """As COCO's evaluator takes them: image, x, y, width, height, score, category."""
    rows = [
        np.column_stack(
            [
                np.full(len(one.scores), image),
                one.boxes[:, :2],
                one.boxes[:, 2:] - one.boxes[:, :2],
                one.scores,
                one.labels,
            ]
        )
        for image, one in enumerate(found)
    ]
    return np.concatenate(rows).astype(np.float64) if rows else np.zeros((0, 7))
