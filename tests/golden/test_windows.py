"""Windows, crops, pixels, merging and records as the reference system's own code gave them: equal, not close."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mousetal.geometry import crop_clip, reference_crop
from mousetal.intervals import temporal_iou
from mousetal.reference import Segment, merge_predictions, postprocess, predictions
from mousetal.types import FrameRange, Window, WindowScore
from mousetal.windows import WindowPlan

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def test_windows_are_those_that_the_reference_runs(golden: Path) -> None:
    cases = [case for case in load(golden, "windows.json")["cases"] if case["detached_error"] is None]
    assert len(cases) > 100
    for case in cases:
        plan = WindowPlan(case["num_frames"], Fraction(case["rate"]), case["stride"], cover_tail=False)
        windows = plan.windows(case["total"])
        assert [window.frame_indices[0] for window in windows] == case["detached_starts"], case
        ranges = [[window.frames.start_frame, window.frames.end_frame] for window in windows]
        assert ranges == case["detached_frame_ranges"], case
        if windows:
            assert list(windows[-1].frame_indices) == case["last_window_indices"], case


def test_crops_are_equal_to_the_pixel(golden: Path) -> None:
    cases = load(golden, "geometry.json")
    assert len(cases) == 220
    for case in cases:
        boxes = np.array(case["boxes"], np.int64 if case["integer"] else np.float64)
        assert list(reference_crop(boxes, *case["size_wh"], case["padding"])) == case["crop"], case


def test_cropped_and_resized_pixels_are_equal(golden: Path) -> None:
    cases = [case for case in load(golden, "transforms.json") if "case" in case]
    assert len(cases) == 5
    with np.load(golden / "transforms.npz") as arrays:
        for case in cases:
            clip = crop_clip(list(arrays[f"clip_{case['case']}"]), tuple(case["box_xyxy"]), case["size"])
            ours = ((clip.astype(np.float32) / 255 - MEAN) / STD).transpose(3, 0, 1, 2)
            np.testing.assert_allclose(ours, arrays[f"out_{case['case']}"], atol=1e-6)


def test_merged_and_thresholded_segments_are_equal(golden: Path) -> None:
    cases = load(golden, "merge_postprocess.json")
    assert len(cases) == 56
    for case in cases:
        segments = [segment_of(record) for record in case["input"]]
        assert [facts(one) for one in merge_predictions(segments)] == [expected(one) for one in case["merged"]]
        for threshold in (None, 0.5, 0.6, 0.8):
            ours = [facts(one) for one in postprocess(segments, threshold)]
            assert ours == [expected(one) for one in case[f"post_{threshold}"]], threshold


def test_records_of_windows_are_equal(golden: Path) -> None:
    made = load(golden, "predict_records.json")
    rate = made["sampling_rate"]
    logits = np.array(made["logits"], np.float32)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = raised / raised.sum(axis=1, keepdims=True)
    scores = []
    for i, (indices, box) in enumerate(zip(made["frame_indices"], made["bboxes"], strict=True)):
        window = Window(i, tuple(indices), FrameRange(indices[0], indices[-1] + rate))
        scores.append(WindowScore(window, tuple(box), probabilities[i]))
    for ours, record in zip(predictions(scores), made["records"], strict=True):
        assert [ours.start_frame, ours.end_frame] == record["frame_range"]
        assert ours.label == record["label"]
        assert ours.confidence == pytest.approx(record["confidence"], abs=1e-6)
        assert list(ours.box_xyxy or ()) == list(record["maximal_bbox"])


def test_temporal_ious_are_equal(golden: Path) -> None:
    for start, end, other_start, other_end, expected in load(golden, "temporal_iou.json"):
        # The reference counts the last frame in.
        ours = temporal_iou(FrameRange(start, end + 1), FrameRange(other_start, other_end + 1))
        assert ours == pytest.approx(expected, abs=1e-12)


def load(golden: Path, name: str):  # type: ignore[no-untyped-def]
    return json.loads((golden / name).read_text(encoding="utf-8"))


def segment_of(record: dict[str, object]) -> Segment:
    start, end = record["frame_range"]  # type: ignore[misc]
    box = record.get("maximal_bbox")
    return Segment(start, end, record["label"], record["confidence"], tuple(box) if box else None)  # type: ignore[arg-type]  # plain JSON


def facts(segment: Segment) -> tuple[object, ...]:
    box = list(segment.box_xyxy) if segment.box_xyxy else None
    return segment.start_frame, segment.end_frame, segment.label, segment.confidence, box


def expected(record: dict[str, object]) -> tuple[object, ...]:
    return *record["frame_range"], record["label"], record["confidence"], record.get("bbox")  # type: ignore[misc]
