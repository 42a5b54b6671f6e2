"""One network in int8: by NNCF, judged beside the network in float32, and put into its model folder if it is good."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import mousetal.detector
import mousetal.mvd
from mousetal import int8, modelfolder, openvinoquiet
from mousetal.acceptance import Tolerances, Verdict
from mousetal.atomic import output_error
from mousetal.detector import backends as detecting
from mousetal.errors import OutputError, RecordError, SettingsError
from mousetal.execution import Execution
from mousetal.modelfolder import Located
from mousetal.mvd import backends as classifying
from mousetal.types import UInt8Array
from training import calibration

LEAST = 8  # inputs to calibrate on, and to check on
STORED = 8  # of the latter, for the check at every start: the exact network takes a second or so for each
ROUNDS = 5
PRECISIONS = ("fp32", "bf16", "int8")

Answering = Callable[[UInt8Array], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A network to be made faster.

    ``model`` is OpenVINO's form of it, ``exact`` torch's answers, ``fast`` makes answers of a model; ``judge`` compares
    both by ``allowed``.
    """

    title: str
    located: Located
    model: Any
    exact: Answering
    fast: Callable[[Any, Execution], Answering]
    judge: Callable[[list[Any], list[Any], Tolerances], Verdict]
    allowed: Tolerances


def detector_part(path: Path, allowed: Tolerances) -> Part:
    """Raises ModelError."""
    loaded = mousetal.detector.load(path)
    return Part(
        "detector", modelfolder.locate(path), detecting.openvino_model(loaded.network, loaded.config),
        loaded.forward, detecting.OpenvinoForward,
        partial(detecting.judge, score_threshold=loaded.spec.score_threshold), allowed,
    )  # fmt: skip


def mvd_part(path: Path, allowed: Tolerances) -> Part:
    """Raises ModelError."""
    loaded = mousetal.mvd.load(path)
    exact = classifying.TorchLogits(loaded.network, loaded.config, Execution.on("cpu", "fp32", False))
    return Part(
        "action model", modelfolder.locate(path), classifying.openvino_model(loaded.network, loaded.config),
        exact, classifying.OpenvinoLogits, classifying.judge, allowed,
    )  # fmt: skip


def make(part: Part, inputs: Sequence[UInt8Array], checks: Sequence[UInt8Array]) -> bool:
    """Calibrate on ``inputs``, compare on ``checks``, and keep the graph if it is near enough; says so, too.

    Raises RecordError when there are too few of either, OutputError.
    """
    for given, purpose in ((inputs, "to calibrate on"), (checks, "to check on")):
        if len(given) < LEAST:
            raise RecordError(
                f"{part.title}: at least {LEAST} inputs {purpose} expected, got {len(given)}. "
                "Give more or longer videos in which the animal is seen."
            )
    execution = Execution.on("cpu", "int8", False, "openvino")
    model = _quantised(part.model, inputs)
    fast = part.fast(model, execution)
    exact_answers, fast_answers = ([answer(one[None]) for one in checks] for answer in (part.exact, fast))
    verdict = part.judge(exact_answers, fast_answers, part.allowed)
    print(f"{part.title} {part.located.name}: {verdict} on {len(checks)} inputs of other videos")
    if verdict.problem:
        print(f"  not kept: {verdict.problem}")
        return False
    seconds = _seconds(part, model, np.stack(checks[:STORED]))
    print("  seconds an item here: " + ", ".join(f"{name} {value:.4f}" for name, value in seconds.items()))
    if seconds["int8"] >= seconds["fp32"]:
        print("  no gain on this CPU: leave PRECISION as it is here")
    differences = {"logits": verdict.logits, "boxes": verdict.boxes}
    made = {"inputs": len(inputs), "checks": len(checks), "largest_differences": differences}
    _keep(part, model, np.stack(calibration.spread(checks, STORED)), made)
    print(f"  kept in {int8.folder_of(part.located)}")
    return True


def _quantised(model: Any, inputs: Sequence[UInt8Array]) -> Any:
    os.environ["NNCF_CI"] = "1"  # else it would report its use over the network
    openvinoquiet.silence()
    try:
        import nncf
    except ImportError as error:
        raise SettingsError("nncf is not installed here. pip install -r requirements/training.txt") from error
    nncf.set_log_level(logging.WARNING)
    data = nncf.Dataset([one[None] for one in inputs])
    with contextlib.redirect_stdout(sys.stderr):  # its progress
        return nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(inputs))


def _seconds(part: Part, model: Any, items: UInt8Array) -> dict[str, float]:
    """Medians per item with all cores at work, in turns, of the precisions that this CPU has."""
    ways: dict[str, Answering] = {}
    for precision in PRECISIONS:
        try:
            execution = Execution.on("cpu", precision, False, "openvino")
            ways[precision] = part.fast(model if precision == "int8" else part.model, execution)
        except SettingsError:
            continue
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):  # the first does not count
        for name, answer in ways.items():
            begun = time.perf_counter()
            answer(items)
            taken[name].append((time.perf_counter() - begun) / len(items))
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def _keep(part: Part, model: Any, inputs: UInt8Array, made: dict[str, Any]) -> None:
    """In place of an earlier graph at once, when all of the new one is written."""
    openvino = openvinoquiet.imported()
    folder = int8.folder_of(part.located)
    new = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        new.mkdir()
        try:
            openvino.save_model(model, new / int8.GRAPH_NAME, compress_to_fp16=False)
            int8.describe(new, part.located, inputs, part.allowed, made)
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise output_error(folder, error) from error
    except RuntimeError as error:  # how OpenVINO says that it cannot write
        raise OutputError(f"{folder}: cannot be written ({str(error).splitlines()[0]}). Check the disk.") from error
