"""Hard cuts: found where much more of the picture changes than just before, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from mousetal.scenes import HISTORY, CutFinder
from mousetal.video import decode, probe
from training.real_videos import gather
from training.synthetic import Film


def starts(pictures: Iterable[np.ndarray]) -> list[int]:
    cuts = CutFinder()
    return [number for number, picture in enumerate(pictures) if cuts.begins_scene(picture)]


def scene(seed: int, frames: int, size: tuple[int, int] = (90, 120)) -> list[np.ndarray]:
    """A square that walks over a noisy ground of its own."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 200, (*size, 3), np.uint8)
    pictures = []
    for number in range(frames):
        picture = ground + rng.integers(0, 6, ground.shape, np.uint8)
        picture[20:40, 10 + 2 * number : 30 + 2 * number] = 10
        pictures.append(picture)
    return pictures


def test_a_scene_begins_where_the_picture_is_another() -> None:
    assert starts([*scene(1, 12), *scene(2, 15), *scene(3, 9)]) == [12, 27]


def test_in_one_scene_no_other_begins() -> None:
    assert starts(scene(1, 40)) == []


def test_before_it_is_known_how_much_changes_anyway_nothing_is_said() -> None:
    assert starts([*scene(1, HISTORY), *scene(2, 10)]) == []
    assert starts([*scene(1, HISTORY + 1), *scene(2, 10)]) == [HISTORY + 1]


def test_a_picture_that_changes_all_the_time_has_no_cuts() -> None:
    assert starts(picture for seed in range(30) for picture in scene(seed, 1)) == []


def test_what_changed_while_frames_are_missing_is_no_cut() -> None:
    cuts = CutFinder()
    assert not any(cuts.begins_scene(picture) for picture in scene(1, 12))
    cuts.pass_over_gap()
    assert not any(cuts.begins_scene(picture) for picture in scene(2, 12))


@pytest.mark.parametrize("seed", [31000, 31001])
def test_a_drawn_film_has_no_cuts_and_two_joined_have_one(seed: int) -> None:
    one, other = Film(seed, 2.0, size=(320, 240)), Film(seed + 10, 2.0, size=(320, 240))
    pictures = [film.frame(number)[0] for film in (one, other) for number in range(40)]
    assert starts(pictures) == [40]


def test_a_frame_of_another_size_is_compared_as_any_other() -> None:
    assert starts([*scene(1, 10), *scene(2, 10, (48, 64))]) == [10]


def test_cuts_of_real_playlists_are_found_and_no_others(shared: Path, tmp_path: Path) -> None:
    """Clips of 16 frames of a rat in one cage; where the next clip looks like the last one there is nothing to find."""
    videos = [path for path in gather(shared / "data" / "real", tmp_path) if path.name.startswith("cage1")][:2]
    assert videos
    found = [starts(frame.rgb for frame in decode(probe(path))) for path in videos]
    assert all(start % 16 == 0 for one in found for start in one)
    there = sum(probe(path).num_frames // 16 - 1 for path in videos)
    assert sum(map(len, found)) >= 0.7 * there
