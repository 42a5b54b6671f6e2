"""The reference system's numbers, equal to what it gave itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.evaluation.reference import (
    Item,
    frame_level,
    matches,
    micro_average,
    temporal,
    temporal_iou,
)


def cases(golden: Path, name: str) -> list[Any]:
    found: list[Any] = json.loads((golden / name).read_text())
    assert found
    return found


def items(rows: list[list[Any]]) -> list[Item]:
    return [Item(*row) for row in rows]


def assert_equal(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_equal(found[key], expected[key], f"{where}/{key}")
    else:
        assert found == pytest.approx(expected, abs=1e-9), where


def test_frames_of_one_video(golden: Path) -> None:
    for number, case in enumerate(cases(golden, "metrics_frame_level.json")):
        found = frame_level(items(case["gt"]), items(case["pred"]), case["num_frames"], case["classes"])
        assert_equal(found, case["result"], str(number))


def test_frames_of_all_videos(golden: Path) -> None:
    for number, case in enumerate(cases(golden, "metrics_micro_average.json")):
        truth, found = ({video: items(rows) for video, rows in case[side].items()} for side in ("gt", "pred"))
        scores = micro_average(truth, found, case["video_lengths"], case["classes"])
        assert_equal(scores, case["result"], str(number))


def test_overlaps_in_time(golden: Path) -> None:
    for a, b, c, d, expected in cases(golden, "temporal_iou.json"):
        assert temporal_iou(Item(a, b, ""), Item(c, d, "")) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("key", "class_wise"), [("result", True), ("result_class_agnostic", False)])
def test_bouts(golden: Path, key: str, class_wise: bool) -> None:
    for number, case in enumerate(cases(golden, "metrics_temporal.json")):
        scores = temporal(items(case["gt"]), items(case["pred"]), case["iou_thresholds"], class_wise)
        assert_equal(scores, case[key], str(number))


def test_pairs_of_bouts(golden: Path) -> None:
    for case in cases(golden, "metrics_temporal.json"):
        expected = case["match_at_first_threshold"]
        found = matches(items(case["gt"]), items(case["pred"]), case["iou_thresholds"][0])
        assert [(i, j, pytest.approx(overlap, abs=1e-9)) for i, j, overlap in expected["matches"]] == found
        assert sorted(set(range(len(case["pred"]))) - {i for i, _, _ in found}) == expected["unmatched_pred"]
        assert sorted(set(range(len(case["gt"]))) - {j for _, j, _ in found}) == expected["unmatched_gt"]
