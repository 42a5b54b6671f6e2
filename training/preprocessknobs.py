"""All settings of `training.preprocess`, and what is refused of them; `training/configs/preprocess.toml` lists them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from mousetal.errors import SettingsError
from training import knobs as settings
from training.clipping import Shape
from training.cutting import CutRules


@dataclass(frozen=True)
class Knobs:
    """Everything that can be turned; see `CutRules` and `Shape` for what clips look like."""

    seed: int = 0
    test_share: float = 0.2  # of the videos, at most ten of them
    validation_share: float = 0.15
    cut: CutRules = field(default_factory=CutRules)
    shape: Shape = field(default_factory=Shape)


def read(path: Path | None) -> Knobs:
    """The settings in a TOML file over the defaults. Raises SettingsError, also for what makes no sense."""
    knobs = settings.read(Knobs, path)
    check(knobs)
    return knobs


def check(knobs: Knobs) -> None:
    """Raises SettingsError for a number outside of its range, for clips would come out wrong without a word."""
    cut, shape, no_end = knobs.cut, knobs.shape, math.inf
    tiny = 1e-3  # seconds; stands for above 0
    for name, value, least, most in (
        ("seed", knobs.seed, 0, no_end),
        ("test_share", knobs.test_share, 0, 1),
        ("validation_share", knobs.validation_share, 0, 1),
        ("cut.clip_s", cut.clip_s, tiny, no_end),
        ("cut.max_bout_s", cut.max_bout_s, tiny, no_end),
        ("cut.window_s", cut.window_s, tiny, no_end),
        ("cut.guard_s", cut.guard_s, 0, no_end),
        ("cut.idle_per_behavior", cut.idle_per_behavior, 0, no_end),
        ("cut.least_idle", cut.least_idle, 0, no_end),
        ("cut.hard_share", cut.hard_share, 0, 1),
        ("shape.input_size", shape.input_size, 1, no_end),
        ("shape.oversize", shape.oversize, 1, no_end),
        ("shape.margin", shape.margin, 0, no_end),
        ("shape.max_side", shape.max_side, 16, no_end),
        ("shape.quality", shape.quality, 1, 100),
    ):
        if not least <= value <= most or value == math.inf:
            wanted = f"from {least:g} to {most:g}" if most < math.inf else f"{least:g} or more"
            raise SettingsError(f"{name}: {wanted} expected, got {value:g}")
    if knobs.test_share + knobs.validation_share >= 1:
        raise SettingsError(
            f"test_share {knobs.test_share:g} and validation_share {knobs.validation_share:g} leave nothing to learn"
        )
