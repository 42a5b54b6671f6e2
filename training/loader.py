"""Micro-batches of augmented windows, made ahead of time in their order, whatever makes them.

Batch ``i`` is a function of the settings and ``i`` alone. A clip that cannot be read is replaced by another of its
class; the batch carries what was skipped and why.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mousetal.errors import MousetalError, VideoError
from mousetal.streams import prefetch
from mousetal.types import UInt8Array
from training.clips import Clip, read_frames
from training.sampler import Draw, Sampler
from training.views import Disturbance, draw_erasure, view
from training.windowlabels import offsets, window_frames

T = TypeVar("T")
ATTEMPTS = 20  # clips tried for one sample before the run gives up
AHEAD = 4  # micro-batches made in advance


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """``pixels`` uint8 (B, T, S, S, 3); ``labels`` int64 (B,); ``frame_labels`` int64 (B, T), -1 where unscored;
    ``rectangles`` int64 (B, 4), to be erased. ``skipped`` are (clip, reason); ``error`` says that none could be read. B
    counts views: ``num_sample`` in a row of each window.
    """

    pixels: Tensor
    labels: Tensor
    frame_labels: Tensor
    rectangles: Tensor
    skipped: tuple[tuple[str, str], ...] = ()
    error: str = ""

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU reads without the CPU's help; called by torch's loader."""
        pixels, labels, frame_labels, rectangles = (
            tensor.pin_memory() for tensor in (self.pixels, self.labels, self.frame_labels, self.rectangles)
        )
        return Batch(pixels, labels, frame_labels, rectangles, self.skipped, self.error)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What batches are made of. ``erase`` is the rate of erased rectangles."""

    clips: Sequence[Clip]
    sampler: Sampler
    how: Disturbance
    batch: int
    num_sample: int
    erase: float
    rank: int = 0
    world_size: int = 1


class Batches(Dataset[Batch]):
    """Micro-batch by number; numbers count the micro-steps of the whole run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __getitem__(self, micro_step: int) -> Batch:
        recipe = self.recipe
        first = (micro_step * recipe.world_size + recipe.rank) * recipe.batch
        skipped: list[tuple[str, str]] = []
        try:
            views = [one for number in range(first, first + recipe.batch) for one in self._views(number, skipped)]
        except VideoError as error:
            # Not raised: a worker's error would arrive wrapped in its traceback.
            nothing = torch.empty(0)
            return Batch(nothing, nothing, nothing, nothing, tuple(skipped), str(error))
        pixels, labels, frame_labels, rectangles = zip(*views, strict=True)
        return Batch(
            torch.from_numpy(np.stack(pixels)),
            torch.tensor(labels),
            torch.from_numpy(np.stack(frame_labels)).long(),
            torch.tensor(rectangles),
            tuple(skipped),
        )

    def _views(
        self, number: int, skipped: list[tuple[str, str]]
    ) -> Iterator[tuple[UInt8Array, int, np.ndarray, tuple[int, int, int, int]]]:
        recipe = self.recipe
        draw, indices, frames = self._read(number, skipped)
        clip = recipe.clips[draw.clip]
        spec = recipe.sampler.spec
        for which in range(recipe.num_sample):
            rng = np.random.default_rng((recipe.sampler.seed, number, 2, which))
            pixels, is_backwards = view(
                frames, clip.boxes_xyxy[indices], spec.crop_padding, spec.input_size, recipe.how, rng
            )
            labels = clip.frame_labels[indices]
            rectangle = draw_erasure(rng, spec.input_size, recipe.erase)
            yield pixels, draw.label, labels[::-1] if is_backwards else labels, rectangle

    def _read(self, number: int, skipped: list[tuple[str, str]]) -> tuple[Draw, np.ndarray, UInt8Array]:
        recipe = self.recipe
        for attempt in range(ATTEMPTS):
            draw = recipe.sampler.draw(number, attempt)
            clip = recipe.clips[draw.clip]
            indices = window_frames(draw.start, offsets(recipe.sampler.spec, clip.fps), len(clip))
            try:
                return draw, indices, read_frames(clip, indices.tolist())
            except VideoError as error:
                skipped.append((str(clip.path), str(error)))
        raise VideoError(f"{ATTEMPTS} clips one after the other cannot be read, the last: {skipped[-1][1]}")


def batches(recipe: Recipe, first: int, end: int, workers: int, pinned: bool) -> Generator[Batch, None, None]:
    """Micro-batches ``first`` to ``end`` - 1, in order, made by ``workers`` processes, or by one thread for 0."""
    return ordered(Batches(recipe), range(first, end), workers, pinned)


def ordered(dataset: Dataset[T], numbers: range, workers: int, pinned: bool) -> Generator[T, None, None]:
    """The items of a data set with these numbers, in order, made ahead of time by processes, or by a thread for 0."""
    if workers == 0:
        return prefetch((dataset[i] for i in numbers), AHEAD)
    return _by_processes(dataset, numbers, workers, pinned)


def _by_processes(dataset: Dataset[T], numbers: range, workers: int, pinned: bool) -> Generator[T, None, None]:
    # Not plain fork: OpenCV's threads do not survive it, and the child waits for them for ever.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    loader = DataLoader(
        dataset, batch_size=None, sampler=numbers, num_workers=workers, pin_memory=pinned, prefetch_factor=AHEAD,
        worker_init_fn=_one_thread, multiprocessing_context=context,
    )  # fmt: skip
    source = iter(loader)
    while True:
        try:
            item = next(source)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise MousetalError(
                f"a process that reads clips was ended from outside ({str(error).splitlines()[0]}). Most often memory "
                "ran out: the machine's, or what processes share (/dev/shm; in Docker shm_size). Lower workers; 0 "
                "needs no process. The same command goes on."
            ) from error
        yield item


def _one_thread(_worker: int) -> None:
    """Many workers with a thread each beat one another's many threads."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
