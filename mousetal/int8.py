"""A network's int8 graph, which lies in its model folder beside weights that stay what they are.

    int8/graph.xml, graph.bin   OpenVINO's form of the network, calibrated on videos (`training.quantise`)
    int8/inputs.npz             some of the pictures or clips that it was not calibrated on
    int8/about.json             of which weights it was made, and how far its answers may lie from torch's in float32

At every start the graph has to stay within that on these inputs (`acceptance`), else a service does without it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mousetal import atomic, openvinoquiet
from mousetal.acceptance import Tolerances
from mousetal.errors import RecordError, SettingsError
from mousetal.modelfolder import Located
from mousetal.types import UInt8Array

FOLDER = "int8"
GRAPH_NAME = "graph.xml"
WEIGHTS_NAME = "graph.bin"
INPUTS_NAME = "inputs.npz"
ABOUT_NAME = "about.json"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What lies beside a graph: inputs to judge it on, uint8 (n, ...) as the network's, and what is allowed there."""

    inputs: UInt8Array
    allowed: Tolerances


def folder_of(located: Located) -> Path:
    return located.root / FOLDER


def read(located: Located) -> Stored:
    """What lies beside the graph. Raises SettingsError when there is none, or it was made of other weights."""
    folder = folder_of(located)
    advice = "Make one with python -m training.quantise."
    if not (folder / ABOUT_NAME).is_file():
        raise SettingsError(f"{located.root} holds no int8 graph. {advice}")
    try:
        about = atomic.read_json(folder / ABOUT_NAME)
        if about["weights"] != located.weights_sha256():
            raise SettingsError(f"{folder} was made of other weights than lie there now. {advice}")
        allowed = Tolerances(float(about["allowed"]["logits"]), float(about["allowed"]["boxes"]))
        inputs = atomic.read_arrays(folder / INPUTS_NAME)["inputs"]
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{folder} is damaged ({error}). {advice}") from error
    return Stored(inputs, allowed)


def read_model(located: Located) -> Any:
    """The graph as OpenVINO's own model. Raises RuntimeError when it is unreadable; whose it is, `read` tells."""
    return openvinoquiet.imported().Core().read_model(folder_of(located) / GRAPH_NAME)


def sha256(located: Located, model: str) -> str:
    """Digest of the graph and the model whose own is ``model``: with this graph it gives other results."""
    digest = hashlib.sha256(model.encode())
    for name in (GRAPH_NAME, WEIGHTS_NAME):
        digest.update((folder_of(located) / name).read_bytes())
    return digest.hexdigest()


def describe(folder: Path, located: Located, inputs: UInt8Array, allowed: Tolerances, made: dict[str, Any]) -> None:
    """Complete a folder in which the graph lies; ``made`` tells people how. The description, written last, makes it
    valid. Raises OutputError.
    """
    atomic.write_arrays(folder / INPUTS_NAME, {"inputs": inputs})
    about = {"weights": located.weights_sha256(), "allowed": asdict(allowed), "made": made}
    atomic.write_json(folder / ABOUT_NAME, about, indent=2)
