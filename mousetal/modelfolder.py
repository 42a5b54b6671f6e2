"""Model folders on disk: find out what a path holds, read it, verify it, write one.

A folder of ours holds ``config.json``, ``model.safetensors`` and a card, ``README.md``. Two foreign layouts are told
apart here and read by the packages that know the networks: a pickle (``.pt``/``.pth``, alone or in the folder of a
training run) and a directory as the transformers library writes it. No torch in here.

    located = locate(Path("models/demo-mvd"))
    config, tensors = read(located, MvdConfig)
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from mousetal import atomic
from mousetal.errors import ModelError
from mousetal.modelconfig import AnyConfig, ModelConfig, parse, stated_name, to_json

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
PREPROCESSOR_NAME = "preprocessor_config.json"  # of the transformers library: how pictures are prepared
PICKLE_SUFFIXES = (".pt", ".pth")
# How files of torch.save begin: a zip archive, or before torch 1.6 a pickle of protocol 2 or later.
PICKLE_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# Where training runs leave their best weights, the surest place first.
BEST_PICKLES = (
    "checkpoint-best/mp_rank_00_model_states.pt",
    "mp_rank_00_model_states.pt",
    "checkpoints/best.pth",
    "checkpoint-best.pth",
    "best.pth",
)
NUMBERED_PICKLE = re.compile(r"(?:checkpoints/)?checkpoint-(\d+)(?:\.pth|/mp_rank_00_model_states\.pt)")
# What a training run leaves beside its weights that says what these mean.
RUN_FILES = ("config.txt", "experiment_info.json", "model_config.yml", "model_meta.json")
LISTED_TENSORS = 20

Tensors = dict[str, npt.NDArray[Any]]


class Layout(enum.Enum):
    """What a path holds: a folder of ours, a transformers directory, or a pickle of a training run."""

    MOUSETAL = "mousetal"
    TRANSFORMERS = "transformers"
    PICKLE = "pickle"


@dataclass(frozen=True, slots=True)
class Located:
    """A model found on disk.

    ``name`` is for people: what config.json says, else that of the folder or the file. ``root`` is the model's folder
    (for a pickle: that of its training run), ``weights`` the one file with the weights, ``extras`` the other files
    whose content decides what the model computes or means.
    """

    layout: Layout
    name: str
    root: Path
    weights: Path
    extras: tuple[Path, ...] = ()

    def weights_sha256(self) -> str:
        """Digest of the weights alone."""
        with _open(self.weights) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def sha256(self) -> str:
        """Digest of weights and configuration: models with equal digests give equal results."""
        digest = hashlib.sha256()
        for path in (self.weights, *self.extras):
            with _open(path) as file:
                part = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name} {part}\n".encode())
        return digest.hexdigest()


def locate(path: Path) -> Located:
    """What the folder or weights file ``path`` holds. Raises ModelError when that is no model.

    A weights file ends in .pt or .pth, or has no suffix and begins like a file of torch.save.
    """
    try:
        if path.is_dir():
            return _locate_folder(path)
        if path.name in (WEIGHTS_NAME, CONFIG_NAME):
            return _locate_folder(path.parent)
        if path.is_file() and _is_pickle(path):
            return _located_pickle(path, path.stem)
        found = "this is another file" if path.exists() else "there is nothing"
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    raise ModelError(f"{path}: a model folder or a .pt/.pth file expected, {found}. Check MODEL_DIR and DETECTOR_DIR.")


def read(located: Located, kind: type[AnyConfig]) -> tuple[AnyConfig, Tensors]:
    """Config and tensors of a folder of ours, which must be of the given kind. Raises ModelError."""
    config = read_config(located.root)
    if not isinstance(config, kind):
        raise ModelError(
            f"{located.root}: a model of kind {kind.kind!r} expected, this one is {config.kind!r}. "
            "Are MODEL_DIR (mvd) and DETECTOR_DIR (rtdetrv2) swapped?"
        )
    try:
        tensors = safetensors.numpy.load_file(located.weights)
    except (OSError, safetensors.SafetensorError, TypeError) as error:  # TypeError: numpy knows no bfloat16
        raise ModelError(f"{located.weights}: unreadable ({error}). Copy the model again.") from error
    return config, tensors


def read_config(folder: Path) -> ModelConfig:
    """The config of a folder of ours. Raises ModelError."""
    path = folder / CONFIG_NAME
    return parse(read_object(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in one of a model's files. Raises ModelError."""
    try:
        with _open(path) as file:
            document = json.load(file)
    except ValueError as error:
        raise ModelError(f"{path}: no valid JSON ({error})") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path}: a JSON object expected, got {type(document).__name__}")
    return document


