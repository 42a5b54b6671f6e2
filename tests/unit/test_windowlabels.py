"""Which windows are drawn from clips, and what they teach."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal.errors import RecordError
from mousetal.types import ClassifierSpec, FrameRange
from mousetal.windows import WindowPlan
from tests.fixtures.specs import classifier_spec
from training.clips import UNSCORED, Clip
from training.sampler import Sampler, class_shares
from training.windowlabels import offsets, short_classes, start_labels, window_frames, window_label

CLASSES = ("idle", "grooming", "twitch")
SHORT = (False, False, True)
STEPS = np.arange(16)


def spec(**changes: object) -> ClassifierSpec:
    values = {"classes": CLASSES, "background": 0, "num_frames": 16, "sampling_rate": 1, "trained_fps": 30.0,
              "rules": classifier_spec().rules[:1] * 3}  # fmt: skip
    return replace(classifier_spec(), **{**values, **changes})


def a_clip(labels: list[int] | np.ndarray, behavior: str = "idle", weight: float = 1.0, fps: int = 30) -> Clip:
    labels = np.array(labels, np.int8)
    n = len(labels)
    boxes = np.tile(np.array([1, 1, 5, 5], np.float32), (n, 1))
    nothing = np.zeros(n, np.int64)
    return Clip(Path("x.avi"), "v", behavior, FrameRange(0, n), Fraction(fps), "", "", "train", weight, labels, boxes,
                nothing, nothing)  # fmt: skip


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=16, max_size=16))
@settings(deadline=None)
def test_a_window_is_labelled_by_its_middle(labels: list[int]) -> None:
    """A short behaviour counts within the middle three eighths, a long one at the middle itself."""
    expected = 2 if 2 in labels[5:11] else labels[8]
    assert window_label(np.array(labels), STEPS, SHORT) == expected


def test_a_short_behaviour_counts_near_the_middle_and_nowhere_else() -> None:
    for place in range(16):
        labels = np.zeros(16, np.int8)
        labels[place] = 2
        assert window_label(labels, STEPS, SHORT) == (2 if 5 <= place < 11 else 0)


def test_of_two_short_behaviours_the_one_nearer_the_middle_counts() -> None:
    labels = np.zeros(16, np.int8)
    labels[6], labels[9] = 1, 2
    assert window_label(labels, STEPS, (False, True, True)) == 2


def test_a_short_event_between_two_sampled_frames_is_not_lost() -> None:
    labels = np.zeros(32, np.int8)
    labels[15] = 2
    assert window_label(labels, np.arange(16) * 2, SHORT) == 2


def test_a_window_whose_middle_nobody_looked_at_teaches_nothing() -> None:
    labels = np.zeros(16, np.int8)
    labels[7] = UNSCORED
    assert window_label(labels, STEPS, SHORT) == UNSCORED
    labels[9] = 2  # what was seen there was seen all the same
    assert window_label(labels, STEPS, SHORT) == 2
    labels[:] = 0
    labels[0] = UNSCORED
    assert window_label(labels, STEPS, SHORT) == 0


@pytest.mark.parametrize(("fps", "step"), [(30, 1), (31, 1), (60, 2), (15, 0.5)])
def test_windows_take_the_frames_that_inference_takes(fps: int, step: float) -> None:
    steps = offsets(spec(), Fraction(fps))
    plan = WindowPlan.for_video(spec(), Fraction(fps), reference_compat=False)
    assert float(plan.step) == step
    assert tuple(steps) == plan.windows(200)[0].frame_indices
    assert tuple(window_frames(0, steps, 10)) == plan.windows(10)[0].frame_indices


def test_a_clip_has_a_window_at_every_start_that_fits_and_one_if_it_is_short() -> None:
    assert len(start_labels(np.zeros(20, np.int8), STEPS, SHORT)) == 5
    assert len(start_labels(np.zeros(16, np.int8), STEPS, SHORT)) == 1
    assert len(start_labels(np.zeros(5, np.int8), STEPS, SHORT)) == 1


def test_short_are_the_classes_whose_usual_bout_is_at_most_half_a_window() -> None:
    clips = [a_clip([1] * 60), a_clip([0] * 20 + [2] * 5 + [0] * 20), a_clip([0] * 9 + [2] * 8 + [0] * 3)]
    assert short_classes(clips, spec()) == SHORT
    # At twice the frame rate the same frames last half as long, but so does the window.
    assert short_classes([a_clip([0] * 20 + [2] * 16 + [0] * 20, fps=60)], spec()) == SHORT
    assert short_classes([a_clip([0] * 20 + [2] * 12 + [0] * 20)], spec()) == (False, False, False)


def test_what_a_clips_edge_leaves_of_a_long_bout_does_not_make_it_short() -> None:
    clips = [a_clip([1] * 3 + [0] * 20), a_clip([0] * 20 + [1] * 4), a_clip([0] * 4 + [1] * 30 + [0] * 4)]
    assert short_classes(clips, spec()) == (False, False, False)
    assert short_classes([a_clip([2] * 3 + [0] * 20)], spec()) == SHORT  # there is nothing else to go by
    assert short_classes([], spec()) == (False, False, False)


def clips_of_three_kinds() -> list[Clip]:
    twitch = a_clip([0] * 20 + [2] * 3 + [0] * 20, "twitch")
    return [a_clip([0] * 40), a_clip([1] * 40, "grooming"), twitch, a_clip([0] * 40)]


def a_sampler(clips: list[Clip], shares: tuple[float, ...] = (1, 1, 1), own_share: float = 0.75) -> Sampler:
    return Sampler(clips, spec(), SHORT, np.array(shares, np.float64), own_share, seed=1)


def test_classes_come_up_as_often_as_asked_for() -> None:
    clips = clips_of_three_kinds()
    draws = [a_sampler(clips, (2, 1, 1)).draw(number) for number in range(1500)]
    behaviors = [clips[draw.clip].behavior for draw in draws]
    for name, share in zip(CLASSES, (0.5, 0.25, 0.25), strict=True):
        assert behaviors.count(name) / 1500 == pytest.approx(share, abs=0.05)


def test_a_twitch_is_usually_in_the_middle_and_sometimes_off_it_as_a_negative() -> None:
    clips = clips_of_three_kinds()
    draws = [draw for draw in map(a_sampler(clips).draw, range(1500)) if clips[draw.clip].behavior == "twitch"]
    assert np.mean([draw.label == 2 for draw in draws]) == pytest.approx(0.75, abs=0.06)
    assert {draw.label for draw in draws} == {0, 2}
    for draw in draws:
        labels = clips[draw.clip].frame_labels
        assert window_label(labels, window_frames(draw.start, STEPS, len(labels)), SHORT) == draw.label


def test_draws_depend_on_seed_and_number_alone() -> None:
    sampler, again = a_sampler(clips_of_three_kinds()), a_sampler(clips_of_three_kinds())
    backwards = {number: again.draw(number) for number in reversed(range(50))}
    assert [sampler.draw(number) for number in range(50)] == [backwards[number] for number in range(50)]
    assert len({(draw.clip, draw.start) for draw in backwards.values()}) > 20


def test_another_attempt_is_another_window_of_the_same_class() -> None:
    clips = [*clips_of_three_kinds(), *clips_of_three_kinds()]
    sampler = a_sampler(clips)
    for number in range(30):
        first, *others = (sampler.draw(number, attempt) for attempt in range(20))
        assert {clips[one.clip].behavior for one in others} == {clips[first.clip].behavior}
    assert len({sampler.draw(0, attempt).clip for attempt in range(20)}) > 1


def test_weights_say_how_often_a_clip_is_drawn_among_those_of_its_class() -> None:
    clips = [a_clip([0] * 40, weight=3.0), a_clip([0] * 40, weight=1.0), a_clip([0] * 40, weight=0.0)]
    drawn = [a_sampler(clips).draw(number).clip for number in range(1200)]
    assert drawn.count(0) / 1200 == pytest.approx(0.75, abs=0.05)
    assert 2 not in drawn


def test_windows_without_a_box_or_a_label_are_never_drawn() -> None:
    half = a_clip([0] * 60)
    half.boxes_xyxy[:30] = np.nan
    unseen = a_clip([-1] * 60)
    draws = [a_sampler([half, unseen]).draw(number) for number in range(200)]
    assert {draw.clip for draw in draws} == {0}
    assert min(draw.start for draw in draws) >= 15
    with pytest.raises(RecordError, match="no clip has a window"):
        a_sampler([unseen])


def test_shares_follow_the_number_of_clips_in_three_ways() -> None:
    clips = [a_clip([0] * 20)] * 9 + [a_clip([1] * 20, "grooming")]
    assert class_shares(clips, CLASSES, "natural").tolist() == [9, 1, 0]
    assert class_shares(clips, CLASSES, "sqrt").tolist() == [3, 1, 0]
    assert class_shares(clips, CLASSES, "equal").tolist() == [1, 1, 0]


def test_expected_counts_are_those_of_the_windows_drawn() -> None:
    counts = a_sampler(clips_of_three_kinds()).expected_counts()
    assert counts.sum() == pytest.approx(4)
    assert counts[1] == pytest.approx(4 / 3, rel=0.1)
    assert counts[2] == pytest.approx(0.75 * 4 / 3, rel=0.1)
