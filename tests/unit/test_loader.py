"""What ends the processes that read clips is told."""

from __future__ import annotations

import os
import signal

import pytest
from torch.utils.data import Dataset

from mousetal.errors import MousetalError
from training.loader import ordered


class Doomed(Dataset[int]):
    """The process that is asked for item 2 is killed, as by a system that is out of memory."""

    def __getitem__(self, i: int) -> int:
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return i


def test_a_reading_process_that_is_killed_ends_the_run_with_a_sentence() -> None:
    with pytest.raises(MousetalError, match=r"ended from outside .*shm_size.*Lower workers"):
        list(ordered(Doomed(), range(5), workers=1, pinned=False))


def test_items_come_in_order_and_an_end() -> None:
    assert list(ordered(Doomed(), range(3, 9), workers=1, pinned=False)) == [3, 4, 5, 6, 7, 8]