def have_names(titles: Iterable[object]) -> bool:
    """Whether classes of a transformers folder have names: for want of any the library numbers them, "LABEL_0"."""
    return not all(str(title).startswith("LABEL_") for title in titles)


def write(folder: Path, config: ModelConfig, tensors: Mapping[str, npt.NDArray[Any]], card: str) -> None:
    """Writes a model folder; ``card`` is the text of its README.md.

    Each file is replaced as a whole, the config last; other files in the folder stay. Raises OutputError.
    """
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    atomic.write_bytes(folder / WEIGHTS_NAME, safetensors.numpy.save(contiguous))
    atomic.write_text(folder / CARD_NAME, card)
    write_config(folder, config)


def write_config(folder: Path, config: ModelConfig) -> None:
    """Replaces the config of a folder of ours, and leaves weights and card as they are. Raises OutputError."""
    atomic.write_json(folder / CONFIG_NAME, to_json(config), indent=2)


def require_match(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], where: str, advice: str = ""
) -> None:
    """Checks that weights hold exactly the tensors that a network needs, in its shapes; else ModelError lists them."""
    problems = {
        "missing": [f"{name} {shape}" for name, shape in expected.items() if name not in found],
        "unexpected": [f"{name} {shape}" for name, shape in found.items() if name not in expected],
        "misshapen": [
            f"{name} {found[name]} instead of {shape}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ],
    }
    lists = [f"  {len(lines)} {what}: {_abridged(lines)}" for what, lines in problems.items() if lines]
    if lines := "\n".join(lists):
        raise ModelError(f"{where}: the weights do not fit the network. {advice}".rstrip() + f"\n{lines}")


def _abridged(lines: list[str]) -> str:
    hidden = len(lines) - LISTED_TENSORS
    return ", ".join(lines[:LISTED_TENSORS]) + (f", and {hidden} more" if hidden > 0 else "")


def _locate_folder(folder: Path) -> Located:
    config = folder / CONFIG_NAME
    if not config.exists():
        return _located_pickle(_best_pickle(folder), folder.resolve().name)
    document = read_object(config)
    name = folder.resolve().name
    if "format_version" in document:
        layout = Layout.MOUSETAL
        name = stated_name(document, str(config)) or name
    elif "model_type" in document or "architectures" in document:
        layout = Layout.TRANSFORMERS
    else:
        raise ModelError(f"{config}: neither a model of mousetal (format_version) nor of transformers (model_type).")
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise ModelError(f"{folder}: {WEIGHTS_NAME} is missing beside {CONFIG_NAME}. Copy the model again.")
    preparation = folder / PREPROCESSOR_NAME
    has_preparation = layout is Layout.TRANSFORMERS and preparation.is_file()
    return Located(layout, name, folder, weights, (config, preparation) if has_preparation else (config,))


def _best_pickle(folder: Path) -> Path:
    for name in BEST_PICKLES:
        if (folder / name).is_file():
            return folder / name
    pickles = {path.relative_to(folder).as_posix(): path for path in _pickles(folder)}
    numbered = {int(match[1]): path for name, path in pickles.items() if (match := NUMBERED_PICKLE.fullmatch(name))}
    if numbered:
        return numbered[max(numbered)]
    if len(pickles) == 1:
        return next(iter(pickles.values()))
    found = ", ".join(sorted(pickles)) or "none"
    raise ModelError(
        f"{folder}: no model found. Expected {CONFIG_NAME} with {WEIGHTS_NAME}, or one of {', '.join(BEST_PICKLES)}; "
        f"weight files there: {found}. Give the path of the weight file itself if it has another name."
    )


def _pickles(folder: Path) -> Iterable[Path]:
    """Weight files in the folder and one level below."""
    for pattern in ("*", "*/*"):
        yield from (path for path in folder.glob(pattern) if path.suffix in PICKLE_SUFFIXES and path.is_file())


def _is_pickle(file: Path) -> bool:
    """By its suffix; a file without one (a container's mount point has none) by how it begins."""
    if file.suffix:
        return file.suffix in PICKLE_SUFFIXES
    with file.open("rb") as content:
        return content.read(4).startswith(PICKLE_BEGINNINGS)


def _located_pickle(weights: Path, name: str) -> Located:
    """A run's other files lie beside the weights, or one folder up when these have a folder of their own."""
    root = weights.absolute().parent
    is_own_folder = root.name == "checkpoints" or root.name.startswith("checkpoint-")
    if is_own_folder:
        root = root.parent
    extras = tuple(root / file for file in RUN_FILES if (root / file).is_file())
    return Located(Layout.PICKLE, root.name if is_own_folder or extras else name, root, weights, extras)


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
