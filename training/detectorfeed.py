"""What a detector's training is fed: which pictures a step sees, and what becomes of them.

All of it follows from the seed and the number of the step, and nothing from what came before: a run that goes on from
a checkpoint sees what it would have seen, and several processes share a batch without talking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.boxaugment import Augmentation, augment, to_input
from training.detectorknobs import Knobs
from training.pictures import Source
from training.team import Team

Key = tuple[int, int, int]  # step, place in its batch, number of the picture
Part = tuple[Tensor, list[dict[str, Tensor]]]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def picture_numbers(knobs: Knobs, count: int, step: int) -> list[int]:
    """The pictures of a step's whole batch: the data in a new random order for every pass over it."""
    places = range(step * knobs.batch, (step + 1) * knobs.batch)
    return [int(_order(count, knobs.seed, place // count)[place % count]) for place in places]


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


def parts(knobs: Knobs, source: Source, team: Team, first: int) -> Iterator[Part]:
    """This process's share of the batches from step ``first`` on, ``knobs.accumulate`` parts a step."""
    loader = DataLoader(
        Prepared(source, knobs), batch_sampler=_Shares(knobs, len(source), team, first), collate_fn=_stack,
        num_workers=knobs.workers, pin_memory=team.device.type == "cuda", generator=torch.Generator(),
    )  # fmt: skip
    return iter(loader)


@dataclass(frozen=True)
class _Shares:
    """The keys of this process's parts, step by step."""

    knobs: Knobs
    count: int
    team: Team
    first: int

    def __iter__(self) -> Iterator[list[Key]]:
        size = self.knobs.batch // (self.knobs.accumulate * self.team.size)
        for step in range(self.first, self.knobs.steps):
            numbers = picture_numbers(self.knobs, self.count, step)
            batch = [(step, place, number) for place, number in enumerate(numbers)]
            for part in range(self.knobs.accumulate):
                start = (part * self.team.size + self.team.rank) * size
                yield batch[start : start + size]


def _stack(samples: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> Part:
    pixels, labels = zip(*samples, strict=True)
    return torch.stack(pixels), list(labels)
