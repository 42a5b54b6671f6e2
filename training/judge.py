"""Scores weights on the validation clips, and writes them as model folders that the service loads as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

import mousetal.mvd
from mousetal.execution import AUTOCAST_TYPES
from mousetal.modelconfig import plain_name
from mousetal.mvd import VisionTransformer, VitConfig
from training import runfolder
from training.engine import Place, gathered
from training.finetune_card import card
from training.finetune_data import Data
from training.finetune_knobs import Knobs, model_config
from training.knobs import as_json
from training.validation import Validation, Windows, joined, validate

Weights = Mapping[str, Tensor]


class Judge:
    """Holds a network of its own in float32, whichever way the engine keeps its weights.

    Its models are called as the run's folder ``root`` is: all runs' folders of models have the same names.
    """

    def __init__(self, config: VitConfig, knobs: Knobs, data: Data, place: Place, root: Path) -> None:
        self.knobs, self.data, self.place, self.root = knobs, data, place, root
        self.network = VisionTransformer(replace(config, drop_path=0.0)).to(place.device)

    def score(self, weights: Weights) -> Validation:
        """How these weights do on the validation clips, which all processes share out among themselves."""
        self.network.load_state_dict(weights)
        data, place, knobs = self.data, self.place, self.knobs
        part = validate(
            self.network, Windows(data.validation, data.spec, data.is_short),
            range(place.rank, len(data.validation), place.world_size), max(1, int(1.5 * knobs.batch)), knobs.workers,
            knobs.event_tolerance_s, AUTOCAST_TYPES[knobs.precision],
        )  # fmt: skip
        return joined(gathered(part, place))

    def export(self, name: str, weights: Weights, step: int, metrics: Mapping[str, Any]) -> None:
        """Write the run's model folder ``name``; one process does. Raises OutputError."""
        if not self.place.is_first:
            return
        self.network.load_state_dict(weights)
        data = self.data
        provenance = {
            "made_by": "python -m training.finetune_mvd", "step": step, "validation": dict(metrics),
            "short_classes": data.short_names, "knobs": as_json(self.knobs), "clips_sha256": data.digest,
            "commit": runfolder.commit_of_code(),
        }  # fmt: skip
        called = plain_name(self.root.resolve().name)
        text = card(called, data.spec, len(data.train), step, metrics)
        mousetal.mvd.save(self.root / name, self.network, model_config(data.spec, called, provenance), text)


def summary(found: Validation, classes: tuple[str, ...]) -> dict[str, Any]:
    """A validation as a log holds it: the means, and frame and event F1 of each class; null where undefined."""
    per_class = {
        name: {"frame_f1": rounded(one.frame_f1), "event_f1": rounded(one.event_f1)}
        for i, (name, one) in enumerate(zip(classes, found.counts, strict=True))
        if i != found.background
    }
    return {
        "merit": rounded(found.merit), "frame_f1": rounded(found.frame_f1), "event_f1": rounded(found.event_f1),
        "loss": rounded(found.loss), "classes": per_class,
    }  # fmt: skip


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def shown(value: float | None) -> str:
    return "NA" if value is None else f"{value:.3f}"
