"""Where and in which arithmetic a network runs: the same for both networks, which never import each other."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from mousetal.errors import SettingsError

AUTOCAST_TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and how exactly the network is computed; ``compiled`` trades a slow first clip for faster later ones."""

    device: torch.device
    precision: str = "fp32"
    compiled: bool = False

    @classmethod
    def on(cls, device: str, precision: str, compiled: bool) -> Execution:
        """Checks what the user asked for. Raises SettingsError for an unknown precision or an absent device."""
        if precision not in AUTOCAST_TYPES:
            raise SettingsError(f"PRECISION: one of {', '.join(AUTOCAST_TYPES)} expected, got {precision!r}")
        try:
            chosen = torch.device(device)
            torch.empty(1, device=chosen)
        except (RuntimeError, AssertionError) as error:  # torch raises an AssertionError when built without CUDA
            reason = str(error).splitlines()[0]
            raise SettingsError(f"DEVICE: {device!r} is not usable here ({reason}). Set DEVICE=cpu.") from error
        return cls(chosen, precision, compiled)

    def __str__(self) -> str:
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        return f"{self.device}{name} {self.precision}"

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which the network runs: mixed precision, or none for fp32."""
        dtype = AUTOCAST_TYPES[self.precision]
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)
