"""Which pictures a detector's training sees, when, and at what size."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mousetal.errors import SettingsError
from training.detectorfeed import Deck, parts, side
from training.detectorknobs import Knobs, check
from training.filmpictures import film_images
from training.synthetic import Film
from training.team import Team

KNOBS = Knobs(data=("drawn",), input_size=64, batch=4, steps=4)


def test_processes_that_prepare_pictures_change_nothing() -> None:
    images = film_images(Film(1, 2.0, size=(160, 120)), KNOBS.input_size, count=6)
    deck = Deck.of(KNOBS, [0] * len(images))
    alone = list(parts(KNOBS, images, Team(), 1, deck))
    helped = list(parts(replace(KNOBS, workers=1), images, Team(), 1, deck))
    assert len(alone) == len(helped) == 3
    for (a, labels_a), (b, labels_b) in zip(alone, helped, strict=True):
        assert torch.equal(a, b)
        assert all(torch.equal(x["boxes"], y["boxes"]) for x, y in zip(labels_a, labels_b, strict=True))


def test_every_pass_shows_each_picture_once_in_another_order() -> None:
    deck = Deck.of(KNOBS, [0, 0, 0, 0, 1, 1, 2, 0])
    seen = [number for step in range(6) for number in deck.numbers(step)]
    passes = [seen[:8], seen[8:16], seen[16:]]
    assert all(sorted(one) == list(range(8)) for one in passes)
    assert passes[0] != passes[1] != passes[2]
    assert sorted(Deck.of(KNOBS, [0] * 3).numbers(0))[:1] == [0]  # fewer pictures than a batch: some come twice


@given(
    shares=st.lists(st.floats(0.01, 10), min_size=1, max_size=4),
    counts=st.lists(st.integers(1, 7), min_size=4, max_size=4),
    steps=st.integers(1, 40),
)
def test_every_folder_has_its_share_and_shows_its_pictures_equally_often(
    shares: list[float], counts: list[int], steps: int
) -> None:
    folders = [folder for folder, count in enumerate(counts[: len(shares)]) for _ in range(count)]
    knobs = replace(KNOBS, data=tuple(map(str, shares)), shares=tuple(shares))
    deck = Deck.of(knobs, folders)
    seen = [number for step in range(steps) for number in deck.numbers(step)]
    drawn = Counter(folders[number] for number in seen)
    for folder, share in enumerate(shares):
        assert abs(drawn[folder] - share / sum(shares) * len(seen)) <= len(shares)
        times = [seen.count(number) for number, of in enumerate(folders) if of == folder]
        assert max(times) - min(times) <= 1
    assert deck.numbers(steps - 1) == Deck.of(knobs, folders).numbers(steps - 1)  # whatever was asked before


def test_shares_that_cannot_be_had_are_refused() -> None:
    for shares in ((1.0, 1.0), (-1.0,), (0.0,)):
        with pytest.raises(SettingsError, match="shares: a number for each of the 1 folders in data expected"):
            check(replace(KNOBS, shares=shares), Team())
    knobs = replace(KNOBS, data=("drawn", "real"), shares=(1.0, 2.0))
    with pytest.raises(SettingsError, match=r"shares: real is to have a share of 2.0, and has no picture"):
        Deck.of(knobs, [0, 0, 0])


def test_other_scales_and_strong_augmentation_stop_before_the_end() -> None:
    knobs = replace(KNOBS, scales=(64, 96), steps=100, plain_share=0.1)
    assert {side(knobs, step) for step in range(90)} == {64, 96}
    assert {side(knobs, step) for step in range(90, 100)} == {64}
