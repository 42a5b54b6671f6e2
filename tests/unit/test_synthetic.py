"""The synthetic films: exact truth, the same for the same seed, visible behaviours."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mousetal import video
from mousetal.errors import RecordError
from training.synthetic import BEHAVIORS, TRUTH_SUFFIX, Film, read_truth, write_video
from training.synthetic.arena import CAGES
from training.synthetic.motion import CHANNELS, RATE, SELF_GROOMING, TWITCH, perform
from training.synthetic.mouse import FURS

SMALL = (160, 120)


def test_the_same_seed_gives_the_same_film_and_another_seed_another() -> None:
    one, same, other = (Film(seed, 2.0, size=SMALL) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.frame(20)[0], same.frame(20)[0])
    assert one.truth == same.truth
    assert not np.array_equal(one.frame(20)[0], other.frame(20)[0])


def test_a_frame_is_the_same_whatever_was_drawn_before() -> None:
    one, other = Film(3, 2.0, size=SMALL), Film(3, 2.0, size=SMALL)
    one.frame(0)
    np.testing.assert_array_equal(one.frame(9)[0], other.frame(9)[0])


@pytest.mark.parametrize("seed", range(5))
def test_every_performance_holds_both_behaviours_of_the_promised_lengths(seed: int) -> None:
    performance = perform(np.random.default_rng(seed), 20, 20, 20, is_round=False)
    lengths = {b: [a.end - a.start for a in performance.acts if a.behavior == b] for b in BEHAVIORS}
    assert lengths[SELF_GROOMING]
    assert all(1 <= seconds <= 10 for seconds in lengths[SELF_GROOMING])
    assert lengths[TWITCH]
    assert all(0.09 <= seconds <= 0.41 for seconds in lengths[TWITCH])


@pytest.mark.parametrize("seed", range(5))
def test_the_animal_never_jumps_and_stays_on_the_floor(seed: int) -> None:
    channels = perform(np.random.default_rng(seed), 20, 24, 16, is_round=False).channels
    assert set(channels) == set(CHANNELS)
    steps = np.hypot(np.diff(channels["x"]), np.diff(channels["y"]))
    assert steps.max() * RATE < 150  # cm per second
    assert np.abs(channels["x"]).max() < 12 + 3
    assert np.abs(channels["y"]).max() < 8 + 3
    assert np.abs(np.diff(channels["heading"])).max() < 0.3


def test_grooming_strokes_five_to_seven_times_a_second() -> None:
    performance = perform(np.random.default_rng(4), 30, 20, 20, is_round=False)
    act = next(a for a in performance.acts if a.behavior == SELF_GROOMING)
    stroke = performance.channels["stroke"][round(act.start * RATE) : round(act.end * RATE)]
    rises = np.count_nonzero((stroke[:-1] < 0) & (stroke[1:] >= 0))
    assert 4 <= rises / (act.end - act.start) <= 7.5


@pytest.mark.parametrize("seed", range(4, 8))
def test_truth_is_half_open_and_agrees_with_the_frames_labels_but_for_short_pauses(seed: int) -> None:
    film = Film(seed, 20.0, size=SMALL, fps=25)
    labels, bridged = film.labels(), np.zeros(500, np.int64)
    assert len(labels) == film.num_frames == 500
    for bout in film.truth:
        assert 0 <= bout.start_frame < bout.end_frame <= film.num_frames
        bridged[bout.start_frame : bout.end_frame] = 1 + BEHAVIORS.index(bout.behavior)
    differs = bridged != labels
    assert (labels[differs] == 0).all()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], differs, [False]])))
    assert (edges[1::2] - edges[::2] < 0.5 * 25).all()


def test_grooming_with_a_short_pause_is_one_bout() -> None:
    for seed in range(20):
        film = Film(seed, 20.0, size=SMALL, fps=30)
        bouts = [bout for bout in film.truth if bout.behavior == SELF_GROOMING]
        assert all(b.start_frame - a.end_frame >= 15 for a, b in pairwise(bouts))


def test_truth_in_seconds_does_not_depend_on_the_frame_rate() -> None:
    starts = [[b.start_frame / fps for b in Film(6, 20.0, size=SMALL, fps=fps).truth] for fps in (25, 30, 60)]
    np.testing.assert_allclose(starts[0], starts[2], atol=1 / 25)
    np.testing.assert_allclose(starts[1], starts[2], atol=1 / 30)


@pytest.mark.parametrize("cage", sorted(CAGES))
@pytest.mark.parametrize("fur", ["black", "white"])
def test_the_box_holds_the_animal_and_stands_out_from_the_floor(cage: str, fur: str) -> None:
    film = Film(7, 2.0, size=(320, 240), cage=cage, fur=fur)
    rgb, (x1, y1, x2, y2) = film.frame(10)
    assert 0 <= x1 < x2 <= 320
    assert 0 <= y1 < y2 <= 240
    changed = np.abs(rgb.astype(int) - film.arena.background).max(axis=2) > 40
    inside = changed[round(y1) : round(y2), round(x1) : round(x2)]
    assert inside.mean() > 0.3
    assert inside.sum() > 0.5 * changed.sum()  # the rest is tail, and perhaps noise


def test_all_furs_are_drawn() -> None:
    looks = {fur: tuple(Film(8, 1.0, size=SMALL, fur=fur).fur.colour.round()) for fur in FURS}
    assert len(set(looks.values())) == len(FURS)


def test_a_written_video_has_the_films_frames_and_its_truth_beside_it(tmp_path: Path) -> None:
    film = Film(9, 1.0, size=SMALL, fps=30)
    path = tmp_path / "film.mp4"
    write_video(film, path)
    info = video.probe(path)
    assert (info.width, info.height, info.fps, info.num_frames) == (*SMALL, 30, 30)
    name, num_frames, bouts = read_truth(tmp_path / ("film" + TRUTH_SUFFIX))
    assert (name, num_frames, bouts) == ("film.mp4", 30, film.truth)
    boxes = json.loads((tmp_path / ("film" + TRUTH_SUFFIX)).read_text())["boxes_xyxy"]
    np.testing.assert_allclose(boxes[12], film.frame(12)[1], atol=0.06)
    frames = list(video.decode(info))
    assert np.abs(frames[12].rgb.astype(int) - film.frame(12)[0]).mean() < 12


def test_a_truth_file_is_not_taken_for_a_video(tmp_path: Path) -> None:
    write_video(Film(9, 0.2, size=SMALL), tmp_path / "film.mp4")
    assert video.is_video(tmp_path / "film.mp4")
    assert not video.is_video(tmp_path / ("film" + TRUTH_SUFFIX))


def test_a_file_that_is_no_truth_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.truth.json").write_text("[]")
    with pytest.raises(RecordError, match=r"x\.truth\.json"):
        read_truth(tmp_path / "x.truth.json")
