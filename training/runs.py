"""What a training run leaves behind: its knobs, one line per step, and a checkpoint to go on from."""

from __future__ import annotations

import json
import math
import sys
import time
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from mousetal.errors import SettingsError

CHECKPOINT = "checkpoint.pt"
PRINT_EVERY = 50  # steps
K = TypeVar("K")


def read_knobs(kind: type[K], path: Path | None) -> K:
    """The knobs in a TOML file, defaults for the rest. Raises SettingsError for a key that is no knob."""
    values: dict[str, Any] = tomllib.loads(path.read_text()) if path else {}
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - known):
        raise SettingsError(f"{path}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def save(out: Path, step: int, **parts: Any) -> None:
    """Write the state of everything in ``parts`` after ``step`` steps, atomically."""
    partial = out / (CHECKPOINT + ".partial")
    torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, partial)
    partial.replace(out / CHECKPOINT)


def resume(out: Path, **parts: Any) -> int:
    """Load what `save` wrote into ``parts``; the number of steps done, 0 for a new run."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / CHECKPOINT
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def averaged_weights(out: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of the run in ``out``, as the network itself names them. Raises SettingsError."""
    path = out / CHECKPOINT
    if not path.exists():
        raise SettingsError(f"{path}: no checkpoint to start from. Make that run first.")
    state = torch.load(path, weights_only=True)["average"]
    return {name.removeprefix("module."): value for name, value in state.items() if name.startswith("module.")}


class Log:
    """Appends every step to ``log.jsonl``, prints one in ``PRINT_EVERY``, stops the run at a loss that is no number."""

    def __init__(self, out: Path, knobs: Any, first: int) -> None:
        self.steps, self.first, self.started = knobs.steps, first, time.monotonic()
        self.losses: list[float] = []
        (out / "knobs.json").write_text(json.dumps(asdict(knobs), indent=2) + "\n")
        self.path = out / "log.jsonl"

    def step(self, step: int, loss: float, rate: float) -> None:
        if not math.isfinite(loss):
            raise RuntimeError(f"the loss is {loss} at step {step}: lower the learning rate or look at the data")
        self.losses.append(loss)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "loss": round(loss, 5), "learning_rate": rate}) + "\n")
        if (step + 1) % PRINT_EVERY == 0 or step + 1 == self.steps:
            recent = self.losses[-PRINT_EVERY:]
            per_step = (time.monotonic() - self.started) / (step + 1 - self.first)
            left = per_step * (self.steps - step - 1) / 60
            print(
                f"step {step + 1}/{self.steps}  loss {sum(recent) / len(recent):.4f}  rate {rate:.2e}  "
                f"{per_step:.2f} s/step  {left:.0f} min left",
                file=sys.stderr,
            )
