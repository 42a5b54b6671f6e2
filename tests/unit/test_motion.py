"""How far something reaches that has moved, by the pixels alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.motion import POINTS, Neighbourhood, Pictures
from mousetal.types import Float64Array, UInt8Array

WIDTH, HEIGHT = 320, 240


def picture(*places: tuple[int, int, int, int], noise: int = 0) -> UInt8Array:
    """A bright ground with dark boxes x1, y1, x2, y2 on it."""
    rng = np.random.default_rng(noise)
    rgb = np.full((HEIGHT, WIDTH, 3), 190, np.uint8) + rng.integers(0, 8, (HEIGHT, WIDTH, 3), np.uint8)
    for x1, y1, x2, y2 in places:
        rgb[y1:y2, x1:x2] = 40
    return rgb


def moved(before: UInt8Array, now: UInt8Array, after: UInt8Array, box: tuple[float, ...]) -> Float64Array | None:
    whole = np.array(box, float)
    around = Neighbourhood(whole, {0: whole, 2: whole}, Pictures([before, now, after].__getitem__, (WIDTH, HEIGHT)))
    return around.moved(1, 0, 2)


RESTS = (100, 80, 160, 120)


@given(st.integers(100, 140), st.integers(60, 110), st.integers(20, 60))
def test_it_reaches_as_far_as_the_animal_does_to_a_point(x: int, y: int, length: int) -> None:
    still, stretched = picture(RESTS, noise=1), picture(RESTS, (x, y, x + length, y + 12))
    found = moved(still, stretched, picture(RESTS, noise=2), RESTS)
    point = max(1.0, 60 / POINTS)
    sticks_out = [100 - x, 80 - y, x + length - 160, y + 12 - 120]
    far = [edge for edge in range(4) if sticks_out[edge] > 3 * point]
    if far:
        assert found is not None
        wanted = [x, y, x + length, y + 12]
        for edge in far:
            assert abs(found[edge] - wanted[edge]) <= 1.5 * point


def test_noise_alone_is_nothing() -> None:
    assert moved(picture(RESTS, noise=1), picture(RESTS, noise=2), picture(RESTS, noise=3), RESTS) is None


def test_an_animal_that_went_away_leaves_ground_that_one_of_the_looks_knows() -> None:
    gone = picture((150, 80, 210, 120))
    assert moved(picture(RESTS), gone, gone, (100, 80, 210, 120)) is None


def test_a_tail_is_too_thin_to_count() -> None:
    assert moved(picture(RESTS), picture(RESTS, (160, 98, 200, 101)), picture(RESTS), RESTS) is None


def test_a_shadow_is_too_faint_to_count() -> None:
    shaded = picture(RESTS)
    shaded[80:120, 160:190] -= 15
    assert moved(picture(RESTS), shaded, picture(RESTS), RESTS) is None


def test_where_the_animal_itself_is_faint_little_counts() -> None:
    faint, stretched = picture(), picture()
    for image, right in ((faint, 160), (stretched, 190)):
        image[80:120, 100:right] -= 25
    found = moved(faint, stretched, faint, RESTS)
    assert found is not None
    assert found[2] == pytest.approx(190, abs=4)


def test_what_moves_out_of_reach_does_not_count() -> None:
    assert moved(picture(RESTS), picture(RESTS, (260, 180, 300, 220)), picture(RESTS), RESTS) is None


@pytest.mark.parametrize("box", [(-30, -20, 30, 20), (300, 220, 360, 260), (0, 0, 320, 240), (150, 110, 151, 111)])
def test_a_box_that_sticks_out_or_is_tiny_does_no_harm(box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = max(0, box[0]), max(0, box[1]), box[2], box[3]
    found = moved(picture(), picture((x1, y1, x2, y2)), picture(), box)
    if found is not None:
        assert np.abs(found - [x1, y1, min(x2, WIDTH), min(y2, HEIGHT)]).max() <= 15
