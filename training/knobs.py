"""Settings of a training program: one frozen dataclass, read from a TOML file and overridden by flags.

    @dataclass(frozen=True)
    class Knobs:
        batch: int = knob(12, "windows per process and micro-step")

    add_flags(parser, Knobs)                                   # --batch 12; --num-sample or --num_sample
    knobs = read(Knobs, Path("x.toml"), parser.parse_args())   # default, then file, then flag

A field is a bool, int, float, str, or a tuple of one of them; a file may give one value where a tuple is meant. A field
that is a dataclass itself is a table of the file and has no flags.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mousetal.errors import SettingsError

CHECKOUT = Path(__file__).parents[1]
CONFIGS = Path("training/configs")

T = TypeVar("T")
K = TypeVar("K")
TRUTH = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def knob(default: T, text: str) -> T:
    """A field with its default and what it means, unit and reason included."""
    return field(default=default, metadata={"help": text})


def add_flags(parser: argparse.ArgumentParser, kind: type[Any]) -> None:
    """A flag for every knob, with its text and default in ``--help``."""
    group = parser.add_argument_group("settings (also keys of the --config file)")
    for one in fields(kind):
        shown = " ".join(map(str, one.default)) if isinstance(one.default, tuple) else str(one.default)
        many: dict[str, Any] = {"nargs": "*"} if isinstance(one.default, tuple) else {}
        text = f"{one.metadata.get('help', '')} [{shown or 'none'}]".replace("%", "%%")
        names = dict.fromkeys((f"--{one.name.replace('_', '-')}", f"--{one.name}"))
        group.add_argument(*names, dest=one.name, default=None, metavar="VALUE", help=text, **many)


def read(kind: type[K], path: Path | None, flags: argparse.Namespace | None = None) -> K:
    """The knobs from defaults, then the TOML file, then flags that were given. Raises SettingsError.

    ``training/configs/...`` means ours from everywhere, unless there is such a file in the current directory.
    """
    document: dict[str, Any] = {}
    if path is not None:
        try:
            document = tomllib.loads(_found(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path}: expected a TOML file of settings ({error})") from error
    values = _table(kind, document, f"{path}: ")
    for name, hint in get_type_hints(kind).items():
        text = getattr(flags, name, None) if flags is not None else None
        if text is not None:
            values[name] = _parsed(text, hint, f"--{name}")
    return kind(**values)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What changed between two sets of settings, a line each: ``batch: 8 -> 16``."""
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name}: {before.get(name, 'not set')} -> {after.get(name, 'not set')}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def as_json(knobs: Any) -> dict[str, Any]:
    """The knobs as JSON gives them back: lists for tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(knobs).items()}


def _found(path: Path) -> Path:
    """The file to read. In the training image the current directory is the lab's data and the code lies elsewhere."""
    is_ours = path.is_relative_to(CONFIGS) and not path.exists() and (CHECKOUT / path).is_file()
    return CHECKOUT / path if is_ours else path


def _table(kind: type[Any], table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a table of a TOML file gives of a dataclass's fields."""
    hints = get_type_hints(kind)
    known = [one.name for one in fields(kind)]
    if unknown := sorted(table.keys() - set(known)):
        raise SettingsError(f"{where}unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return {name: _checked(value, hints[name], f"{where}{name}") for name, value in table.items()}


def _checked(value: Any, hint: Any, where: str) -> Any:
    """A value of a TOML file, as the field's type."""
    if get_origin(hint) is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_checked(one, get_args(hint)[0], where) for one in items)
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, dict):
            raise SettingsError(f"{where}: a table expected, got {value!r}")
        return hint(**_table(hint, value, f"{where}."))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise SettingsError(f"{where}: {hint.__name__} expected, got {value!r}")
    return value


def _parsed(text: Any, hint: Any, where: str) -> Any:
    """The text of a flag, as the field's type."""
    if get_origin(hint) is tuple:
        return tuple(_parsed(one, get_args(hint)[0], where) for one in text)
    if hint is bool:
        if text.lower() not in TRUTH:
            raise SettingsError(f"{where}: true or false expected, got {text!r}")
        return TRUTH[text.lower()]
    try:
        return hint(text)
    except ValueError as error:
        raise SettingsError(f"{where}: {hint.__name__} expected, got {text!r}") from error
