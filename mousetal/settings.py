"""Settings of the programs: the only module that reads the environment and `.env`.

A flag beats the environment, the environment beats `.env`, and a blank value means the default. Relative paths in
`.env` are relative to that file; those of flags and of the environment to the current directory.

    parser = settings.add_flags(argparse.ArgumentParser(), "driver")
    config = settings.read_driver(parser.parse_args())
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values

from mousetal.errors import SettingsError
from mousetal.settingkeys import DRIVER, KEYS, Program, keys_of
from mousetal.settingvalue import Value

DEFAULT_LISTEN = {"detector": "127.0.0.1:50051", "mvd": "127.0.0.1:50052"}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The three PEM files of TLS; all None means plain text."""

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    @property
    def is_enabled(self) -> bool:
        return any((self.cert, self.key, self.ca))


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """What `python -m inference_script` was asked to do. Paths are absolute; None means "not set"."""

    input: Path
    input_name: str
    output: Path
    model_dir: Path | None
    detector_dir: Path | None
    formats: tuple[str, ...]
    class_names: tuple[str, ...] | None
    detection_threshold: float | None
    max_gap_s: float
    detect_every: int
    videos_at_once: int
    reference_compat: bool
    device: str
    precision: str
    backend: str
    compile: bool
    threads: int
    detector_address: str
    mvd_address: str
    tls: TlsFiles
    service_timeout_s: float
    start_timeout_s: float
    log_level: str
    notes: tuple[str, ...] = ()

    @property
    def is_embedded(self) -> bool:
        """Whether the driver starts both services itself."""
        return not self.detector_address and not self.mvd_address


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What one model service is to load and where it is to listen. ``threads`` 0 means one per core.

    ``class_names`` are the MVD service's alone.
    """

    kind: Literal["detector", "mvd"]
    model_dir: Path
    listen: str
    device: str
    precision: str
    backend: str
    compile: bool
    threads: int
    class_names: tuple[str, ...] | None
    tls: TlsFiles
    log_level: str
    notes: tuple[str, ...] = ()


def add_flags(parser: argparse.ArgumentParser, program: Program) -> argparse.ArgumentParser:
    """Give ``parser`` one flag per key of ``program``, and ``--env FILE``; returns it."""
    parser.add_argument("--env", metavar="FILE", help="settings file (default: .env in the current directory, if any)")
    for key in keys_of(program):
        shown = f"{key.help} [{key.name}; default: {key.default or 'none'}]".replace("%", "%%")
        if key.is_switch:
            parser.add_argument(key.flag, dest=key.name, nargs="?", const="1", metavar="0|1", help=shown)
        else:
            parser.add_argument(key.flag, dest=key.name, metavar="|".join(key.choices) or "VALUE", help=shown)
    return parser


def read_driver(arguments: argparse.Namespace, environ: Mapping[str, str] | None = None) -> DriverSettings:
    """The driver's settings out of parsed flags, the environment and `.env`.

    Raises SettingsError naming the key, the value, where it came from and what was expected.
    """
    values, notes = _collect("driver", arguments, environ)
    named = values["FORMATS"].names()
    found = DriverSettings(
        input=values["INPUT"].required_path(),
        input_name=Path(values["INPUT_NAME"].text or values["INPUT"].required_path()).name,
        output=values["OUTPUT"].required_path(),
        model_dir=values["MODEL_DIR"].path(),
        detector_dir=values["DETECTOR_DIR"].path(),
        formats=("csv", "json", *(name for name in named if name not in ("csv", "json"))),
        class_names=values["CLASS_NAMES"].names() or None,
        detection_threshold=_optional_share(values["DETECTION_THRESHOLD"]),
        max_gap_s=values["MAX_GAP_S"].number(0, 3600),
        detect_every=values["DETECT_EVERY"].whole_or_auto(1, 1000),
        videos_at_once=values["VIDEOS_AT_ONCE"].whole(1, 64),
        reference_compat=values["REFERENCE_COMPAT"].switch(),
        device=values["DEVICE"].device(),
        precision=values["PRECISION"].choice(),
        backend=values["BACKEND"].choice(),
        compile=values["COMPILE"].switch(),
        threads=values["THREADS"].whole(0, 4096),
        detector_address=values["DETECTOR_ADDRESS"].address(),
        mvd_address=values["MVD_ADDRESS"].address(),
        tls=_tls(values),
        service_timeout_s=values["SERVICE_TIMEOUT_S"].number(0.1, 86400),
        start_timeout_s=values["START_TIMEOUT_S"].number(0.1, 86400),
        log_level=values["LOG_LEVEL"].choice(),
        notes=notes,
    )
    _check_addresses(found)
    return found


def read_service(
    kind: Literal["detector", "mvd"], arguments: argparse.Namespace, environ: Mapping[str, str] | None = None
) -> ServiceSettings:
    """One service's settings out of parsed flags, the environment and `.env`; raises SettingsError."""
    values, notes = _collect(kind, arguments, environ)
    is_mvd = kind == "mvd"
    model = values["MODEL_DIR" if is_mvd else "DETECTOR_DIR"]
    return ServiceSettings(
        kind=kind,
        model_dir=model.required_path(),
        listen=values["LISTEN"].address() or DEFAULT_LISTEN[kind],
        device=values["DEVICE"].device(),
        precision=values["PRECISION"].choice(),
        backend=values["BACKEND"].choice(),
        compile=values["COMPILE"].switch(),
        threads=values["THREADS"].whole(0, 4096),
        class_names=(values["CLASS_NAMES"].names() or None) if is_mvd else None,
        tls=_tls(values),
        log_level=values["LOG_LEVEL"].choice(),
        notes=notes,
    )


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: this one's with ``changes`` on top."""
    return {**os.environ, **changes}


