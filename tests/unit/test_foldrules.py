"""Bout rules of a fold's model: chosen on the other folds, never on its own playlists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mousetal.intervals import find_bouts
from mousetal.types import FrameRange, Label
from tests.fixtures.results import CLASSIFIER, video_result
from training.evaluation.comparison import Comparison, of_result
from training.foldrules import with_chosen_rules
from training.foldtable import bouts_of

GROOMING = CLASSIFIER.classes[1]


def scene(seed: int, is_told: bool = True) -> Comparison:
    """A minute in which grooming of two seconds every four is given 0.35 and all else 0.1 or so."""
    result = video_result(f"{seed}.mp4", seconds=60, is_quiet=True)
    truth = [Label(GROOMING, FrameRange(start, start + 60)) for start in range(30, result.info.num_frames - 60, 120)]
    grooming = np.random.default_rng(seed).uniform(0.08, 0.12, result.info.num_frames)
    for label in truth:
        grooming[label.frames.start_frame : label.frames.end_frame] = 0.35
    posteriors = np.stack([1 - grooming, grooming, np.zeros_like(grooming)], axis=1).astype(np.float32)
    bouts = find_bouts(posteriors, result.classifier, result.info.pts_seconds)
    result = replace(result, posteriors=posteriors, bouts=bouts)
    return of_result(result, truth if is_told else [], (GROOMING,), f"m{seed}")


def test_a_fold_is_judged_by_a_rule_of_the_others_whatever_its_own_truth_is() -> None:
    told = {fold: [scene(fold)] for fold in range(2)}
    assert bouts_of([one for many in told.values() for one in many], GROOMING).found == 0
    judged = with_chosen_rules(told)
    assert bouts_of(judged, GROOMING).hits == sum(len(one.truth[GROOMING]) for one in judged)
    untold = with_chosen_rules(told | {0: [scene(0, is_told=False)]})
    assert untold[0].found == judged[0].found


def test_a_single_fold_keeps_the_rule_that_it_has() -> None:
    alone = [scene(0)]
    assert with_chosen_rules({0: alone}) == alone
