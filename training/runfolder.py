"""The folder of a training run that can be killed at any moment and goes on exactly where its last checkpoint was.

run/
  knobs.json        what was asked for, and a digest of the data: a run goes on only with the same
  log.jsonl         one line per step, one per evaluation
  tensorboard/      the same numbers for TensorBoard
  checkpoint.pt     everything that the next step depends on
  best/             a model folder: the best weights so far
  metrics.json      what `best` scored
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from mousetal import atomic
from mousetal.errors import RecordError, SettingsError

KNOBS_NAME = "knobs.json"
LOG_NAME = "log.jsonl"
CHECKPOINT_NAME = "checkpoint.pt"
METRICS_NAME = "metrics.json"
BEST_NAME = "best"
TENSORBOARD_NAME = "tensorboard"
RECENT = 50  # steps over which the human line averages


def claim(out: Path, knobs: Any, facts: Mapping[str, Any], harmless: Sequence[str]) -> None:
    """Make ``out`` the folder of a run with these knobs (a dataclass), or check that it is.

    ``facts`` are what else a run depends on (a digest of its data). Knobs named in ``harmless`` may differ between two
    starts: they change no weight. Raises SettingsError that lists what else differs.
    """
    path = out / KNOBS_NAME
    wanted = json.loads(json.dumps({**asdict(knobs), **facts}))
    if path.exists():
        found = atomic.read_json(path)
        if differences := _differences(found, wanted, harmless):
            raise SettingsError(
                f"{out}: this run was begun with other settings:\n{differences}\n"
                "Use those again to go on with it, or another folder for a new run."
            )
    atomic.write_json(path, wanted, indent=2)


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], harmless: Sequence[str]) -> str:
    absent = "(absent)"
    return "\n".join(
        f"  {key}: then {found.get(key, absent)!r}, now {wanted.get(key, absent)!r}"
        for key in sorted({*found, *wanted} - {*harmless})
        if found.get(key, absent) != wanted.get(key, absent)
    )


def save_state(out: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint; on a full disk OutputError, and the one before is still there."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    atomic.write_bytes(out / CHECKPOINT_NAME, content.getvalue())


def load_state(out: Path, device: torch.device) -> dict[str, Any] | None:
    """What `save_state` wrote, None for a run that has no checkpoint yet. Raises RecordError for a damaged one."""
    path = out / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecordError(f"{path}: the run's checkpoint is damaged ({reason}). Begin the run anew.") from error
    return state


class RunLog:
    """Every step into ``log.jsonl`` and TensorBoard, one line for people every ``every`` steps.

    What a killed run had logged after its last checkpoint, ``first`` steps in, is taken back: those steps come again.
    Silent for all but the first process of a team.
    """

    def __init__(self, out: Path, steps: int, first: int, every: int, is_first: bool = True) -> None:
        self.steps, self.first, self.every, self.is_first = steps, first, every, is_first
        self.started = time.monotonic()
        self.waited_s = 0.0
        self.losses: list[float] = []
        self.path = out / LOG_NAME
        self.board: Any = None
        if is_first:
            lines = [line for line in _lines(self.path) if line["step"] <= first]
            atomic.write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
            self.board = _board(out / TENSORBOARD_NAME, first)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.board is not None:
            self.board.close()

    def step(self, done: int, loss: float, waited_s: float, **numbers: float) -> None:
        """Step number ``done`` (from 1) is over; ``waited_s`` of it went by waiting for data."""
        self.waited_s += waited_s
        self.losses.append(loss)
        self.write(done, loss=loss, **numbers)
        if self.is_first and (done % self.every == 0 or done == self.steps):
            took = time.monotonic() - self.started
            per_step = took / (done - self.first)
            recent = self.losses[-min(RECENT, self.every) :]
            print(
                f"step {done}/{self.steps}  loss {sum(recent) / len(recent):.4f}  "
                + "  ".join(f"{name} {number:.2e}" for name, number in numbers.items())
                + f"  {per_step:.2f} s/step  data {100 * self.waited_s / took:.0f} %  "
                f"{per_step * (self.steps - done) / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )

    def write(self, done: int, **numbers: float | None) -> None:
        """Numbers of step ``done`` for the files alone; None is a number that is undefined."""
        if not self.is_first:
            return
        kept = {name: None if value is None else float(f"{value:.6g}") for name, value in numbers.items()}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": done, **kept}) + "\n")
            if self.board is not None:
                for name, value in kept.items():
                    if value is not None:
                        self.board.add_scalar(name, value, done)
        except OSError as error:
            raise atomic.output_error(self.path, error) from error

    def say(self, text: str) -> None:
        """A line for people."""
        if self.is_first:
            print(text, file=sys.stderr, flush=True)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The log's whole lines; a run that was killed may have left half of one."""
    found: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def _board(folder: Path, first: int) -> Any:
    """TensorBoard's writer; None where that is not installed: the log has the same numbers."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first + 1)  # type: ignore[no-untyped-call]
