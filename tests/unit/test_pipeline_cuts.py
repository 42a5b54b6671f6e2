"""Hard cuts on their way through the pipeline: told in flags and a warning, and known again after a stop."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mousetal.geometry import square
from mousetal.pipeline import analyse, finish, resume_frame
from tests.fixtures.scenes import MOUSE, Finder, Judge, ScoredBox, frames_of
from tests.fixtures.specs import plan_for
from tests.fixtures.stored import assert_same_windows


@given(st.integers(0, 14), st.sets(st.integers(1, 60), max_size=4), st.booleans())
def test_a_resumed_run_knows_of_the_same_hard_cuts(kept: int, starts: set[int], is_sparse: bool) -> None:
    plan = replace(plan_for(61), detect_every=3 if is_sparse else 1, max_gap_s=5)
    cuts = sorted(starts)

    def see(index: int) -> list[ScoredBox]:
        x = 10.0 * sum(cut <= index for cut in cuts)
        return [(x, 8, x + 10, 20, 0.9)]

    whole = list(analyse(frames_of(plan.info, cuts=cuts), Finder(see), Judge(), plan))
    done = tuple(whole[:kept])
    frames = frames_of(plan.info, resume_frame(done, plan), cuts=cuts)
    rest = list(analyse(frames, Finder(see), Judge(), plan, done=done))
    assert_same_windows(whole[kept:], rest)
    assert [one.begins_scene for r in rest for one in r.detections] == [
        one.begins_scene for r in whole[kept:] for one in r.detections
    ]


def test_a_window_over_a_hard_cut_holds_both_places_and_says_so() -> None:
    plan = plan_for(40)
    finder = Finder(lambda index: [MOUSE if index < 22 else (40, 30, 50, 42, 0.9)])
    results = list(analyse(frames_of(plan.info, cuts=[22]), finder, Judge(), plan))
    over = [r for r in results if r.score.window.frame_indices[0] < 22 <= r.score.window.frame_indices[-1]]
    assert over
    assert all(r.score.flags == ("scene_cut",) for r in over)
    assert {r.score.crop_xyxy for r in over} == {square((MOUSE[0], MOUSE[1], 50, 42), plan.classifier.crop_padding)}
    assert all(r.score.flags == () for r in results if r not in over)
    (warning,) = finish("a", results, plan).warnings
    assert warning.startswith("a hard cut at 2.20 s: ")
