"""One run at a time in a run's folder, in however many processes: two would mix their logs, states and models.

The first process holds the folder; when it may not, all of them hear why, so that none waits for another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from mousetal.errors import OutputError
from training import datasetlock


@contextlib.contextmanager
def hold(root: Path, rank: int, processes: int) -> Iterator[None]:
    """Hold the folder of a run for as long as the block runs; raises OutputError, in every process, if another has it.

    Several ``processes`` must have joined (torch.distributed) and call this together.
    """
    with contextlib.ExitStack() as held:
        refused: list[str] = [""]
        if rank == 0:
            try:
                held.enter_context(datasetlock.hold(root, "another run of training", "choose another --out"))
            except OutputError as error:
                refused = [str(error)]
        if processes > 1:
            torch.distributed.broadcast_object_list(refused, src=0)
        if refused[0]:
            raise OutputError(refused[0])
        yield
