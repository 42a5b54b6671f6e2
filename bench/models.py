"""The models that are measured: full-size networks with seeded random weights, or the demo models as they are.

Random weights find no animal, and how often the detector is asked in sparse detection depends on what it answers. So
the full-size detector does all of its work, and its answers are then replaced, frame by frame, by those that the demo
detector gave for the same film (`bench.replay`). What the networks themselves said is kept and compared, too.

Nor can it be asked whether it says the same in bf16: among random scores the best change with a digit. Its folder
allows any difference outside of float32, so that the cost can be measured; trained models are asked (`acceptance`).
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import mousetal.detector
import mousetal.mvd
from mousetal import acceptance, int8
from mousetal.acceptance import Tolerances
from mousetal.detector.config import VARIANTS
from mousetal.detector.network import build
from mousetal.detector.predict import best
from mousetal.modelconfig import ClipInput, ImageInput, MvdConfig, RtdetrConfig
from mousetal.modelfolder import CONFIG_NAME
from mousetal.mvd import VisionTransformer, VitConfig
from mousetal.types import BoutRule
from training import quantising

SEED = 0
CLASSES = ("idle", "Self-Grooming", "Head/Body TWITCH")
BOXES = 5  # that the random detector finds on a frame of noise, by its threshold; about 40 on a frame of a film
CARD = "# Random weights\n\nOf full size, for `python -m bench`: they cost what trained ones cost and find nothing.\n"
INPUT_SIZE = 640
CLIP_SIZE = (16, 224)
INT8_INPUTS = 16
ANY_DIFFERENCE = Tolerances(logits=1e9, boxes=1e9)
DEMO = Path(__file__).resolve().parents[1] / "models"


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Two model folders. ``is_random``: what the detector finds means nothing, and is to be replaced."""

    title: str
    detector: Path
    mvd: Path
    is_random: bool


def demo() -> ModelPair:
    return ModelPair("the demo models", DEMO / "demo-detector", DEMO / "demo-mvd", is_random=False)


def full(folder: Path) -> ModelPair:
    """RT-DETRv2 r18vd at 640 and ViT-S 16x224 with 3 classes, written to ``folder`` unless they are there."""
    pair = ModelPair("RT-DETRv2 r18vd at 640, ViT-S 16x224", folder / "r18vd", folder / "vit-small", is_random=True)
    if not (pair.detector / CONFIG_NAME).is_file():  # which is written last
        write_detector(pair.detector)
    if not (pair.mvd / CONFIG_NAME).is_file():
        write_classifier(pair.mvd)
    return pair


def add_int8(pair: ModelPair) -> None:
    """Make int8 graphs, unless they are there. What random weights say in int8 does not matter, what it costs does."""
    images, clips = acceptance.make_images(INPUT_SIZE, INT8_INPUTS), acceptance.make_clips(*CLIP_SIZE, INT8_INPUTS)
    for folder, part_of, inputs in (
        (pair.detector, quantising.detector_part, images), (pair.mvd, quantising.mvd_part, clips)
    ):  # fmt: skip
        if not (folder / int8.FOLDER / int8.ABOUT_NAME).is_file():
            with contextlib.redirect_stdout(sys.stderr):
                quantising.make(part_of(folder, ANY_DIFFERENCE), list(inputs), list(inputs[: quantising.LEAST]))


def write_detector(folder: Path, input_size: int = INPUT_SIZE) -> None:
    """An r18vd of one class, its threshold such that it finds a few boxes."""
    sizes = VARIANTS["r18vd"]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(SEED)
        network = build(sizes)
    config = RtdetrConfig(
        ("mouse",), sizes.to_json(), ImageInput(input_size, 0.0), acceptance=ANY_DIFFERENCE, provenance={"seed": SEED}
    )
    mousetal.detector.save(folder, network, config, CARD)
    noise = np.random.default_rng(SEED).integers(0, 256, (1, input_size, input_size, 3), np.uint8)
    scores, _, _ = best(mousetal.detector.load(folder).forward(noise), [(input_size, input_size)])
    config = replace(config, input=ImageInput(input_size, float(scores[0, BOXES - 1])))
    mousetal.detector.save(folder, network, config, CARD)


def write_classifier(folder: Path) -> None:
    """A vit_small of 3 classes, sampled as the published model is: every 2nd frame, a window every 8 samples."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(SEED)
        # At the usual scale of 0.001 a random head calls every window alike, and nothing could be compared.
        network = VisionTransformer(VitConfig(num_classes=len(CLASSES), init_scale=1.0))
    clip = ClipInput(
        num_frames=CLIP_SIZE[0], sampling_rate=2, input_size=CLIP_SIZE[1], stride=8, crop_padding=0.05, trained_fps=30.0
    )
    config = MvdConfig(CLASSES, 0, {}, clip, (BoutRule(),) * len(CLASSES), provenance={"seed": SEED})
    mousetal.mvd.save(folder, network, config, CARD)