def _collect(
    program: Program, arguments: argparse.Namespace, environ: Mapping[str, str] | None
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Every key's value by the order flag, environment, file, default; and notes on keys that look misspelt."""
    environ = os.environ if environ is None else environ
    file = _env_file(arguments.env)
    in_file = {name: text or "" for name, text in dotenv_values(file).items()} if file else {}
    values = {}
    for key in keys_of(program):
        flag = getattr(arguments, key.name, None)
        if flag is not None:
            value = Value(key, flag.strip(), f"from {key.flag}", Path.cwd())
        elif key.name in environ:
            value = Value(key, environ[key.name].strip(), "from the environment", Path.cwd())
        else:
            value = Value(key, in_file.get(key.name, "").strip(), f"from {file}", file.parent if file else Path.cwd())
        values[key.name] = value if value.text else Value(key, key.default, "the default", value.base)
    return values, tuple(_misspelt(in_file, file))


def _env_file(named: str | None) -> Path | None:
    """The settings file to read: the one named by --env, else `.env` here, else none."""
    if named is None:
        here = Path.cwd() / ".env"
        return here if here.is_file() else None
    path = Path(named).expanduser().absolute()
    if not path.is_file():
        raise SettingsError(f"--env: expected a settings file, found none at {path}.")
    return path


def _misspelt(in_file: Mapping[str, str], file: Path | None) -> list[str]:
    """One sentence per key of the file that nobody reads but that is nearly one of ours."""
    known = [key.name for key in KEYS]
    near = {name: difflib.get_close_matches(name, known, 1, 0.8) for name in in_file if name not in known}
    return [f"{file}: {name} is not a setting; did you mean {match[0]}?" for name, match in near.items() if match]


def _optional_share(value: Value) -> float | None:
    return value.number(0, 1) if value.text else None


def _tls(values: Mapping[str, Value]) -> TlsFiles:
    """The TLS files, checked to exist; a certificate without its key (or the reverse) is refused."""
    cert, key, ca = (values[name].path() for name in ("TLS_CERT", "TLS_KEY", "TLS_CA"))
    if (cert is None) != (key is None):
        raise SettingsError("TLS_CERT and TLS_KEY belong together: set both, or neither.")
    for name, path in (("TLS_CERT", cert), ("TLS_KEY", key), ("TLS_CA", ca)):
        if path is not None and not path.is_file():
            raise SettingsError(f"{name}: expected a PEM file, found none at {path}.")
    return TlsFiles(cert, key, ca)


def _check_addresses(found: DriverSettings) -> None:
    """Both services are elsewhere, or both are ours to start, and then their models must be named."""
    if bool(found.detector_address) != bool(found.mvd_address):
        raise SettingsError(
            "DETECTOR_ADDRESS and MVD_ADDRESS belong together: set both to use running services, "
            "or neither to have the driver start them."
        )
    if not found.is_embedded:
        return
    for name, path in (("MODEL_DIR", found.model_dir), ("DETECTOR_DIR", found.detector_dir)):
        help_text = next(key.help for key in keys_of(DRIVER) if key.name == name)
        if path is None:
            raise SettingsError(f"{name} is not set: expected {help_text}. Set it in .env or give it as a flag.")
        if not path.exists():
            raise SettingsError(f"{name}: expected {help_text}, found nothing at {path}.")
