"""What a detector's training is fed: which pictures a step sees, and what becomes of them.

All of it follows from the seed and the number of the step, and nothing from what came before: a run that goes on from
a checkpoint sees what it would have seen, and several processes share a batch without talking.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mousetal.errors import SettingsError
from mousetal.types import Int64Array
from training.boxaugment import Augmentation, augment, to_input
from training.detectorknobs import Knobs
from training.pictures import Source
from training.team import Team

Key = tuple[int, int, int]  # step, place in its batch, number of the picture
Part = tuple[Tensor, list[dict[str, Tensor]]]


@lru_cache(maxsize=16)
def _order(count: int, seed: int, epoch: int) -> Int64Array:
    return np.random.default_rng((seed, epoch)).permutation(count)


@dataclass(frozen=True)
class Deck:
    """Which pictures come when: each group's in a new random order for every pass over it, groups by their shares.

    ``groups`` are numbers of pictures. What comes at a place follows from the place alone.
    """

    groups: tuple[tuple[int, ...], ...]
    shares: tuple[Fraction, ...]
    seed: int
    batch: int

    @classmethod
    def of(cls, knobs: Knobs, folders: Sequence[int]) -> Deck:
        """Of pictures that come from these ``folders`` of the data, counted from 0.

        Raises SettingsError where a folder is to have a share and has no picture.
        """
        if not knobs.shares:
            return cls((tuple(range(len(folders))),), (Fraction(1),), knobs.seed, knobs.batch)
        groups = [tuple(n for n, folder in enumerate(folders) if folder == place) for place in range(len(knobs.shares))]
        for share, group, name in zip(knobs.shares, groups, knobs.data, strict=True):
            if share and not group:
                raise SettingsError(f"shares: {name} is to have a share of {share}, and has no picture to learn from.")
        dealt = [(group, Fraction(share)) for share, group in zip(knobs.shares, groups, strict=True) if share]
        return cls(tuple(group for group, _ in dealt), tuple(share for _, share in dealt), knobs.seed, knobs.batch)

    def numbers(self, step: int) -> list[int]:
        """The pictures of a step's whole batch."""
        return [self._at(place) for place in range(step * self.batch, (step + 1) * self.batch)]

    def _at(self, place: int) -> int:
        left = sum(self.shares)
        for group, share in reversed(list(zip(self.groups, self.shares, strict=True))):
            # Of the places up to here this group has had its part, rounded down; the others share what is left.
            had = math.floor(place * share / left)
            if math.floor((place + 1) * share / left) > had:
                order = _order(len(group), self.seed, had // len(group))
                return group[int(order[had % len(group)])]
            place, left = place - had, left - share
        raise AssertionError("the first group takes all that is left")


def is_plain(knobs: Knobs, step: int) -> bool:
    """Whether the run is in its last part, without strong augmentation."""
    return step >= knobs.steps * (1 - knobs.plain_share)


def side(knobs: Knobs, step: int) -> int:
    """The input size of a step, pixels."""
    if is_plain(knobs, step):
        return knobs.input_size
    return int(np.random.default_rng((knobs.seed, step, 1)).choice(knobs.scales)) or knobs.input_size


@dataclass(frozen=True)
class Prepared(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Augmented pictures, by key."""

    source: Source
    knobs: Knobs

    def __getitem__(self, key: Key) -> tuple[Tensor, dict[str, Tensor]]:
        step, place, number = key
        how = Augmentation(**{name: getattr(self.knobs, name) for name in Augmentation.__dataclass_fields__})
        rng = np.random.default_rng((self.knobs.seed, step, 0, place))
        picture = augment(self.source.picture(number), how.without_strong() if is_plain(self.knobs, step) else how, rng)
        return to_input(picture, side(self.knobs, step))


def parts(knobs: Knobs, source: Source, team: Team, first: int, deck: Deck) -> Iterator[Part]:
    """This process's share of the batches from step ``first`` on, ``knobs.accumulate`` parts a step."""
    loader = DataLoader(
        Prepared(source, knobs), batch_sampler=_Shares(knobs, deck, team, first), collate_fn=_stack,
        num_workers=knobs.workers, pin_memory=team.device.type == "cuda", generator=torch.Generator(),
    )  # fmt: skip
    return iter(loader)


@dataclass(frozen=True)
class _Shares:
    """The keys of this process's parts, step by step."""

    knobs: Knobs
    deck: Deck
    team: Team
    first: int

    def __iter__(self) -> Iterator[list[Key]]:
        size = self.knobs.batch // (self.knobs.accumulate * self.team.size)
        for step in range(self.first, self.knobs.steps):
            numbers = self.deck.numbers(step)
            batch = [(step, place, number) for place, number in enumerate(numbers)]
            for part in range(self.knobs.accumulate):
                start = (part * self.team.size + self.team.rank) * size
                yield batch[start : start + size]


def _stack(samples: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> Part:
    pixels, labels = zip(*samples, strict=True)
    return torch.stack(pixels), list(labels)
