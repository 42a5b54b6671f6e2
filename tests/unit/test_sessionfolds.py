"""Folds by session: whole, balanced, the same for everybody."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mousetal.errors import SettingsError
from training.sessionfolds import deal


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=5, max_size=80), st.integers(2, 5), st.randoms())
def test_every_session_is_in_one_fold_and_the_order_of_clips_does_not_matter(
    sessions: list[str], num_folds: int, shuffler: random.Random
) -> None:
    assume(len(set(sessions)) >= num_folds)
    fold_of = deal(sessions, num_folds)
    assert fold_of.keys() == set(sessions)
    assert set(fold_of.values()) == set(range(num_folds))
    shuffled = sessions.copy()
    shuffler.shuffle(shuffled)
    assert deal(shuffled, num_folds) == fold_of


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=5, max_size=80))
def test_no_fold_holds_more_than_the_fairest_one_and_the_largest_session(sessions: list[str]) -> None:
    assume(len(set(sessions)) >= 3)
    counts = Counter(sessions)
    fold_of = deal(sessions, 3)
    held = [sum(counts[s] for s, at in fold_of.items() if at == fold) for fold in range(3)]
    assert max(held) - min(held) <= max(counts.values())


def test_the_largest_session_comes_first_and_the_emptiest_fold_gets_the_next() -> None:
    sessions = ["b"] * 5 + ["a"] * 3 + ["c"] * 3 + ["d"] * 2
    assert deal(sessions, 2) == {"b": 0, "a": 1, "c": 1, "d": 0}


def test_fewer_sessions_than_folds_are_refused() -> None:
    with pytest.raises(SettingsError, match="5 folds need as many sessions"):
        deal(["a", "b", "b"], 5)
