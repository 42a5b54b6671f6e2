"""Settings of a detector's training, its rates, and what is refused before it starts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mousetal.detector.config import NetworkConfig
from mousetal.detector.network import build
from mousetal.errors import ModelError, RecordError, SettingsError
from training import exitcodes, train_detector
from training.detectorknobs import Knobs, check
from training.filmpictures import film_images
from training.knobs import add_flags, read
from training.pictures import Images
from training.synthetic import Film
from training.team import Team
from training.weightaverage import Average

KNOBS = Knobs(
    input_size=64, width=8, hidden_dim=16, decoder_layers=1, num_queries=10, num_denoising=4, batch=4, steps=4,
    warmup=2, learning_rate=2e-3, save_every=2, evaluate_every=2, print_every=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def images() -> Images:
    return film_images(Film(1, 2.0, size=(160, 120)), KNOBS.input_size, count=2)


def test_norms_and_biases_have_no_decay_and_the_backbone_its_own_rate() -> None:
    network = build(train_detector.network_config(KNOBS))
    groups = train_detector.parameter_groups(network, replace(KNOBS, backbone_factor=0.1, weight_decay=0.5))
    counted = sum(parameter.numel() for group in groups for parameter in group["params"])  # type: ignore[attr-defined]
    assert counted == sum(parameter.numel() for parameter in network.parameters())
    backbone = {id(parameter) for parameter in network.model.backbone.parameters()}
    for group in groups:
        for parameter in group["params"]:  # type: ignore[attr-defined]
            assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0.0)
            assert group["factor"] == (0.1 if id(parameter) in backbone else 1.0)


def test_the_learning_rate_warms_up_and_falls_as_asked() -> None:
    knobs = replace(KNOBS, steps=100, warmup=10, learning_rate=1.0)
    rates = {
        schedule: [train_detector.learning_rate(step, replace(knobs, schedule=schedule)) for step in range(100)]
        for schedule in ("cosine", "constant", "multistep")
    }
    for values in rates.values():
        assert values[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates["cosine"][10:] == sorted(rates["cosine"][10:], reverse=True)
    assert rates["cosine"][-1] < 0.02
    assert set(rates["constant"][10:]) == {1.0}
    assert [rates["multistep"][step] for step in (69, 70, 89, 90)] == pytest.approx([1.0, 0.1, 0.1, 0.01])


def test_the_average_follows_fast_at_first_and_slowly_later() -> None:
    layer = nn.BatchNorm1d(1)
    average = Average(layer.state_dict().items(), decay=0.9, ramp=2.0)
    expected = 1.0
    for step in range(1, 5):
        with torch.no_grad():
            layer.weight.fill_(step + 1.0)
            layer.running_mean.fill_(step)  # type: ignore[union-attr]
        average.update(layer.state_dict().items())
        kept = 0.9 * (1 - np.exp(-step / 2))
        expected = kept * expected + (1 - kept) * (step + 1)
        assert float(average.values["weight"]) == pytest.approx(expected, rel=1e-6)
        assert float(average.values["running_mean"]) == pytest.approx(expected - 1, rel=1e-6)


def test_knobs_come_from_the_file_and_flags_have_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('steps = 7\nlearning_rate = 1\nscales = [64, 96]\ndata = ["a"]\n')
    parser = argparse.ArgumentParser()
    add_flags(parser, Knobs)
    arguments = parser.parse_args(["--steps", "9", "--data", "b", "c", "--print-every", "3", "--save_every", "4"])
    knobs = read(Knobs, tmp_path / "a.toml", arguments)
    assert (knobs.steps, knobs.learning_rate, knobs.scales, knobs.data) == (9, 1.0, (64, 96), ("b", "c"))
    assert (knobs.print_every, knobs.save_every) == (3, 4)  # a flag with dashes is the one with underscores
    (tmp_path / "a.toml").write_text('scales = 64\ndata = "a"\n')
    one = read(Knobs, tmp_path / "a.toml")
    assert (one.scales, one.data) == ((64,), ("a",))
    assert "pixels, a multiple of 32" in parser.format_help()


@pytest.mark.parametrize(
    ("text", "message"),
    [("stepps = 3", "stepps"), ('steps = "3"', "steps: int expected"), ("steps =", "expected a TOML file")],
)
def test_a_knob_that_makes_no_sense_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text + "\n")
    with pytest.raises(SettingsError, match=message):
        read(Knobs, tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "r19vd"}, "variant: one of r18vd"),
        ({"variant": "r18vd", "start": "x"}, "Leave one of the two out"),
        ({"schedule": "saw"}, "schedule: one of cosine"),
        ({"precision": "fp16"}, "needs a GPU"),
        ({"batch": 0}, "at least 1"),
    ],
)
def test_settings_that_contradict_are_refused_before_the_start(
    change: dict[str, object], message: str, images: Images, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        train_detector.train(replace(KNOBS, **change), images, tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_input_size_that_the_network_cannot_take_is_refused(images: Images, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="multiple of 32"):
        train_detector.train(replace(KNOBS, scales=(64, 70)), images, tmp_path)


def test_published_variants_can_be_named() -> None:
    assert train_detector.network_config(replace(KNOBS, variant="r50vd_m"), 3) == replace(
        NetworkConfig.from_json(train_detector.VARIANTS["r50vd_m"].to_json(), ""), num_classes=3
    )


@pytest.mark.parametrize("size", ["toy", "full"])
def test_the_demo_detectors_configurations_are_read(size: str, root: Path) -> None:
    assert read(Knobs, root / "training" / "configs" / "train-demo" / f"{size}-detector.toml").steps >= 100


def test_the_published_recipe_is_read_and_describes_its_network(root: Path) -> None:
    knobs = read(Knobs, root / "training" / "configs" / "detector-r18vd.toml")
    check(knobs, Team())
    train_detector.network_config(knobs).check_input_size(knobs.input_size)
    assert train_detector.learning_rate(2000, knobs) == 1e-4


def test_a_program_ends_with_the_code_of_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    def raises(error: BaseException) -> int:
        raise error

    cases: Iterator[tuple[BaseException, int]] = iter(
        [(SettingsError("s"), 2), (RecordError("r"), 1), (KeyboardInterrupt(), 130), (ZeroDivisionError(), 3),
         (torch.OutOfMemoryError("8 GiB"), 1)]
    )  # fmt: skip
    for error, code in cases:
        assert exitcodes.guarded(lambda error=error: raises(error), "Lower batch.") == code  # type: ignore[misc]
    assert "out of memory on the GPU (8 GiB). Lower batch." in capsys.readouterr().err
