"""Which frames a window takes, and what happens at the end of a video."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.types import FrameRange
from mousetal.windows import WindowPlan
from tests.fixtures.specs import classifier_spec
from tests.strategies import window_plans

TOTALS = st.integers(0, 150)
SMALL = WindowPlan(num_frames=4, step=Fraction(2), stride=2, cover_tail=True)


def ranges(plan: WindowPlan, total: int) -> list[tuple[int, int]]:
    return [(window.frames.start_frame, window.frames.end_frame) for window in plan.windows(total)]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (0, []),  # nothing to see
        (1, [(0, 1)]),  # one frame, held
        (6, [(0, 6)]),  # one sampled frame short of a window
        (7, [(0, 7)]),  # a window's last frame is the video's
        (8, [(0, 8)]),  # it speaks for the frame after its last as well
        (9, [(0, 8), (2, 9)]),  # a frame left over
        (11, [(0, 8), (4, 11)]),  # lines up nicely: sampled to the end
        (12, [(0, 8), (4, 12)]),  # lines up nicely: spoken for to the end
        (14, [(0, 8), (4, 12), (7, 14)]),  # the picture in the module
    ],
)
def test_windows_cover_a_video_of_any_length(total: int, expected: list[tuple[int, int]]) -> None:
    assert ranges(SMALL, total) == expected


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (6, []),
        (7, [(0, 8)]),  # speaks for a frame that is not there
        (8, [(0, 8)]),
        (9, [(0, 8)]),
        (10, [(0, 8)]),
        (11, [(0, 8), (4, 12)]),
        (14, [(0, 8), (4, 12)]),
    ],
)
def test_the_reference_leaves_tails_and_short_videos_out(total: int, expected: list[tuple[int, int]]) -> None:
    assert ranges(WindowPlan(4, Fraction(2), 2, cover_tail=False), total) == expected


def test_the_last_window_ends_exactly_at_the_last_frame() -> None:
    assert SMALL.windows(14)[-1].frame_indices == (7, 9, 11, 13)


def test_a_video_shorter_than_a_window_repeats_its_last_frame() -> None:
    assert [window.frame_indices for window in SMALL.windows(5)] == [(0, 2, 4, 4)]


def test_the_published_geometry_sees_31_frames_and_speaks_for_32() -> None:
    plan = WindowPlan(16, Fraction(2), 8, cover_tail=True)
    assert plan.span == 31
    assert ranges(plan, 50) == [(0, 32), (16, 48), (19, 50)]


@given(window_plans(), TOTALS)
def test_windows_keep_their_promises(plan: WindowPlan, total: int) -> None:
    windows = plan.windows(total)
    sampled = set(plan.sampled_frames(total).tolist())
    for position, window in enumerate(windows):
        assert window.index == position
        assert len(window.frame_indices) == plan.num_frames
        assert list(window.frame_indices) == sorted(window.frame_indices)
        assert window.frame_indices[-1] < total
        assert window.frame_indices[-1] - window.frame_indices[0] < plan.span
        assert window.frames.start_frame == window.frame_indices[0]
        assert window.frames.end_frame > window.frame_indices[-1]
        assert sampled.issuperset(window.frame_indices)
    for before, after in itertools.pairwise(windows):
        assert before.frame_indices[0] <= after.frame_indices[0]
        assert before.frame_indices[-1] <= after.frame_indices[-1]


@given(window_plans(), TOTALS)
def test_every_frame_is_spoken_for_unless_windows_stand_apart(plan: WindowPlan, total: int) -> None:
    covered = np.zeros(total, bool)
    for window in plan.windows(total):
        if plan.cover_tail:
            assert window.frames.end_frame <= total
        covered[window.frames.start_frame : window.frames.end_frame] = True
    if plan.cover_tail and plan.stride <= plan.num_frames:
        assert covered.all()


@given(window_plans(), TOTALS, st.integers(0, 60))
def test_a_longer_video_begins_with_the_same_regular_windows(plan: WindowPlan, total: int, more: int) -> None:
    regular = [window.frame_indices for window in plan.windows(total)]
    if plan.cover_tail:
        regular = regular[:-1]
    assert [window.frame_indices for window in plan.windows(total + more)][: len(regular)] == regular


@given(window_plans(), TOTALS)
def test_nothing_is_sampled_after_the_last_window(plan: WindowPlan, total: int) -> None:
    windows, sampled = plan.windows(total), plan.sampled_frames(total).tolist()
    assert sampled == sorted(set(sampled))
    assert sampled[-1:] == [window.frame_indices[-1] for window in windows][-1:]


@pytest.mark.parametrize(
    ("trained_fps", "fps", "expected"),
    [
        (None, Fraction(60), Fraction(2)),  # unknown: by count
        (30.0, Fraction(30), Fraction(2)),
        (30.0, Fraction(30000, 1001), Fraction(2)),  # as good as equal
        (25.0, Fraction(24), Fraction(2)),
        (30.0, Fraction(60), Fraction(4)),
        (30.0, Fraction(15), Fraction(1)),
        (30.0, Fraction(25), Fraction(5, 3)),
        (29.97, Fraction(120000, 1001), Fraction(8)),
    ],
)
def test_a_video_is_sampled_at_the_speed_that_the_network_was_trained_at(
    trained_fps: float | None, fps: Fraction, expected: Fraction
) -> None:
    plan = WindowPlan.for_video(classifier_spec(sampling_rate=2, trained_fps=trained_fps), fps, reference_compat=False)
    assert float(plan.step) == pytest.approx(float(expected), rel=1e-6)
    assert plan.cover_tail


def test_the_reference_samples_by_count_whatever_the_frame_rate() -> None:
    plan = WindowPlan.for_video(classifier_spec(trained_fps=30.0), Fraction(60), reference_compat=True)
    assert plan.step == classifier_spec().sampling_rate
    assert not plan.cover_tail


def test_a_grid_with_a_broken_step_does_not_drift() -> None:
    plan = WindowPlan(4, Fraction(5, 3), 2, cover_tail=True)
    assert [plan.grid(i) for i in range(7)] == [0, 2, 3, 5, 7, 8, 10]
    assert plan.grid(3_000_000) == 5_000_000


def test_an_hour_of_video_is_planned_in_an_instant() -> None:
    plan = WindowPlan(16, Fraction(2), 8, cover_tail=True)
    assert len(plan.windows(108_000)) == 6749
    assert plan.windows(108_000)[-1].frames == FrameRange(107_968, 108_000)


@pytest.mark.parametrize("changed", [{"num_frames": 0}, {"stride": 0}, {"step": Fraction(0)}])
def test_a_plan_that_makes_no_sense_is_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a window plan needs"):
        WindowPlan(**{"num_frames": 4, "step": Fraction(2), "stride": 2, "cover_tail": True, **changed})
