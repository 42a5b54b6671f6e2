"""From window results to everything that is known about a video."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import numpy as np
import pytest

from mousetal.pipeline import Plan, analyse, finish
from mousetal.types import BoutRule, FrameRange, NotScored, VideoResult
from tests.fixtures.scenes import MOUSE, Finder, ScoredBox, frames_of, numbers_in
from tests.fixtures.specs import classifier_spec, detector_spec, video_info


class Grooming:
    """A classifier that sees grooming as far as a window's frames lie in a range, and is sure of it."""

    def __init__(self, start: int, end: int) -> None:
        self._frames = range(start, end)

    def __call__(self, batches: Any) -> Any:
        for batch in batches:
            shares = np.array([np.isin(numbers_in(clip), self._frames).mean() for clip in batch.clips], np.float32)
            yield np.stack([1 - shares, shares, np.zeros_like(shares)], axis=1)


def result_of(
    num_frames: int,
    grooming: tuple[int, int] = (0, 0),
    see: Callable[[int], list[ScoredBox]] = lambda index: [MOUSE],
    missing: Container[int] = (),
    info: dict[str, Any] | None = None,
    **changes: Any,
) -> VideoResult:
    plan = Plan(video_info(num_frames, **(info or {})), detector_spec(), classifier_spec(), **changes)
    results = list(analyse(frames_of(plan.info, missing=missing), Finder(see), Grooming(*grooming), plan))
    return finish("sub/a.mp4", results, plan)


def ranges(found: tuple[NotScored, ...], reason: str) -> list[tuple[int, int]]:
    return [(one.frames.start_frame, one.frames.end_frame) for one in found if one.reason == reason]


def test_a_video_in_which_all_goes_well() -> None:
    found = result_of(60, grooming=(20, 41))
    assert found.video == "sub/a.mp4"
    assert found.posteriors.shape == (60, 3)
    assert np.isfinite(found.posteriors).all()
    assert found.decoded_frames == 60
    assert found.not_scored == ()
    assert found.warnings == ()
    (bout,) = found.bouts
    assert bout.behavior == "grooming"
    assert abs(bout.start_frame - 20) <= 2
    assert abs(bout.end_frame - 41) <= 2
    assert bout.box_xyxy == (20, 15, 30, 25)
    assert bout.flags == ()


def test_the_animals_boxes_are_kept_with_their_source() -> None:
    found = result_of(20, see=lambda index: [] if index == 8 else [MOUSE])
    assert [box.frame_index for box in found.boxes] == list(range(0, 20, 2))
    assert [box.source for box in found.boxes if box.frame_index == 8] == ["interpolated"]


def test_no_animal_anywhere_is_said_in_one_sentence() -> None:
    found = result_of(20, see=lambda index: [])
    assert found.bouts == ()
    assert found.boxes == ()
    assert found.warnings == ("no animal was found on any of 10 frames; nothing was scored",)
    assert found.not_scored == (NotScored(FrameRange(0, 20), "no animal"),)
    assert np.isnan(found.posteriors).all()


def test_frames_without_an_animal_are_not_scored() -> None:
    found = result_of(80, see=lambda index: [] if index >= 40 else [MOUSE], max_gap_s=0.2)
    assert ranges(found.not_scored, "no animal") == [(48, 80)]
    assert np.isnan(found.posteriors[48:]).all()
    assert np.isfinite(found.posteriors[:48]).all()


def test_a_damaged_stretch_is_not_scored_and_told() -> None:
    found = result_of(80, missing=range(30, 50))
    assert ranges(found.not_scored, "damaged") == [(30, 50)]
    assert found.decoded_frames == 60
    assert found.warnings == ("20 of 80 frames could not be decoded, the first at 3.00 s",)


def test_a_bout_runs_across_a_frame_that_could_not_be_decoded_and_says_so() -> None:
    found = result_of(60, grooming=(12, 49), missing={30})
    (bout,) = found.bouts
    assert bout.flags == ("damaged",)
    assert bout.start_frame < 30 < bout.end_frame
    assert found.not_scored == (NotScored(FrameRange(30, 31), "damaged"),)
    assert np.isnan(found.posteriors[30]).all()


def test_a_video_of_which_nothing_can_be_decoded_has_no_frames() -> None:
    found = result_of(24, missing=range(24))
    assert found.decoded_frames == 0
    assert found.not_scored == (NotScored(FrameRange(0, 24), "damaged"),)


def test_boxes_away_from_the_track_are_counted_in_a_warning() -> None:
    found = result_of(40, see=lambda index: [MOUSE, (45, 30, 60, 45, 0.5)] if index < 10 else [MOUSE])
    assert found.warnings == (
        "boxes away from the animal's track were left out on 5 of 20 frames: is there more than one animal?",
    )


def test_a_bout_carries_the_flags_of_its_windows() -> None:
    found = result_of(60, grooming=(20, 41), see=lambda index: [] if index == 30 else [MOUSE])
    assert found.bouts[0].flags == ("borrowed_box",)


def test_what_the_probe_warned_of_and_a_variable_frame_rate_are_told() -> None:
    found = result_of(20, info={"warnings": ("the header lies",), "is_variable_frame_rate": True})
    assert found.warnings == (
        "the header lies",
        "variable frame rate (10.00 on average): times are exact, windows take frames by count",
    )


def test_durations_follow_the_frames_own_times() -> None:
    """The same frames, shown at half speed in the second video, last long enough there."""
    rules = (BoutRule(), BoutRule(min_duration_s=3.0), BoutRule())
    for fps, expected in ((10, 0), (5, 1)):
        plan = Plan(video_info(60, fps=fps), detector_spec(), classifier_spec(rules=rules))
        results = list(analyse(frames_of(plan.info), Finder(), Grooming(20, 41), plan))
        assert len(finish("a.mp4", results, plan).bouts) == expected


# The reference's way


def test_the_reference_makes_whole_windows_into_bouts_and_ends_with_the_video() -> None:
    found = result_of(55, grooming=(40, 55), reference_compat=True)
    (bout,) = found.bouts
    assert (bout.behavior, bout.start_frame, bout.end_frame) == ("grooming", 40, 55)  # the last window says 56
    assert bout.confidence == 1
    assert found.scores[-1].window.frames.end_frame == 56
    assert found.reference_compat


def test_the_reference_leaves_the_tail_unclassified() -> None:
    found = result_of(58, reference_compat=True)
    assert found.not_scored == (NotScored(FrameRange(56, 58), "not classified"),)


def test_the_reference_scores_frames_without_an_animal() -> None:
    found = result_of(55, grooming=(0, 55), see=lambda index: [], reference_compat=True)
    assert found.warnings == ("no animal was found on any of 28 frames; whole frames were classified",)
    assert found.bouts[0].box_xyxy == (0, 0, 64, 48)


@pytest.mark.parametrize("reference_compat", [False, True])
def test_one_frame_is_a_video_too(reference_compat: bool) -> None:
    found = result_of(1, reference_compat=reference_compat)
    assert len(found.scores) == (0 if reference_compat else 1)
    assert found.posteriors.shape == (1, 3)
