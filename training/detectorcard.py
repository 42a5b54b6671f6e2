"""The model folder of a training run's best detector, with its card and its score threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import RTDetrV2ForObjectDetection

import mousetal
import mousetal.detector
from mousetal import atomic
from mousetal.detector.config import NetworkConfig, variant_name
from mousetal.modelconfig import ImageInput, RtdetrConfig, plain_name
from training import runfolder
from training.boxscores import Found, best_threshold
from training.knobs import as_json

FALLBACK_THRESHOLD = 0.4  # where no box of the validation pictures was met


def keep_best(out: Path, network: RTDetrV2ForObjectDetection, sizes: NetworkConfig, knobs: Any, classes: Sequence[str],
              found: Sequence[Found], metrics: Mapping[str, Any]) -> None:  # fmt: skip
    """Write ``out/best`` with the threshold of the best F1 at IoU 0.5 on what was ``found``, and ``metrics.json``."""
    chosen = best_threshold(found)
    threshold, f1 = chosen if chosen is not None else (FALLBACK_THRESHOLD, None)
    metrics = {**metrics, "F1": f1, "threshold": round(threshold, 3), "validation_pictures": len(found)}
    write(out / runfolder.BEST, network, sizes, knobs, classes, threshold, metrics)
    atomic.write_json(out / runfolder.METRICS, metrics)


def write(folder: Path, network: RTDetrV2ForObjectDetection, sizes: NetworkConfig, knobs: Any, classes: Sequence[str],
          threshold: float, metrics: Mapping[str, Any]) -> None:  # fmt: skip
    """Write a run's model folder, called as the run's folder is. ``knobs`` is the dataclass the run was made with."""
    name = plain_name(folder.resolve().parent.name)
    made = {"made_by": "python -m training.train_detector", "version": _version(), "knobs": as_json(knobs)}
    config = RtdetrConfig(
        classes=tuple(classes), network=sizes.to_json(),
        input=ImageInput(knobs.input_size, round(min(max(threshold, 0.01), 0.99), 3)),
        provenance={**made, "metrics": dict(metrics)}, name=name,
    )  # fmt: skip
    mousetal.detector.save(folder, network, config, _card(config, sizes, metrics))


def shown(value: object) -> str:
    """A number as people read it; NA for one that is undefined."""
    if value is None:
        return "NA"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _card(config: RtdetrConfig, sizes: NetworkConfig, metrics: Mapping[str, Any]) -> str:
    knobs = config.provenance["knobs"]
    rows = "".join(f"| {key} | {shown(value)} |\n" for key, value in metrics.items())
    measured = (
        "Measured on validation pictures of animals or videos that it was not trained on (averaged weights; AP as\n"
        f"COCO defines it; F1 at IoU 0.5 and the threshold):\n\n| measured | value |\n| --- | --- |\n{rows}"
        if rows
        else "There was nothing to validate on: how good it is was not measured, and the score threshold is a guess.\n"
    )
    return f"""\
# {config.name}

An RT-DETRv2 ({variant_name(sizes)}) that finds: {", ".join(config.classes)}.

- Input: the whole frame at {config.input.input_size} x {config.input.input_size} pixels.
  Boxes that score below {config.input.score_threshold} are dropped.
- Trained for {knobs["steps"]} steps of {knobs["batch"]} pictures, seed {knobs["seed"]},
  from {knobs["start"] or "random weights"}, on {", ".join(knobs["data"]) or "pictures made in memory"}.
- Made by `{config.provenance["made_by"]}`, mousetal {config.provenance["version"]}; all settings are in `config.json`.

{measured}"""


def _version() -> str:
    return str(getattr(mousetal, "__version__", ""))
