"""Video files of many films at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from mousetal.cores import usable_cores
from training.synthetic.film import TRUTH_SUFFIX, Film, write_video


def write_videos(films: Iterable[tuple[Callable[[], Film], Path]]) -> None:
    """`write_video` for each that is not there yet, one process per core: drawing a frame is one thread's work.

    A film is given by what makes it, a function that can be pickled: films are large.
    """
    # The truth is written last.
    missing = [(make, path) for make, path in films if not path.with_suffix(TRUTH_SUFFIX).exists()]
    if not missing:
        return
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        drawn = [pool.submit(_write, make, path) for make, path in missing]
        try:
            for count, done in enumerate(as_completed(drawn), start=1):
                print(f"{count}/{len(drawn)} {done.result()}", file=sys.stderr)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write(make: Callable[[], Film], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(make(), path)
    return path
