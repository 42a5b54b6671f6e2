"""A network compiled by torch (COMPILE=1), and where what was compiled is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from mousetal.fixedsizes import Outputs

CACHE_KEY = "TORCHINDUCTOR_CACHE_DIR"  # torch's own: where it keeps what it compiled


def compile_module(module: nn.Module) -> Callable[[Tensor], Outputs]:
    """``module`` for batches of sizes that stay the same: each new one is compiled when it first comes.

    That torch compiles for a size that varies was tried: slower, and compiled a third time for a batch of 16. What it
    compiles it finds again at the next start.
    """
    keep_artefacts()
    return cast("Callable[[Tensor], Outputs]", torch.compile(module, dynamic=False))


def keep_artefacts() -> None:
    """Keep what is compiled among the user's caches, as torch's own choice, a temporary folder, is emptied with the
    machine's start. TORCHINDUCTOR_CACHE_DIR says otherwise, and so does a home that cannot be written to.
    """
    if os.environ.get(CACHE_KEY):
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mousetal" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter without a home at all
        return
    if os.access(folder, os.W_OK):
        os.environ[CACHE_KEY] = str(folder)
