"""How the C library keeps memory that Python gives back."""

from __future__ import annotations

import contextlib
import ctypes

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE = 16 << 20  # bytes: a frame of 1080p is smaller, one of 4K larger


def return_large_blocks() -> None:
    """Give blocks of ``LARGE`` bytes and more back to the system as soon as they are free.

    By itself glibc begins to keep blocks of up to 32 MiB once it has seen one freed, and frames that come and go on
    several threads leave its heaps in pieces: a driver grew by 400 MiB in half a minute of 4K video. Below ``LARGE``
    that costs little memory, and asking the system for every frame would cost time. Without glibc nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Give to the system what is free in between: after a long video that is most of what was needed for it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
