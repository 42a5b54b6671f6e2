"""What a run says while it goes: a line of JSON per step, curves, and now and then a line for people."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.runfolder import append_line, cut_log

LOG_NAME = "log.jsonl"


class TrainLog:
    """Writes in the run's folder; ``first`` of ``steps`` steps are done already. Silent in all processes but one."""

    def __init__(self, root: Path, first: int, steps: int, print_every: int, is_silent: bool = False) -> None:
        self.path, self.first, self.steps, self.print_every = root / LOG_NAME, first, steps, print_every
        self.is_silent = is_silent
        self.curves: Any = None
        self._waited, self._recent, self._started = 0.0, [0.0], time.monotonic()
        self._mark = self._started
        if not is_silent:
            cut_log(self.path, first)
            self.curves = _writer(root / "tensorboard", first)

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.is_silent:
            print(text, file=sys.stderr, flush=True)

    def step(self, step: int, values: Mapping[str, float | None], waited_seconds: float) -> None:
        """After step ``step``, counted from 1: its values, "loss" among them, and how long it waited for data."""
        self._waited += waited_seconds
        self._recent.append(float(values["loss"] or 0.0))
        if self.is_silent:
            return
        append_line(self.path, {"step": step, **values, "waited": round(waited_seconds, 4)})
        self._draw(step, {f"train/{name}": value for name, value in values.items()})
        if step % self.print_every == 0 or step == self.steps:
            self._line(step, values)

    def event(self, step: int, kind: str, content: Mapping[str, Any]) -> None:
        """Something that is no step: a validation, clips that were skipped."""
        if self.is_silent:
            return
        append_line(self.path, {"step": step, "event": kind, **content})
        self._draw(step, {f"{kind}/{name}": value for name, value in content.items() if isinstance(value, float)})

    def close(self) -> None:
        if self.curves is not None:
            self.curves.close()

    def _draw(self, step: int, values: Mapping[str, float | None]) -> None:
        for name, value in values.items():
            if self.curves is not None and value is not None:
                self.curves.add_scalar(name, value, step)

    def _line(self, step: int, values: Mapping[str, float | None]) -> None:
        now = time.monotonic()
        recent = self._recent[1:]
        took = max(now - self._mark, 1e-9)
        per_step = (now - self._started) / (step - self.first)
        norm = values.get("gradient_norm")
        self.say(
            f"step {step}/{self.steps}  loss {sum(recent) / len(recent):.4f}  rate {values['learning_rate']:.2e}  "
            f"{'' if norm is None else f'norm {norm:.2f}  '}{took / len(recent):.2f} s/step  "
            f"data {self._waited / took:.0%}  ETA {_clock(per_step * (self.steps - step))}"
        )
        self._waited, self._recent, self._mark = 0.0, [0.0], now


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _writer(folder: Path, first: int) -> Any:
    """TensorBoard's writer, None where it is not installed. Steps that will be done again are hidden."""
    with contextlib.suppress(ImportError):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=first + 1 if first else None)
    return None
