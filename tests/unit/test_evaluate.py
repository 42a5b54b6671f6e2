"""Scores against truth: hand-made intervals with known answers."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.errors import RecordError
from mousetal.types import Bout
from training.demo_eval import are_targets_met
from training.evaluation.tally import Tally, add, matched_within, summary, table, tally, tally_results
from training.synthetic import BEHAVIORS, Truth

GROOMING, TWITCH = BEHAVIORS
FPS = Fraction(20)


def bout(behavior: str, start: int, end: int) -> Bout:
    return Bout(behavior, start, end, 0.9, 0.8)


def counts(truth: list[Truth], found: list[Bout], frames: int = 100, unscored: slice | None = None) -> dict[str, Tally]:
    is_scored = np.ones(frames, np.bool_)
    if unscored is not None:
        is_scored[unscored] = False
    return tally(truth, found, is_scored, FPS, tolerance_s=0.25)


def test_frames_are_counted_half_open() -> None:
    t = counts([Truth(GROOMING, 10, 30)], [bout(GROOMING, 20, 50)])[GROOMING]
    assert (t.true_frames, t.found_frames, t.shared_frames) == (20, 30, 10)
    assert t.precision == pytest.approx(1 / 3)
    assert t.recall == pytest.approx(1 / 2)
    assert t.f1 == pytest.approx(0.4)


def test_bouts_that_touch_share_no_frame() -> None:
    assert counts([Truth(GROOMING, 10, 20)], [bout(GROOMING, 20, 30)])[GROOMING].shared_frames == 0


def test_a_bout_is_found_within_a_quarter_second_and_no_further() -> None:
    for shift, found in ((5, 1), (-5, 1), (6, 0)):  # 5 frames at 20 frames per second
        t = counts([Truth(TWITCH, 40, 44)], [bout(TWITCH, 40 + shift, 46 + shift)])[TWITCH]
        assert (t.matched, t.false_bouts) == (found, 1 - found)


def test_one_found_bout_is_enough_for_one_true_bout_only() -> None:
    t = counts([Truth(TWITCH, 40, 42), Truth(TWITCH, 43, 45)], [bout(TWITCH, 41, 44)])[TWITCH]
    assert (t.true_bouts, t.matched, t.false_bouts) == (2, 1, 0)


def test_classes_are_not_mixed() -> None:
    total = counts([Truth(TWITCH, 40, 44)], [bout(GROOMING, 40, 44)])
    assert total[TWITCH].matched == 0
    assert total[GROOMING].false_bouts == 1


def test_frames_that_were_not_scored_do_not_count() -> None:
    t = counts([Truth(GROOMING, 10, 30)], [bout(GROOMING, 10, 20)], unscored=slice(20, 30))[GROOMING]
    assert t.f1 == 1


def test_what_is_undefined_is_shown_as_na() -> None:
    total = counts([], [])
    assert total[GROOMING].f1 is None
    assert "NA" in table(total, 0.25)
    assert "NA" in summary(total)
    assert not are_targets_met(total)


def test_counts_add_up_over_videos() -> None:
    one = counts([Truth(GROOMING, 10, 30)], [bout(GROOMING, 20, 50)])
    assert add(one, one)[GROOMING].found_frames == 60
    assert add(one, one)[GROOMING].f1 == one[GROOMING].f1


starts = st.lists(st.integers(0, 40), max_size=5).map(sorted)


@given(starts, starts, st.integers(0, 8))
def test_no_other_pairing_matches_more(true: list[int], found: list[int], tolerance: int) -> None:
    few, many = sorted((true, found), key=len)
    best = max(
        sum(abs(a - b) <= tolerance for a, b in zip(few, chosen, strict=True))
        for part in combinations(many, len(few))
        for chosen in permutations(part)
    )
    assert matched_within(true, found, tolerance) == best


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no truth files"):
        tally_results(tmp_path, tmp_path, 0.25)
