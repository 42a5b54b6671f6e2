"""What the shipped models find in the shipped videos and, where they lie beside the checkout, in real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

import mousetal.detector
from inference_script.__main__ import main
from mousetal import modelfolder
from mousetal.modelconfig import MvdConfig, RtdetrConfig
from training import demo_models, knobs
from training.boxscores import average_precision
from training.detectorknobs import Knobs as DetectorKnobs
from training.evaluation.share import ratio
from training.evaluation.tally import TOLERANCE_S, tally_results
from training.finetune_knobs import Knobs as FinetuneKnobs
from training.real_boxes import load_real
from training.real_videos import gather
from training.synthetic import BEHAVIORS
from training.train_demo import CONFIGS

GROOM, TWITCH = BEHAVIORS


def drive(root: Path, videos: Path, output: Path) -> int:
    models = ["--detector-dir", root / "models" / "demo-detector", "--model-dir", root / "models" / "demo-mvd"]
    return main([str(word) for word in ("--input", videos, "--output", output, "--device", "cpu", *models)])


def names_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_the_demo_finds_what_is_in_its_videos(root: Path, tmp_path: Path) -> None:
    """A floor under `make demo`; how good the models are is measured by `make demo-eval`, on more films."""
    assert drive(root, root / "videos", tmp_path) == 0
    tallies = tally_results(tmp_path, root / "videos", TOLERANCE_S)
    assert (tallies[GROOM].f1 or 0) >= 0.85
    assert (ratio(tallies[TWITCH].matched, tallies[TWITCH].true_bouts) or 0) >= 0.7


@pytest.mark.slow
def test_real_videos_go_through_and_the_detector_finds_their_animals(root: Path, shared: Path, tmp_path: Path) -> None:
    real = shared / "data" / "real"
    found = gather(real, tmp_path / "all")
    (tmp_path / "videos").mkdir()
    for path in sorted(found)[:2]:
        (tmp_path / "videos" / path.name).symlink_to(path.resolve())
    assert drive(root, tmp_path / "videos", tmp_path / "output") == 0
    for name in names_of(tmp_path / "videos"):
        assert (tmp_path / "output" / "boxes" / f"{name}.csv").stat().st_size > 1000
    detector = mousetal.detector.load(root / "models" / "demo-detector")
    for name in ("rat_action_clips", "openfield_m3v1"):
        held_out = load_real(real / "permissive" / name, detector.spec.input_size, is_held_out=True)
        assert (average_precision(detector.network, held_out) or 0) > 0.8, name


@pytest.mark.parametrize(
    ("folder", "kind", "settings", "config"),
    [
        (demo_models.DETECTOR, RtdetrConfig, DetectorKnobs, "full-detector.toml"),
        (demo_models.CLASSIFIER, MvdConfig, FinetuneKnobs, "full-mvd.toml"),
    ],
)
def test_the_shipped_models_were_made_with_the_settings_that_are_here(
    folder: str, kind: type, settings: type, config: str, root: Path
) -> None:
    made = modelfolder.read(modelfolder.locate(root / "models" / folder), kind)[0].provenance["knobs"]
    here = knobs.as_json(knobs.read(settings, CONFIGS / config))
    given_elsewhere = {"data", "shares", "workers"}  # by the walk, or without effect
    told = sorted(made.keys() & here.keys() - given_elsewhere)  # a setting that came later had its default
    assert len(told) > 30
    assert {name: made[name] for name in told} == {name: here[name] for name in told}
