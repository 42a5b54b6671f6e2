"""The settings of a training run of the reference system, from its ``config.txt`` or the arguments in its checkpoint.

``config.txt`` has one setting a line: the name, padded to 20 columns, a space, the value as Python prints it (nothing
for an empty text). A resumed run appends all settings again; the last ones count. Only the settings that shape the
network or its clips are used here. The flags ``use_cls_token`` and ``use_mean_pooling`` are not: the names of the
weights tell them, and surely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mousetal.errors import ModelError

# What the reference system assumes where a run does not say.
DEFAULTS = {"num_frames": 16, "num_segments": 1, "sampling_rate": 4, "input_size": 224}


@dataclass(frozen=True, slots=True)
class RunSettings:
    """``num_frames`` counts all frames of a clip. None: not said; ``defaulted``: names of assumed settings."""

    num_frames: int
    sampling_rate: int
    input_size: int
    model: str | None = None
    num_classes: int | None = None
    tubelet_size: int | None = None
    defaulted: tuple[str, ...] = ()


def read_text(path: Path) -> dict[str, str]:
    """All settings of a ``config.txt`` by name, as text. Raises ModelError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as a config.txt ({error})") from error
    pairs = (line.split(maxsplit=1) for line in text.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def settings(values: Mapping[str, object], where: str) -> RunSettings:
    """The settings that matter among ``values``. Raises ModelError, naming ``where``, for a value that is no number."""
    numbers = {name: _whole_number(values, name, where) for name in (*DEFAULTS, "nb_classes", "tubelet_size")}
    defaulted = tuple(name for name in DEFAULTS if name != "num_segments" and numbers[name] is None)
    known = {name: numbers[name] or default for name, default in DEFAULTS.items()}
    model = values.get("model")
    return RunSettings(
        num_frames=known["num_frames"] * known["num_segments"],
        sampling_rate=known["sampling_rate"],
        input_size=known["input_size"],
        model=None if model is None else str(model),
        num_classes=numbers["nb_classes"],
        tubelet_size=numbers["tubelet_size"],
        defaulted=defaulted,
    )


def _whole_number(values: Mapping[str, object], name: str, where: str) -> int | None:
    text = str(values.get(name, "None"))
    if text == "None":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise ModelError(f"{where}: {name} should be a whole number above 0, got {text!r}")
    return int(text)
