"""Boxes, squares, crops and resizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.geometry import crop_clip, interpolate, iou, reference_crop, resize_for_detector, square, union
from tests.strategies import boxes_xyxy

ROUNDING = 1e-9
PADDINGS = st.floats(0, 0.5)


@given(st.lists(boxes_xyxy(), min_size=1, max_size=8))
def test_a_union_is_the_smallest_box_that_holds_every_box(boxes: list[tuple[float, ...]]) -> None:
    whole = union(boxes)
    assert all((whole[:2] <= box[:2]).all() and (whole[2:] >= box[2:]).all() for box in np.array(boxes))
    assert all(whole[side] in [box[side] for box in boxes] for side in range(4))


def test_the_union_of_no_boxes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n >= 1, got \(0, 4\)"):
        union(np.zeros((0, 4)))


@given(boxes_xyxy(), boxes_xyxy())
def test_iou_is_symmetric_and_between_0_and_1(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1
    assert iou(a, a) == 1


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0),  # touching
        ((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4),  # one inside the other
        ((1, 1, 1, 1), (1, 1, 1, 1), 0),  # empty
    ],
)
def test_iou_of_known_boxes(a: tuple[int, ...], b: tuple[int, ...], expected: float) -> None:
    assert iou(a, b) == pytest.approx(expected)


def test_interpolation_goes_from_one_box_to_the_other() -> None:
    a, b = (0, 0, 10, 10), (20, 40, 40, 50)
    assert interpolate(a, b, 0).tolist() == list(a)
    assert interpolate(a, b, 1).tolist() == list(b)
    assert interpolate(a, b, 0.25).tolist() == [5, 10, 17.5, 20]


@given(boxes_xyxy(), PADDINGS)
def test_a_square_keeps_the_centre_and_holds_the_box_to_a_pixel(box: tuple[float, ...], padding: float) -> None:
    x1, y1, x2, y2 = square(box, padding)
    side = x2 - x1
    assert side == y2 - y1
    assert abs((x1 + x2) - (box[0] + box[2])) <= 1 + ROUNDING
    assert abs((y1 + y2) - (box[1] + box[3])) <= 1 + ROUNDING
    assert 0 <= side - max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * padding) < 1
    assert x1 <= box[0] + 0.5
    assert y2 >= box[3] - 0.5


def test_a_square_at_a_wall_sticks_out_rather_than_moving() -> None:
    assert square((0, 5, 60, 45), 0) == (0, -5, 60, 55)


@given(boxes_xyxy(), PADDINGS)
def test_a_larger_padding_never_gives_a_smaller_square(box: tuple[float, ...], padding: float) -> None:
    smaller, larger = square(box, padding), square(box, padding + 0.1)
    assert larger[2] - larger[0] >= smaller[2] - smaller[0]


def test_a_box_turned_inside_out_is_refused() -> None:
    with pytest.raises(ValueError, match="x1 <= x2"):
        square((10, 0, 5, 5), 0)


@pytest.mark.parametrize(
    ("box", "padding", "expected"),
    [
        ((100, 100, 200, 150), 0.05, (95, 70, 205, 180)),
        ((100, 100, 200, 150), 0.10, (90, 65, 210, 185)),
        ((100, 100, 151, 200), 0.05, (71, 95, 181, 205)),
        ((10, 300, 110, 330), 0.05, (5, 260, 115, 370)),
        ((0, 5, 60, 50), 0.05, (0, 0, 63, 63)),
        ((100, 10, 200, 40), 0.10, (90, 0, 210, 110)),
    ],
)
def test_the_reference_crop_of_known_boxes(box: tuple[int, ...], padding: float, expected: tuple[int, ...]) -> None:
    assert reference_crop([box], 1920, 1080, padding) == expected


def test_the_reference_crop_is_cut_off_at_the_right_and_at_the_bottom() -> None:
    assert reference_crop([(560, 400, 640, 480)], 640, 480, 0.05) == (556, 396, 640, 480)


@pytest.mark.parametrize("boxes", [[], [(30, 40, 30, 40)], [(640, 10, 640, 10)]])
def test_the_reference_crop_without_a_box_of_any_size_is_the_whole_frame(boxes: list[tuple[int, ...]]) -> None:
    assert reference_crop(boxes, 640, 480, 0.05) == (0, 0, 640, 480)


def coordinates(height: int, width: int) -> np.ndarray:
    """A frame whose pixels say where they are: red is x, green is y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)


def test_a_crop_at_its_own_size_is_a_copy_of_the_pixels() -> None:
    frame = coordinates(60, 80)
    clip = crop_clip([frame, frame], (10, 20, 42, 52), 32)
    assert clip.shape == (2, 32, 32, 3)
    assert clip.dtype == np.uint8
    np.testing.assert_array_equal(clip[1], frame[20:52, 10:42])


@pytest.mark.parametrize("crop", [(-5, -7, 25, 23), (60, 40, 90, 70), (-10, 50, 20, 80), (200, 10, 230, 40)])
def test_a_crop_that_sticks_out_repeats_the_edge(crop: tuple[int, int, int, int]) -> None:
    frame = coordinates(60, 80)
    clip = crop_clip([frame], crop, 30)[0]
    x1, y1, _, _ = crop
    np.testing.assert_array_equal(clip[0, :, 0], np.clip(np.arange(x1, x1 + 30), 0, 79))
    np.testing.assert_array_equal(clip[:, 0, 1], np.clip(np.arange(y1, y1 + 30), 0, 59))


def test_an_empty_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="x1 < x2"):
        crop_clip([coordinates(10, 10)], (5, 5, 5, 9), 8)


def test_a_frame_for_the_detector_is_square_and_smoothed_when_shrunk() -> None:
    stripes = np.zeros((40, 80, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize_for_detector(stripes, 20)
    assert small.shape == (20, 20, 3)
    assert abs(small[:, 2:-2].astype(int) - 100).max() <= 4  # without antialiasing it would be 0 or 200


def test_a_frame_for_the_detector_does_not_share_memory_with_the_video() -> None:
    frame = coordinates(32, 32)
    assert not np.shares_memory(resize_for_detector(frame, 32), frame)
