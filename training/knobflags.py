"""Knobs of a program: a frozen dataclass with defaults, then a TOML file, then flags, the last word winning.

    --config training/configs/x.toml --steps 100 --scales 480 512 --turn 0

The comment behind a field is its help text, so that what a knob means is written once.
"""

from __future__ import annotations

import argparse
import inspect
import re
import tomllib
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mousetal.errors import SettingsError

K = TypeVar("K")
COMMENT = re.compile(r"^    (\w+): [^#\n]*(?:#\s*(.*))?$", re.MULTILINE)


def add_flags(parser: argparse.ArgumentParser, kind: type[Any]) -> None:
    """A flag per knob, and ``--config`` for a file of them."""
    parser.add_argument("--config", type=Path, help="TOML file of knobs; flags go before it")
    meanings = {name: meaning for one in reversed(kind.__mro__[:-1]) for name, meaning in _comments(one).items()}
    group = parser.add_argument_group("knobs")
    for field in fields(kind):
        default = field.default
        one = _item_type(default)
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=f"knob_{field.name}",
            type=_truth if one is bool else one,
            nargs="*" if isinstance(default, tuple) else None,
            metavar=one.__name__.upper(),
            help=f"{meanings.get(field.name, '')} (default: {default!r})".replace("%", "%%").strip(),
        )


def read(kind: type[K], arguments: argparse.Namespace) -> K:
    """The knobs of a command line. Raises SettingsError for an unknown key or a value of another type."""
    knobs = read_file(kind, arguments.config)
    given = {name.removeprefix("knob_"): value for name, value in vars(arguments).items() if name.startswith("knob_")}
    changes = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items() if v is not None}
    return replace(knobs, **changes)  # type: ignore[type-var]


def read_file(kind: type[K], path: Path | None) -> K:
    """The knobs in a TOML file, defaults for the rest. Raises SettingsError."""
    if path is None:
        return kind()
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: expected a TOML file of knobs ({error}).") from error
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - defaults.keys()):
        raise SettingsError(f"{path}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(defaults))}")
    return kind(**{name: _checked(value, defaults[name], f"{path}: {name}") for name, value in values.items()})


def _checked(value: Any, default: Any, where: str) -> Any:
    if isinstance(default, tuple):
        wanted = _item_type(default)
        items = value if isinstance(value, list) else [value]
        return tuple(_plain(item, wanted, where) for item in items)
    return value if default is MISSING else _plain(value, type(default), where)


def _plain(value: Any, wanted: type, where: str) -> Any:
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise SettingsError(f"{where}: expected a {wanted.__name__}, got {value!r}")
    return value


def _item_type(default: Any) -> type:
    """The type of a knob's value; of a list's items, which an empty default leaves to be text."""
    if isinstance(default, tuple):
        return type(default[0]) if default else str
    return type(default)


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"true or false expected, got {text!r}")
    return words[text.lower()]


def _comments(kind: type[Any]) -> dict[str, str]:
    return {name: meaning or "" for name, meaning in COMMENT.findall(inspect.getsource(kind))}
