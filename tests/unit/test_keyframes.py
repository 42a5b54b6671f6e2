"""Looking at some frames only where boxes are stored: which, and that no box between looks is far off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mousetal.track import follow
from mousetal.types import Detections
from tests.fixtures.scenes import MOUSE, ScoredBox, found
from training.keyframes import MAX_ERROR, KeyFrames

See = Callable[[int], list[ScoredBox]]
SIDE = 10.0
FPS = 10


def at(x: float, y: float = 10.0) -> ScoredBox:
    return (x, y, x + SIDE, y + SIDE, 0.9)


def run(see: See, total: int, spacing: int, starts: list[int] | None = None) -> tuple[list[int], list[Detections]]:
    """The frames that were asked for, in that order, and what was told of all frames."""
    keys, asked, told = KeyFrames(spacing, np.arange(total) / FPS, 0.5), list[int](), list[Detections]()

    def look(frames: list[int]) -> None:
        for frame in frames:
            asked.append(frame)
            keys.answer(found(frame, *see(frame)))
        while wanted := keys.wanted(1):
            look(wanted)
        while stretch := keys.settled():
            told.extend(stretch)

    for frame in range(total):
        look(keys.add(frame, frame in (starts or [])))
    look(keys.end())
    return asked, told


def test_an_animal_that_rests_is_looked_at_every_nth_frame_and_on_the_last() -> None:
    assert run(lambda frame: [MOUSE], 28, 5)[0] == [0, 5, 10, 15, 20, 25, 27]


def test_one_that_walks_straight_costs_one_more_look_per_stretch() -> None:
    assert sorted(run(lambda frame: [at(frame)], 21, 5)[0]) == [0, 3, 5, 8, 10, 13, 15, 18, 20]


def test_one_that_turns_in_between_is_looked_at_until_the_way_is_known() -> None:
    asked, _ = run(lambda frame: [at(2.0 * abs(frame - 10))], 21, 10)
    assert set(asked) >= {0, 10, 20, 5, 15}
    asked, _ = run(lambda frame: [at(8.0 * (frame == 7))], 21, 10)
    assert 7 not in asked, "what cannot be known: both keys agree"


def test_where_the_animal_comes_into_view_every_frame_around_is_looked_at() -> None:
    asked, _ = run(lambda frame: [MOUSE] if frame >= 7 else [], 21, 10)
    assert {6, 7} <= set(asked)


def test_no_animal_at_all_costs_keys_only() -> None:
    assert len(run(lambda frame: [], 41, 10)[0]) == 5


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6),
    st.integers(2, 8),
    st.integers(20, 90),
)
def test_on_a_smooth_way_no_interpolated_box_is_far_off(
    points: list[tuple[float, float]], every: int, total: int
) -> None:
    """The way bends only where it is slow to: between bends it is straight, and there the bound holds everywhere."""
    knots = np.linspace(0, total - 1, len(points))
    xs, ys = (np.interp(np.arange(total), knots, [40 * p[k] for p in points]) for k in (0, 1))
    _, told = run(lambda frame: [at(xs[frame], ys[frame])], total, every)
    boxes = [one.box for one in follow(told, np.arange(total) / FPS, 5.0, 0.5) if one.box is not None]
    assert len(boxes) == total
    far = {box.frame_index for box in boxes if abs(box.box_xyxy[0] - xs[box.frame_index]) > 3 * MAX_ERROR * SIDE}
    assert far <= {int(frame) + d for frame in knots for d in range(-every, every + 1)}


def test_a_stretch_is_handed_out_once_it_is_decided() -> None:
    keys = KeyFrames(4, np.arange(9) / FPS, 0.5)
    assert [keys.add(frame) for frame in range(9)] == [[0], [], [], [], [4], [], [], [], [8]]
    assert keys.settled() == []
    keys.answer(found(0, at(0)))
    assert [one.frame_index for one in keys.settled()] == [0]
    keys.answer(found(4, at(9)))
    assert keys.settled() == []
    assert keys.wanted(5) == [2]
    keys.answer(found(8, at(9)))
    assert keys.settled() == [], "the stretch before it is not decided"
    keys.answer(found(2, at(4.5)))
    assert [(one.frame_index, one.is_skipped) for one in keys.settled()] == [
        (1, True),
        (2, False),
        (3, True),
        (4, False),
    ]
    assert len(keys.settled()) == 4


def test_the_answer_of_a_frame_without_boxes_is_no_skipped_frame() -> None:
    _, told = run(lambda frame: [at(0)] if frame == 0 else [], 5, 4)
    assert [one.is_skipped for one in told] == [False, False, False, True, False]


@given(st.lists(st.integers(1, 59), max_size=8), st.integers(2, 7))
def test_whatever_the_cuts_every_frame_is_accounted_for(starts: list[int], spacing: int) -> None:
    """Each scene ends and begins with a look."""
    asked, told = run(lambda frame: [at(frame % 7)], 60, spacing, starts)
    assert [one.frame_index for one in told] == list(range(60))
    assert {edge for start in starts for edge in (start - 1, start)} <= set(asked)
    assert len(asked) == len(set(asked))
