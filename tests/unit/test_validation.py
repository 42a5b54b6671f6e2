"""Validation counts frames and events, each behaviour alike, over what a person looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal.mvd import VisionTransformer
from tests.fixtures.finetuning import TOY
from tests.fixtures.trainingclips import CLASSES, write_clips
from training.evaluation.tally import matched_within
from training.finetune_knobs import network_config, spec_of
from training.validation import Counts, Validation, Windows, count, joined, validate

SPEC = spec_of(TOY, CLASSES, 30.0)


def posteriors_of(labels: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[labels]


def test_perfect_posteriors_score_one_and_idle_does_not_count() -> None:
    labels = [0] * 10 + [1] * 10 + [0] * 5 + [2] * 2 + [0] * 5
    counts = count(np.array(labels), posteriors_of(labels), SPEC, 3)
    found = Validation(tuple(counts), 0, 0.0)
    assert (found.frame_f1, found.event_f1, found.merit) == (1.0, 1.0, 1.0)
    always_idle = Validation(tuple(count(np.array(labels), posteriors_of([0] * 32), SPEC, 3)), 0, 0.0)
    assert always_idle.merit == 0.0


def test_a_missed_twitch_weighs_as_much_as_missed_grooming() -> None:
    truth = np.array([1] * 100 + [0] * 20 + [2] * 2 + [0] * 20)
    no_twitch = posteriors_of([1] * 100 + [0] * 42)
    no_grooming = posteriors_of([0] * 120 + [2] * 2 + [0] * 20)
    merits = [Validation(tuple(count(truth, p, SPEC, 3)), 0, 0.0).merit for p in (no_twitch, no_grooming)]
    assert merits == [0.5, 0.5]


def test_an_event_counts_when_it_starts_near_enough() -> None:
    truth = np.zeros(60, np.int8)
    truth[30:34] = 2
    for shift, expected in ((0, 1), (7, 1), (8, 0), (-7, 1)):
        found = np.zeros(60, int)
        found[30 + shift : 34 + shift] = 2
        assert count(truth, posteriors_of(found.tolist()), SPEC, 7.5)[2].matched_events == expected


def test_frames_that_nobody_looked_at_count_neither_way() -> None:
    truth = np.array([-1] * 10 + [0] * 10)
    counts = count(truth, posteriors_of([1] * 10 + [0] * 10), SPEC, 3)
    assert counts[1] == Counts()
    assert counts[0].true_frames == 10


def test_frames_without_a_posterior_are_background() -> None:
    posteriors = np.full((6, 3), np.nan, np.float32)
    assert count(np.ones(6, np.int8), posteriors, SPEC, 3)[1] == Counts(true_frames=6, true_events=1)


def test_a_behaviour_that_neither_is_there_nor_was_found_is_left_out_of_the_mean() -> None:
    truth = [0] * 5 + [1] * 5
    found = Validation(tuple(count(np.array(truth), posteriors_of(truth), SPEC, 3)), 0, 0.0)
    assert found.counts[2].frame_f1 is None
    assert found.merit == 1.0
    assert Validation((Counts(), Counts(), Counts()), 0, 0.0).merit == 0.0


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=7, unique=True), st.lists(st.integers(0, 60), max_size=7, unique=True),
       st.integers(0, 9))  # fmt: skip
def test_matching_finds_as_many_pairs_as_any_assignment(true: list[int], found: list[int], tolerance: int) -> None:
    from scipy.optimize import linear_sum_assignment

    true, found = sorted(true), sorted(found)
    near = np.array([[abs(a - b) <= tolerance for b in found] for a in true]).reshape(len(true), len(found))
    rows, columns = linear_sum_assignment(near, maximize=True)
    assert matched_within(true, found, tolerance) == int(near[rows, columns].sum())


def test_validations_of_parts_add_up_to_that_of_the_whole(tmp_path: Path) -> None:
    table = write_clips(tmp_path)
    torch.manual_seed(0)
    network = VisionTransformer(network_config(replace(TOY, drop_path=0.0), 3))
    dataset = Windows(table.clips, SPEC, (False, False, True))
    whole = validate(network, dataset, range(len(table.clips)), 5, 0, 0.25, None)
    parts = [validate(network, dataset, range(i, len(table.clips), 2), 3, 0, 0.25, None) for i in range(2)]
    assert joined(parts).counts == whole.counts
    assert joined(parts).loss == pytest.approx(whole.loss, rel=0.05)
    assert sum(one.true_frames for one in whole.counts) == 12 * 24


def test_a_damaged_clip_is_skipped_and_named(tmp_path: Path) -> None:
    table = write_clips(tmp_path)
    table.clips[0].path.unlink()
    network = VisionTransformer(network_config(TOY, 3))
    found = validate(network, Windows(table.clips[:2], SPEC, (False, False, True)), range(2), 4, 0, 0.25, None)
    assert [path for path, _ in found.skipped] == [str(table.clips[0].path)]
    assert sum(one.true_frames for one in found.counts) == 24


def test_windows_are_cut_as_inference_cuts_them(tmp_path: Path) -> None:
    from mousetal.geometry import crop_clip, square, union
    from mousetal.windows import WindowPlan
    from training.clips import read_frames

    clip = write_clips(tmp_path).clips[0]
    found = Windows([clip], SPEC, (False, False, True))[0]
    plan = WindowPlan.for_video(SPEC, clip.fps, reference_compat=False)
    assert found.windows == tuple(plan.windows(len(clip)))
    for window, pixels in zip(found.windows, found.pixels, strict=True):
        indices = list(window.frame_indices)
        crop = square(union(clip.boxes_xyxy[indices]), SPEC.crop_padding)
        np.testing.assert_array_equal(pixels, crop_clip(list(read_frames(clip, indices)), crop, 32))
