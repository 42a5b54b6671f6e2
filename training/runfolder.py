"""The one folder that a run leaves, and how it goes on in it.

    run/
      knobs.json            the settings, the classes and the clips' digest: what a resumed run must have in common
      environment.json      versions, device and commit, for every time it was started
      log.jsonl             a line per step and per validation
      tensorboard/          the same as curves
      checkpoints/step-000123/, checkpoints/last     states to go on from, and the name of the newest
      best/, last/          model folders

A state is written under another name and renamed when it is whole; only then does ``last`` name it, and only then is
the one before removed. So a crash or a full disk leaves the last good state.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mousetal import atomic
from mousetal.errors import OutputError, SettingsError
from training.knobs import differences

STATES = "checkpoints"
POINTER = "last"
PARTIAL = ".partial"
IDENTITY = "knobs.json"
LIBRARIES = ("mousetal", "torch", "deepspeed", "numpy", "opencv-python-headless", "av", "tensorboard")


class RunFolder:
    """A run's folder; ``root`` is made when missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic.output_error(root, error) from error

    def last_state(self) -> Path | None:
        """The folder of the newest whole state, None for a new run."""
        pointer = self.root / STATES / POINTER
        if not pointer.is_file():
            return None
        folder = pointer.parent / pointer.read_text("utf-8").strip()
        return folder if folder.is_dir() else None

    def require_same(self, identity: Mapping[str, Any], free: tuple[str, ...]) -> None:
        """Check that a run goes on as it began. Raises SettingsError with the difference; ``free`` may differ."""
        before = atomic.read_json(self.root / IDENTITY)
        parts = [
            differences(_without(before.get(part, {}), free), _without(values, free))
            for part, values in identity.items()
        ]
        if changed := [line for lines in parts for line in lines]:
            listed = "\n".join(f"  {line}" for line in changed)
            raise SettingsError(
                f"{self.root}: this run was begun with other settings or clips.\n{listed}\n"
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
            shutil.rmtree(partial, ignore_errors=True)
            kept = self.last_state()
            raise OutputError(
                f"{partial}: the checkpoint cannot be written ({_first_line(error)}). Free some space and start again; "
                f"the run goes on from {kept.name if kept else 'its beginning'}."
            ) from error

    def commit(self, step: int) -> None:
        """Make the partial state, whole now, the last one."""
        final = self.root / STATES / _state_name(step)
        shutil.rmtree(final, ignore_errors=True)
        self.partial_state(step).rename(final)
        atomic.write_text(self.root / STATES / POINTER, final.name + "\n")
        for old in (self.root / STATES).glob("step-*"):
            if old != final:
                shutil.rmtree(old, ignore_errors=True)


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


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Add a line of JSON to a log. Raises OutputError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(content, ensure_ascii=False) + "\n")
    except OSError as error:
        raise atomic.output_error(path, error) from error


def cut_log(path: Path, steps: int) -> None:
    """Remove what a log says of steps after ``steps``: they will be done again."""
    if not path.exists():
        return
    lines = path.read_text("utf-8").splitlines(keepends=True)
    kept = []
    for line in lines:
        try:
            is_kept = json.loads(line)["step"] <= steps
        except (ValueError, KeyError):  # the line that a kill cut off
            is_kept = False
        if is_kept:
            kept.append(line)
    if kept != lines:
        atomic.write_text(path, "".join(kept))


def _state_name(step: int) -> str:
    return f"step-{step:07}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _without(values: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in dict(values).items() if name not in names}


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
