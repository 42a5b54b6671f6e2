"""The text of a fine-tuned model's card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mousetal.types import ClassifierSpec


def card(name: str, spec: ClassifierSpec, clips: int, step: int, metrics: Mapping[str, Any]) -> str:
    """README.md of a model folder; ``metrics`` is what validation said after which step, or why it said nothing."""
    per_class = metrics.get("classes") or {}
    rows = "".join(f"| {c} | {_shown(v['frame_f1'])} | {_shown(v['event_f1'])} |\n" for c, v in per_class.items())
    measured = f"Not measured on validation clips: {metrics.get('note', 'there were none')}.\n"
    if rows:
        merit = _shown(metrics["merit"])
        measured = f"""\
Measured on validation clips after step {metrics["step"]} of training, merit {merit}. By such numbers the best weights
of a run are chosen, so expect less on other animals; what to believe is in the evaluation on test videos.

| behaviour | frame F1 | event F1 |
| --- | --- | --- |
{rows}"""
    return f"""\
# {name}

A video transformer that tells these behaviours apart in clips of one animal, in this order of classes:
{", ".join(spec.classes)}.

- Input: {spec.num_frames} frames, one of every {spec.sampling_rate} at {spec.trained_fps or 0:g} frames per second,
  of the square around the animal at {spec.input_size} x {spec.input_size} pixels.
- Trained by `python -m training.finetune_mvd` on {clips} clips; weights after step {step}. All settings are in
  `config.json` under `provenance`.
- The bout rules in `config.json` are defaults until `training.evaluate` has tuned them on validation videos.

{measured}"""


def _shown(value: float | None) -> str:
    return "NA" if value is None else f"{value:.3f}"
