"""The one folder that a run leaves, and how it goes on in it.

    run/
      knobs.json            the settings, the classes and the data's digest: what a resumed run must have in common
      environment.json      versions, device and commit, for every time it was started
      log.jsonl             a line per step and per validation
      tensorboard/          the same as curves
      best/                 a model folder: the best weights so far
      .lock                 which process works in it (`training.runlock`)

    the classifier's also                                           the detector's also
      checkpoints/step-0000123/, checkpoints/last                     checkpoint.pt
      last/                 a model folder: the newest weights        metrics.json    what `best` scored
      tuning/, evaluation/  by `training.finetune_evaluation`

What is to go on from is one file where one process holds all of it, else a folder into which every process writes its
part. Both are written under another name and renamed when whole (of folders, ``last`` then names the newest, and only
then is the one before removed). So a crash or a full disk leaves the last good state.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import pickle
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mousetal import atomic, modelfolder
from mousetal.errors import OutputError, RecordError, SettingsError
from mousetal.modelconfig import plain_name
from training.knobs import differences

BEST = "best"
LAST = "last"
METRICS = "metrics.json"
STATES = "checkpoints"
POINTER = "last"
PARTIAL = ".partial"
STATE_NAME = re.compile(r"step-\d{7,}")
STATE_FILE = "checkpoint.pt"
IDENTITY = "knobs.json"
LIBRARIES = ("mousetal", "torch", "deepspeed", "numpy", "opencv-python-headless", "av", "tensorboard")


def export_best(root: Path, target: Path) -> None:
    """The best weights of the run in ``root`` once more, as the model folder ``target``, whose name the model takes.

    Raises ModelError, OutputError.
    """
    best = modelfolder.locate(root / BEST)
    config, tensors = modelfolder.read(best, type(modelfolder.read_config(best.root)))
    config = replace(config, name=plain_name(target.resolve().name))
    _, _, card = (best.root / modelfolder.CARD_NAME).read_text("utf-8").partition("\n")
    modelfolder.write(target, config, tensors, f"# {config.name}\n{card}")


class RunFolder:
    """A run's folder; ``root`` is made when missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic.output_error(root, error) from error

    def last_state(self) -> Path | None:
        """The folder of the newest whole state, None for a new run. Where the one that was last is gone: another."""
        name = self._last_name()
        if name is None:
            return None
        # A folder has this name once it is whole.
        states = [path for path in (self.root / STATES).iterdir() if STATE_NAME.fullmatch(path.name) and path.is_dir()]
        return max(states, key=lambda state: (state.name == name, step_of(state)), default=None)

    def lost_state(self) -> str:
        """The state that the run was to go on from and that is gone, in a sentence; "" where it is there.

        Raises RecordError where no other is left, for a run that begins anew unasked throws away what it had.
        """
        name, left = self._last_name(), self.last_state()
        if name is None or (left is not None and left.name == name):
            return ""
        pointer = self.root / STATES / POINTER
        gone = f"{pointer} names the state {name!r}, which is not there"
        if left is None:
            raise RecordError(
                f"{gone}, nor is another. Put it back, or choose another --out; to begin anew here, delete {pointer}."
            )
        return f"{gone}; going on from {left.name}"

    def _last_name(self) -> str | None:
        """What the state that was last is called, there or not; None for a new run."""
        pointer = self.root / STATES / POINTER
        return pointer.read_text("utf-8", "replace").strip() if pointer.is_file() else None

    def require_same(
        self, identity: Mapping[str, Any], free: tuple[str, ...], defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Check that a run with a state goes on as it began. Raises SettingsError with what differs beside ``free``.

        A run that was begun before a setting existed had what is its default, by ``defaults``.
        """
        if self.last_state() is None and not (self.root / STATE_FILE).exists():
            return
        before = atomic.read_json(self.root / IDENTITY)
        if changed := differences(_flat({"defaults": defaults or {}, **before}, free), _flat(identity, free)):
            listed = "\n".join(f"  {line}" for line in changed)
            raise SettingsError(
                f"{self.root}: this run was begun with other settings or data.\n{listed}\n"
                "Put them back to go on, or choose another --out for a new run."
            )

    def begin(self, identity: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Note what the run is and where it runs."""
        atomic.write_json(self.root / IDENTITY, identity, indent=2)
        path = self.root / "environment.json"
        before = atomic.read_json(path) if path.exists() else []
        atomic.write_json(path, [*before, environment], indent=2)

    def partial_state(self, step: int) -> Path:
        """Where the state after ``step`` steps is written before it is whole."""
        return self.root / STATES / f"{_state_name(step)}{PARTIAL}"

    def has_state(self, step: int) -> bool:
        """Whether the state after ``step`` steps is the last one already."""
        last = self.last_state()
        return last is not None and last.name == _state_name(step)

    @contextlib.contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """The empty folder for a new state; whatever fails inside is an OutputError, and the last state stays."""
        partial = self.partial_state(step)
        try:
            partial.mkdir(parents=True, exist_ok=True)
            yield partial
        except (OSError, RuntimeError) as error:  # torch says RuntimeError when a write fails
            cause = self._cause(error)
            shutil.rmtree(partial, ignore_errors=True)
            kept = self.last_state()
            raise OutputError(
                f"{partial}: the checkpoint cannot be written ({cause}). Free some space and start "
                f"again; the run goes on from {kept.name if kept else 'its beginning'}."
            ) from error

    def _cause(self, error: BaseException) -> str:
        """Why writing failed. Torch's own words when a disk is full are of positions in an archive."""
        told: BaseException | None = error
        while told is not None:
            if isinstance(told, OSError):
                return told.strerror or str(told)
            told = told.__cause__ or told.__context__
        free = shutil.disk_usage(self.root).free / (1 << 20)
        return f"{free:.0f} MiB free; {_first_line(error)}"

    def commit(self, step: int) -> None:
        """Make the partial state, whole now, the last one. It has reached the disk before the one before goes."""
        with self.writing(step) as partial:
            for path in partial.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
        final = self.root / STATES / _state_name(step)
        shutil.rmtree(final, ignore_errors=True)
        self.partial_state(step).rename(final)
        atomic.write_text(self.root / STATES / POINTER, final.name + "\n")
        for old in (self.root / STATES).glob("step-*"):
            if old != final:
                shutil.rmtree(old, ignore_errors=True)

    def save_file(self, state: Mapping[str, Any]) -> None:
        """Write a state that is one file; on a full disk OutputError, and the one before is still there."""
        content = io.BytesIO()
        torch.save(dict(state), content)
        atomic.write_bytes(self.root / STATE_FILE, content.getvalue())

    def load_file(self, device: torch.device) -> dict[str, Any] | None:
        """What `save_file` wrote, None for a run that has no such state. Raises RecordError for a damaged one."""
        path = self.root / STATE_FILE
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise RecordError(
                f"{path}: the run's checkpoint is damaged ({_first_line(error)}). Begin the run anew."
            ) from error
        return state


def step_of(state: Path | None) -> int:
    """How many steps the state in this folder is after; 0 for none."""
    return int(state.name.removeprefix("step-")) if state is not None else 0


def environment(device: torch.device, world_size: int) -> dict[str, Any]:
    """Versions and place, for the record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "libraries": {library: version for library in LIBRARIES if (version := _version(library))},
        "device": f"{device} ({name})",
        "processes": world_size,
        "commit": commit_of_code(),
    }


def commit_of_code() -> str:
    """The commit of the running code, with ``+`` after it when files were changed; empty outside a git checkout."""
    root = Path(__file__).parent
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _state_name(step: int) -> str:
    return f"step-{step:07}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _flat(identity: Mapping[str, Any], free: tuple[str, ...]) -> dict[str, Any]:
    """What an identity says, its parts laid together, without the names in ``free``."""
    laid: dict[str, Any] = {}
    for name, value in identity.items():
        laid |= value if isinstance(value, dict) else {name: value}
    return {name: value for name, value in laid.items() if name not in free}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout.strip()
