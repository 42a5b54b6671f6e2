"""What a run says while it goes: a line of JSON per step, curves, and now and then a line for people."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mousetal import atomic

LOG_NAME = "log.jsonl"


class TrainLog:
    """Writes in the run's folder; ``first`` of ``steps`` steps are done already. Silent in all processes but one.

    What a killed run had logged after its last state is taken back: those steps come again. ``curve`` names curves.
    """

    def __init__(
        self,
        root: Path,
        first: int,
        steps: int,
        print_every: int,
        is_silent: bool = False,
        curve: str = "{kind}/{name}",
    ) -> None:
        self.path, self.first, self.steps, self.print_every = root / LOG_NAME, first, steps, print_every
        self.is_silent, self.curve = is_silent, curve
        self.curves: Any = None
        self._waited, self._recent, self._started = 0.0, [0.0], time.monotonic()
        self._mark = self._started
        if not is_silent:
            _cut(self.path, first)
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
        _append(self.path, {"step": step, **values, "waited": round(waited_seconds, 4)})
        self._draw(step, "train", values)
        if step % self.print_every == 0 or step == self.steps:
            self._line(step, values)

    def event(self, step: int, kind: str, content: Mapping[str, Any]) -> None:
        """Something that is no step: a validation, clips that were skipped."""
        if self.is_silent:
            return
        _append(self.path, {"step": step, "event": kind, **content})
        self._draw(step, kind, {name: value for name, value in content.items() if isinstance(value, float)})

    def close(self) -> None:
        if self.curves is not None:
            self.curves.close()

    def _draw(self, step: int, kind: str, values: Mapping[str, float | None]) -> None:
        if self.curves is None:
            return
        try:
            for name, value in values.items():
                if value is not None:
                    self.curves.add_scalar(self.curve.format(kind=kind, name=name), value, step)
        except OSError as error:
            raise atomic.output_error(self.path.parent, error) from error

    def _line(self, step: int, values: Mapping[str, float | None]) -> None:
        now = time.monotonic()
        recent = self._recent[1:]
        took = max(now - self._mark, 1e-9)
        per_step = (now - self._started) / (step - self.first)
        others = [f"{name} {value:.2e}  " for name, value in values.items() if name != "loss" and value is not None]
        self.say(
            f"step {step}/{self.steps}  loss {sum(recent) / len(recent):.4f}  {''.join(others)}"
            f"{took / len(recent):.2f} s/step  data {self._waited / took:.0%}  "
            f"ETA {_clock(per_step * (self.steps - step))}"
        )
        self._waited, self._recent, self._mark = 0.0, [0.0], now


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _append(path: Path, content: Mapping[str, Any]) -> None:
    """Add a line of JSON, which has no infinity (fp16's gradients at too large a scale): null. Raises OutputError."""
    content = {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in content.items()}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(content, ensure_ascii=False) + "\n")
    except OSError as error:
        raise atomic.output_error(path, error) from error


def _cut(path: Path, steps: int) -> None:
    """Remove what a log says of steps after ``steps``, and the line that a kill cut off."""
    if not path.exists():
        return
    lines = path.read_text("utf-8").splitlines(keepends=True)
    kept = []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError):
            if json.loads(line)["step"] <= steps:
                kept.append(line)
    if kept != lines:
        atomic.write_text(path, "".join(kept))


def _writer(folder: Path, first: int) -> Any:
    """TensorBoard's writer, None where it is not installed. Steps that will be done again are hidden."""
    with contextlib.suppress(ImportError):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=first + 1 if first else None)
    return None
