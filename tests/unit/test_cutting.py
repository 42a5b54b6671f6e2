"""Which parts of a video become clips, and what their records depend on."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.types import FrameBox, FrameRange, Label
from training.clipping import Shape
from training.cliprecords import key_of
from training.clips import UNSCORED
from training.cutting import CutRules, frame_labels, plan_cuts
from training.synthetic import BEHAVIORS

GROOM, TWITCH = BEHAVIORS
ENTRY = datasets.VideoEntry("a/video/b.mp4", "0" * 64, 1000, Fraction(25), 64, 48, 40.0)


def cuts_of(labels: list[Label], num_frames: int = 1000, **changes: object) -> list[tuple[str, int, int]]:
    dataset = Dataset(Path(), BEHAVIORS)
    entry = replace(ENTRY, num_frames=num_frames, **changes)
    classes, rng = frame_labels(dataset, entry, labels), np.random.default_rng(0)
    found = plan_cuts(dataset, entry, labels, classes, np.zeros(num_frames), CutRules(), rng)
    return [(cut.behavior, cut.frames.start_frame, cut.frames.end_frame) for cut in found]


@given(st.lists(st.tuples(st.integers(0, 990), st.integers(1, 400)), max_size=5), st.integers(20, 1000))
def test_clips_stay_inside_the_video_and_hold_their_bouts(spans: list[tuple[int, int]], total: int) -> None:
    labels = [Label(GROOM, FrameRange(start, min(total, start + length))) for start, length in spans if start < total]
    cuts = cuts_of(labels, total)
    assert all(0 <= start < end <= total for _, start, end in cuts)
    busy = {frame for one in labels for frame in range(one.frames.start_frame, one.frames.end_frame)}
    covered = {frame for behavior, start, end in cuts if behavior == GROOM for frame in range(start, end)}
    assert busy <= covered
    for behavior, start, end in cuts:
        if behavior == "idle":
            assert not busy & set(range(start, end))


def test_a_twitch_lies_in_the_middle_of_its_clip() -> None:
    (clip,) = [cut for cut in cuts_of([Label(TWITCH, FrameRange(500, 505))]) if cut[0] == TWITCH]
    assert clip == (TWITCH, 471, 534)


def test_a_long_bout_is_cut_into_pieces_of_at_most_five_seconds() -> None:
    pieces = [cut for cut in cuts_of([Label(GROOM, FrameRange(100, 500))]) if cut[0] == GROOM]
    assert len(pieces) == 4


def test_pieces_of_a_bout_know_that_they_are_one_and_idle_has_none() -> None:
    dataset, rng = Dataset(Path(), BEHAVIORS), np.random.default_rng(0)
    labels = [Label(TWITCH, FrameRange(20, 23)), Label(GROOM, FrameRange(100, 500))]
    classes = frame_labels(dataset, ENTRY, labels)
    cuts = plan_cuts(dataset, ENTRY, labels, classes, np.zeros(1000), CutRules(), rng)
    bouts = {label.behavior: label.frames for label in labels}
    assert all(cut.bout == bouts.get(cut.behavior) for cut in cuts)


def test_a_bout_that_three_people_scored_is_one() -> None:
    labels = [Label(TWITCH, FrameRange(500 + n, 505 + n), rater=name) for n, name in enumerate("abc")]
    labels.append(Label(GROOM, FrameRange(503, 520), rater="a"))
    cuts = cuts_of(labels)
    assert [behavior for behavior, *_ in cuts if behavior != "idle"] == [TWITCH, GROOM]
    once = cuts_of([Label(TWITCH, FrameRange(500, 507)), labels[-1]])
    assert cuts == once, "idle is no more for it, either"


def test_where_little_is_hard_idle_is_not_less() -> None:
    dataset, interest = Dataset(Path(), BEHAVIORS), np.zeros(5000)
    interest[2500] = 1.0  # one place for the four clips that might be hard
    rules = CutRules(least_idle=10, hard_share=0.4)
    entry, classes = replace(ENTRY, num_frames=5000), np.zeros(5000, np.int8)
    cuts = plan_cuts(dataset, entry, [], classes, interest, rules, np.random.default_rng(0))
    assert len(cuts) >= 9, "ten, less one that may lie upon the hard one"


def test_idle_comes_from_all_over_the_video() -> None:
    idle = [start for behavior, start, _ in cuts_of([Label(GROOM, FrameRange(480, 520))]) if behavior == "idle"]
    assert min(idle) < 250 < 750 < max(idle)
    assert len(cuts_of([])) >= 4, "a video without any bout gives idle clips, too"


def test_hard_idle_is_where_the_animal_moves() -> None:
    interest = np.zeros(1000)
    interest[700] = 1.0
    dataset, rng = Dataset(Path(), BEHAVIORS), np.random.default_rng(0)
    classes = np.zeros(1000, np.int8)
    cuts = plan_cuts(dataset, replace(ENTRY, num_frames=1000), [], classes, interest, CutRules(), rng)
    assert any(cut.frames.start_frame <= 700 < cut.frames.end_frame for cut in cuts)


def test_frames_that_nobody_looked_at_are_not_scored() -> None:
    dataset = Dataset(Path(), BEHAVIORS)
    labels = [Label(GROOM, FrameRange(10, 30))]
    classes = frame_labels(dataset, replace(ENTRY, num_frames=40, scored=(FrameRange(0, 20),)), labels)
    assert classes.tolist() == [0] * 10 + [1] * 10 + [UNSCORED] * 20
    classes = frame_labels(dataset, replace(ENTRY, num_frames=40, behaviors=(GROOM,)), labels)
    assert classes.tolist() == [UNSCORED] * 10 + [1] * 20 + [UNSCORED] * 10, (
        "a twitch may be where nobody looked for it"
    )


def test_keys_of_records_stay_what_they_were() -> None:
    """Another key would cut everybody's clips again."""
    entry = replace(ENTRY, subject="m1", split="train")
    boxes = (FrameBox(0, (1.0, 2.0, 3.5, 4.0), 0.9, "detected"),)
    key = key_of(entry, [Label("groom", FrameRange(3, 9))], boxes, ("idle", "groom"), 0, CutRules(), Shape(), "")
    assert key == "139b8ea2d4def2db21082b83224d7899c4edf4a37c8bbd3b3a69f243e70d5014"
