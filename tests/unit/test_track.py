"""Which box is the animal's."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mousetal.track import Sighting, follow
from mousetal.types import Detections

SECONDS = np.arange(200) / 10  # ten sampled frames a second
MOUSE = (10.0, 10.0, 30.0, 30.0)


def seen(*frames: list[tuple[tuple[float, ...], float]], cuts: Container[int] = ()) -> list[Sighting]:
    """The track over frames that each have boxes with scores, a tenth of a second apart; gaps up to half a second."""
    detections = [
        Detections(
            index,
            np.array([box for box, _ in boxes], np.float32).reshape(-1, 4),
            np.array([score for _, score in boxes], np.float32),
            np.zeros(len(boxes), np.int64),
            begins_scene=index in cuts,
        )
        for index, boxes in enumerate(frames)
    ]
    return list(follow(detections, SECONDS, 0.5, 0.4))


def at(x: float) -> tuple[float, ...]:
    return x, 10.0, x + 20, 30.0


def sources(sightings: list[Sighting]) -> str:
    return "".join(one.box.source[0] if one.box else "-" for one in sightings)


def test_a_box_far_from_the_track_is_left_out_and_counted() -> None:
    found = seen([(MOUSE, 0.9)], [(MOUSE, 0.8), (at(300), 0.85)], [(MOUSE, 0.9)])
    assert [one.box.box_xyxy for one in found if one.box] == [MOUSE] * 3
    assert [one.num_ignored for one in found] == [0, 1, 0]


def test_a_track_that_began_on_a_false_box_finds_to_the_animal() -> None:
    found = seen([(at(300), 0.9)], *[[(at(300), 0.5), (MOUSE, 0.95)]] * 10)
    assert found[-1].box is not None
    assert found[-1].box.box_xyxy == MOUSE


def test_boxes_below_the_threshold_do_not_count() -> None:
    assert sources(seen([(MOUSE, 0.39)], [(MOUSE, 0.4)])) == "hd"


def test_a_gap_between_two_boxes_is_interpolated() -> None:
    found = seen([(at(10), 0.9)], [], [], [], [(at(18), 0.9)])
    assert sources(found) == "diiid"
    assert [round(one.box.box_xyxy[0]) for one in found if one.box] == [10, 12, 14, 16, 18]


def test_beyond_the_gap_a_frame_has_no_box() -> None:
    found = seen([(MOUSE, 0.9)], *[[]] * 14, [(MOUSE, 0.9)])
    assert sources(found) == "dhhhhh----hhhhhd"


def test_nothing_is_borrowed_from_nothing() -> None:
    assert sources(seen([], [], [])) == "---"


@given(st.lists(st.lists(st.tuples(st.integers(0, 400).map(at), st.floats(0, 1)), max_size=3), max_size=30))
def test_every_frame_comes_out_once_and_in_order(frames: list[list[tuple[tuple[float, ...], float]]]) -> None:
    found = seen(*frames)
    assert [one.frame_index for one in found] == list(range(len(frames)))
    assert all(one.box is None or one.box.frame_index == one.frame_index for one in found)


def test_across_a_hard_cut_nothing_is_followed_or_borrowed() -> None:
    frames = [[(at(10), 0.9)], [(at(10), 0.9)], [], [], [(at(300), 0.9)], [(at(300), 0.9)]]
    found = seen(*frames, cuts=[3])
    assert sources(found) == "ddhhdd"
    assert [round(one.box.box_xyxy[0]) for one in found if one.box] == [10, 10, 10, 300, 300, 300]
    assert [one.num_ignored for one in found] == [0] * 6
    assert sources(seen(*frames)) == "ddhhhh", "without the cut the box so far away is not the animal"


# Frames that the detector was not asked about


def looked_at(num_frames: int, looks: dict[int, float | None], max_gap_s: float) -> list[Sighting]:
    """The track where only some frames were looked at, on which the animal is at x, or not at all."""
    detections = []
    for index in range(num_frames):
        x = looks.get(index)
        box = [] if x is None else [at(x)]
        answer = Detections(index, np.array(box, np.float32).reshape(-1, 4), np.ones(len(box), np.float32) * 0.9,
                            np.zeros(len(box), np.int64))  # fmt: skip
        detections.append(answer if index in looks else Detections.skipped(index))
    return list(follow(detections, SECONDS, max_gap_s, 0.4))


def test_between_two_looks_a_skipped_frame_is_interpolated_however_far_they_are_apart() -> None:
    found = looked_at(17, {0: 10, 8: 26, 16: 10}, max_gap_s=0.1)
    assert sources(found) == "diiiiiiidiiiiiiid"
    assert found[4].box is not None
    assert found[4].box.box_xyxy[0] == 18.0
    assert not any(one.is_borrowed for one in found)


def test_next_to_a_look_in_vain_a_skipped_frame_borrows_as_any_other() -> None:
    assert sources(looked_at(9, {0: 10, 4: None, 8: 10}, max_gap_s=0.2)) == "dhh---hhd"
    assert sources(looked_at(9, {0: 10, 4: None, 8: 10}, max_gap_s=0.8)) == "diiiiiiid"
    assert sources(looked_at(9, {0: None, 4: None, 8: 10}, max_gap_s=0.2)) == "------hhd"


def test_nothing_is_interpolated_across_the_end() -> None:
    assert sources(looked_at(7, {0: 10}, max_gap_s=0.2)) == "dhh----"
