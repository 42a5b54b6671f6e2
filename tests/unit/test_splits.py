"""Train, validation and test: whole animals, every behaviour on every side, and leaks found."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mousetal.dataset import VideoEntry
from training.recordings import Same
from training.splits import MOST_TEST_VIDEOS, assign, leaks, matters, shared_days


def entry(name: str, subject: str = "", **more: str) -> VideoEntry:
    return VideoEntry(f"a/video/{name}.mp4", name * 8, 100, Fraction(25), 64, 48, 4.0, subject=subject, **more)


def lab(animals: int, videos: int) -> list[VideoEntry]:
    return [entry(f"{animal}-{number}", f"m{animal}") for animal in range(animals) for number in range(videos)]


def seconds_of(entries: list[VideoEntry], seed: int = 0) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {one.path: [float(rng.exponential(20)), float(rng.exponential(1))] for one in entries}


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 5))
def test_an_animal_is_on_one_side_only_and_every_video_has_a_side(animals: int, videos: int, seed: int) -> None:
    entries = lab(animals, videos)
    made = assign(entries, seconds_of(entries, seed), seed=seed)
    assert made.of.keys() == {one.path for one in entries}
    for animal in range(animals):
        assert len({made.of[one.path] for one in entries if one.subject == f"m{animal}"}) == 1
    if animals >= 3:
        assert {*made.of.values()} == {"train", "validation", "test"}
    assert "train" in made.of.values()


@given(st.integers(0, 5))
def test_every_side_gets_about_its_share_of_every_behaviour(seed: int) -> None:
    entries = lab(40, 1)
    seconds = seconds_of(entries, seed)
    made = assign(entries, seconds, test_share=0.25, validation_share=0.25, seed=seed)
    for place in range(2):
        total = sum(times[place] for times in seconds.values())
        share = sum(seconds[path][place] for path, side in made.of.items() if side == "test") / total
        assert 0.1 < share < 0.45


def test_sides_once_given_are_kept_when_videos_are_added() -> None:
    entries = lab(10, 1)
    first = assign(entries, seconds_of(entries))
    older = [replace(one, split=first.of[one.path]) for one in entries]
    newer = [*older, *(entry(f"new-{n}", f"new{n}") for n in range(6)), entry("0-later", "m0")]
    second = assign(newer, seconds_of(newer, 1))
    assert {path: second.of[path] for path in first.of} == first.of
    assert second.of["a/video/0-later.mp4"] == first.of["a/video/0-0.mp4"]


def test_an_animal_that_is_on_two_sides_already_is_told_and_left_there() -> None:
    entries = [entry("a", "m1", split="train"), entry("b", "m1", split="test"), entry("c", "m1"), *lab(4, 1)]
    made = assign(entries, seconds_of(entries))
    assert [made.of[one.path] for one in entries[:3]] == ["train", "test", "train"]
    assert "animal m1 is on several sides already (test, train); its new videos go to train" in made.notes


def test_no_more_than_ten_videos_are_for_testing() -> None:
    entries = lab(200, 1)
    sides = Counter(assign(entries, seconds_of(entries)).of.values())
    assert abs(sides["test"] - MOST_TEST_VIDEOS) <= 2


def test_the_same_seed_gives_the_same_split() -> None:
    entries = lab(12, 2)
    assert assign(entries, seconds_of(entries), seed=3).of == assign(entries, seconds_of(entries), seed=3).of


def test_one_animal_only_is_said_to_be_no_split() -> None:
    entries = lab(1, 5)
    made = assign(entries, seconds_of(entries))
    assert {*made.of.values()} == {"train"}
    assert "one animal only" in made.notes[0]


def test_without_names_of_animals_sessions_and_files_stay_together() -> None:
    entries = [entry(str(n), session=f"s{n % 4}") for n in range(12)]
    made = assign(entries, seconds_of(entries))
    for n in range(4):
        assert len({made.of[one.path] for one in entries if one.session == f"s{n}"}) == 1


def test_copies_of_a_file_are_on_one_side_whatever_animal_they_are_said_to_show() -> None:
    entries = lab(8, 1)
    copies = (replace(entries[0], path="a/video/copy.mp4", subject="other"),
              replace(entries[3], path="a/video/c2.mp4", subject="m5"))  # fmt: skip
    entries = [*entries, *copies]
    made = assign(entries, seconds_of(entries))
    assert made.of["a/video/copy.mp4"] == made.of[entries[0].path]
    assert made.of["a/video/c2.mp4"] == made.of[entries[3].path] == made.of[entries[5].path]


def test_parts_of_one_recording_are_on_one_side_and_take_their_animals_along() -> None:
    entries = lab(8, 2)
    same = [
        Same(entries[0].path, entries[3].path, ((1.0, 0.0),)),
        Same(entries[2].path, entries[7].path, ((1.0, 2.0),)),
    ]
    made = assign(entries, seconds_of(entries), same=same)
    assert len({made.of[one.path] for one in (*entries[:4], *entries[6:8])}) == 1
    older = [replace(one, split="test" if one.subject == "m0" else "") for one in entries]
    assert assign(older, seconds_of(older), same=same).of[entries[6].path] == "test"


def test_leaks_are_found() -> None:
    one, other, *_ = entries = [
        entry("a", "m1", split="train"), entry("b", "m2", split="test"), entry("c", split="train", session="s"),
        entry("d", "m3", split="validation"), entry("e", split="test", session="s"), entry("g", "m3", split="train"),
    ]  # fmt: skip
    same = [Same(one.path, other.path, ((3.5, 0.0),))]
    found = leaks([*entries, replace(one, path="a/video/f.mp4", subject="m6", split="validation")], same)
    assert sorted(text.split(" ")[0] for text in found) == ["a/video/a.mp4", "animal", "content", "session"]
    assert any("(train) and a/video/b.mp4 (test) hold the same recording: a/video/a.mp4 at 3.5 s" in s for s in found)
    assert leaks([one, replace(other, split="train")], same) == []
    assert leaks(entries[1:2]) == []


def test_a_day_on_which_every_animal_was_filmed_is_no_leak_but_told() -> None:
    entries = [entry(f"{animal}-{day}", f"m{animal}", session=f"day {day}") for animal in range(6) for day in range(2)]
    made = assign(entries, seconds_of(entries))
    dealt = [replace(one, split=made.of[one.path]) for one in entries]
    assert leaks(dealt) == []
    (note,) = shared_days(dealt)
    assert note.startswith("of different animals on several sides: session day 0, day 1. ")
    assert shared_days([one for one in dealt if one.split == "train"]) == []
    assert shared_days([replace(one, session=one.path) for one in dealt]) == []


@given(st.integers(2, 9), st.sampled_from([("test", 0.0, 0.15), ("validation", 0.2, 0.0)]))
def test_a_side_with_a_share_of_nothing_stays_empty(animals: int, asked: tuple[str, float, float]) -> None:
    side, test_share, validation_share = asked
    entries = lab(animals, 2)
    made = assign(entries, seconds_of(entries), test_share, validation_share)
    assert side not in made.of.values()
    assert made.of.keys() == {one.path for one in entries}


def test_videos_that_nobody_has_scored_fill_no_test() -> None:
    scored = lab(6, 2)
    unscored = [replace(entry(f"u{n}", f"u{n}"), scored=()) for n in range(40)]
    entries = [*unscored, *scored]
    seconds = seconds_of(scored)
    made = assign(entries, seconds | {one.path: [0.0, 0.0] for one in unscored})
    assert {made.of[one.path] for one in unscored} == {"train"}
    alone = assign(scored, seconds)
    assert Counter(made.of[one.path] for one in scored) == Counter(alone.of.values())
    few = [*unscored, *lab(1, 3)]
    made = assign(few, {one.path: [0.0, 0.0] for one in few})
    assert {*made.of.values()} == {"train"}
    assert "one animal only" in made.notes[0]
    assert len({*assign(unscored, {one.path: [0.0] for one in unscored}).of.values()}) == 3, "labels may come later"


def test_only_videos_that_are_or_may_come_to_be_on_two_sides_are_compared() -> None:
    a, b = entry("a", "m1"), entry("b", "m2")
    assert matters(a, b)
    assert not matters(a, entry("c", "m1"))  # one animal is on one side anyway
    assert not matters(a, replace(a, path="a/video/copy.mp4"))
    assert not matters(replace(a, split="test"), replace(b, split="test"))
    assert matters(replace(a, split="test"), entry("c", "m1", split="train"))  # earlier decisions that cannot be right
