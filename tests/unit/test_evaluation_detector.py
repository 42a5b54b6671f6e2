"""The animal's box: against COCO's own evaluator, and how quietly it moves."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal.geometry import iou
from mousetal.types import BoxInt, FrameBox, FrameRange, Window, WindowScore
from tests.fixtures.results import video_result
from training.evaluation import detector

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")


def coco_average_precision(true: list[tuple[float, ...]], found: list[tuple[float, tuple[float, ...]]]) -> list[float]:
    """AP50:95 and AP50 by pycocotools: one true and one found box an image."""

    def xywh(box: tuple[float, ...]) -> list[float]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i + 1} for i in range(len(true))],
            "categories": [{"id": 1}],
            "annotations": [
                {"id": i + 1, "image_id": i + 1, "category_id": 1, "bbox": xywh(b), "area": 1000.0, "iscrowd": 0}
                for i, b in enumerate(true)
            ],
        }
        truth.createIndex()
        results = truth.loadRes([
            {"image_id": i + 1, "category_id": 1, "bbox": xywh(b), "score": score} for i, (score, b) in enumerate(found)
        ])  # fmt: skip
        evaluator = cocoeval.COCOeval(truth, results, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[:2].tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_average_precision_is_cocos(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    true = [(10.0, 10.0, 50.0, 50.0)] * n
    found = [(float(rng.random()), (10 + d, 10.0, 50 + d, 50.0)) for d in rng.uniform(0, 25, n)]
    judged = [(score, iou(box, true[0])) for score, box in found]
    ours = [detector.average_precision(judged, n, least) or 0.0 for least in detector.OVERLAPS]
    assert [np.mean(ours), ours[0]] == pytest.approx(coco_average_precision(true, found), abs=1e-9)


def test_only_labelled_frames_are_judged_and_missing_boxes_are_misses() -> None:
    result = video_result(seconds=4, lost_s=(1, 2))
    drawn = [replace(box, score=1.0) for box in result.boxes[:10]]
    lost = FrameBox(45, (0.0, 0.0, 40.0, 40.0), 1.0, "detected")
    quality = detector.quality([result], [[*drawn, lost]])
    assert (quality.labelled_frames, quality.sampled_frames, quality.without_box) == (11, 120, 30)
    assert quality.recall50 == pytest.approx(10 / 11)
    assert quality.mean_iou == pytest.approx(1)
    assert quality.share_without_box == 0.25
    without = detector.quality([result], [[]])
    assert (without.ap50, without.recall50, without.mean_iou) == (None, None, None)
    assert without.jitter_px is not None


def test_the_truth_is_named_only_where_there_is_one() -> None:
    result = video_result(seconds=4)
    assert detector.quality([result], [result.boxes[:5]], "drawn").truth == "drawn"
    assert detector.quality([result], [[]], "drawn").truth == ""


def windows(crops: list[BoxInt | None], stride: int = 4) -> list[WindowScore]:
    nothing = np.full(3, np.nan, np.float32)
    ranges = [FrameRange(stride * i, stride * i + 16) for i in range(len(crops))]
    return [
        WindowScore(Window(i, tuple(range(one.start_frame, one.end_frame)), one), crop, nothing)
        for i, (one, crop) in enumerate(zip(ranges, crops, strict=True))
    ]


def test_a_crop_trembles_by_itself_and_not_as_the_box_does() -> None:
    still: BoxInt = (10, 10, 50, 50)
    moved, grown = (18, 10, 58, 50), (6, 6, 54, 54)
    assert detector.crop_jitter(windows([still] * 4)) == (0, 0)
    assert detector.crop_jitter(windows([still, moved, still, moved])) == (pytest.approx(8 / 4), 0)
    assert detector.crop_jitter(windows([still, grown, still])) == (0, pytest.approx(8 / 4))
    assert detector.crop_jitter(windows([still, moved, None, still])) == (None, None)
    result = video_result(seconds=4, seed=1)
    quality = detector.quality([result], [[]])
    shaken = replace(result, boxes=tuple(
        replace(box, box_xyxy=(box.box_xyxy[0] + 4 * (i % 2), *box.box_xyxy[1:])) for i, box in enumerate(result.boxes)
    ))  # fmt: skip
    again = detector.quality([shaken], [[]])
    assert (again.jitter_px or 0) > (quality.jitter_px or 0)
    assert again.crop_jitter_px == quality.crop_jitter_px


def test_a_last_window_off_the_grid_does_not_decide_what_is_usual() -> None:
    """Every 2nd frame, and at the end the frames between: those are few, and closer than all others."""
    frames = [*range(0, 60, 2), *range(60, 66)]
    boxes = [FrameBox(i, (3.0 * (k % 2), 0.0, 3.0 * (k % 2) + 20, 20.0), 1, "detected") for k, i in enumerate(frames)]
    assert detector.jitter(boxes)[0] == pytest.approx(3 / 2)


def test_frames_at_uneven_distances_lie_on_the_line_between_their_neighbours() -> None:
    """A frame rate of 75 where 30 was trained: every 2nd or 3rd frame."""
    frames = [0, 3, 5, 8, 10, 13]
    boxes = [FrameBox(i, (4.0 * i, 0.0, 4.0 * i + 20, 20.0), 1, "detected") for i in frames]
    assert detector.jitter(boxes) == (pytest.approx(0), pytest.approx(0))


def test_smooth_movement_is_no_jitter_and_shaking_is() -> None:
    def boxes(offsets: list[float], step: int = 1) -> list[FrameBox]:
        return [
            FrameBox(step * i, (5.0 * i + d, 0.0, 5.0 * i + d + 20, 20.0), 1, "detected") for i, d in enumerate(offsets)
        ]

    assert detector.jitter(boxes([0.0] * 6)) == (pytest.approx(0), pytest.approx(0))
    assert detector.jitter(boxes([0.0, 2.0, 0.0, 2.0, 0.0]))[0] == pytest.approx(2)
    assert detector.jitter(boxes([0.0, 2.0, 0.0, 2.0, 0.0], step=2))[0] == pytest.approx(1)
    assert detector.jitter(boxes([0.0, 1.0])) == (None, None)
