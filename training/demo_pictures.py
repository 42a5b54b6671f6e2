"""What the demo detector learns from: rendered films, and real boxed frames where they lie beside the checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.detectorknobs import Knobs
from training.real_boxes import load_real
from training.samples import Images, load_images


@dataclass(frozen=True)
class DemoKnobs(Knobs):
    """The detector's knobs, and which pictures are made for it."""

    first_film: int = 11_000
    films: int = 500  # 12 pictures each
    real: tuple[str, ...] = ()  # folders of real boxed frames; those that are absent are left out


def load_data(knobs: DemoKnobs, cache: Path) -> Images:
    """Synthetic pictures and, where their folders are present, real ones."""
    parts = [load_images(range(knobs.first_film, knobs.first_film + knobs.films), knobs.input_size, cache)]
    present = [folder for folder in map(Path, knobs.real) if folder.exists()]
    parts += [load_real(folder, knobs.input_size, is_held_out=False, seed=knobs.seed) for folder in present]
    return Images(np.concatenate([p.images for p in parts]), np.concatenate([p.boxes for p in parts]))
