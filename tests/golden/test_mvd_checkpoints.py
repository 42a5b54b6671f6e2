"""Checkpoints in every layout that training runs leave, against the logits that the reference system got from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mousetal import mvd
from mousetal.mvd import legacyconfig
from mousetal.mvd.checkpoints import COMMAND_LINE_CLASSES

LOGITS_TOLERANCE = 1e-5
RUN = "MP_TRAIN_3_maximal_crop_2025-03-11_15-09-26"
LAYOUTS = [
    (f"ckpt_deepspeed/{RUN}", "checkpoint-best/mp_rank_00_model_states.pt", "logits_fp32"),
    (f"ckpt_deepspeed_fp16/{RUN}_fp16", "checkpoint-best/mp_rank_00_model_states.pt", "logits_fp16_weights"),
    (f"ckpt_plain/{RUN}_plain", "checkpoint-best.pth", "logits_fp32"),
    (f"ckpt_trainapp/{RUN}_app", "checkpoints/best.pth", "logits_fp16_weights"),
]


@pytest.mark.parametrize("given_as", ["folder of the run", "weights file"])
@pytest.mark.parametrize(("run", "weights", "logits"), LAYOUTS)
def test_every_layout_gives_the_logits_of_the_reference(
    golden: Path, run: str, weights: str, logits: str, given_as: str
) -> None:
    path = golden / run if given_as == "folder of the run" else golden / run / weights
    classifier = mvd.load(path)
    with np.load(golden / "ckpt_io.npz") as arrays, torch.inference_mode():
        ours = classifier.network(torch.from_numpy(arrays["input"]))
        np.testing.assert_allclose(ours, arrays[logits], atol=LOGITS_TOLERANCE, rtol=0)
    assert classifier.spec.name == Path(run).name
    assert classifier.spec.classes == COMMAND_LINE_CLASSES
    assert (classifier.spec.num_frames, classifier.spec.sampling_rate, classifier.spec.input_size) == (16, 2, 48)


@pytest.mark.parametrize(("run", "weights", "logits"), LAYOUTS)
def test_a_converted_run_gives_the_same_logits(
    golden: Path, tmp_path: Path, run: str, weights: str, logits: str
) -> None:
    old = mvd.load(golden / run)
    mvd.save(tmp_path / "converted", old.network, old.config, "# Converted\n")
    new = mvd.load(tmp_path / "converted")
    with np.load(golden / "ckpt_io.npz") as arrays, torch.inference_mode():
        clips = torch.from_numpy(arrays["input"])
        assert torch.equal(new.network(clips), old.network(clips))
    assert new.config.input == old.config.input
    assert new.spec.classes == old.spec.classes


def test_config_txt_is_read_as_the_reference_reads_it(golden: Path, tmp_path: Path) -> None:
    manifest = json.loads((golden / "ckpt_manifest.json").read_text())
    (tmp_path / "config.txt").write_text(manifest["config_txt"])
    values = legacyconfig.read_text(tmp_path / "config.txt")
    reference = manifest["parse_config"]
    assert {name for name, value in values.items() if value != "None"} == reference.keys()
    for name, value in reference.items():
        assert values[name] == str(value) or float(values[name]) == value
    run = legacyconfig.settings(values, "config.txt")
    options = manifest["opts_after_argparse"]
    assert run.num_frames == options["num_frames"] * options["num_segments"]
    assert run.sampling_rate == options["sampling_rate"]
    assert run.input_size == options["input_size"]
    assert (run.num_classes, run.tubelet_size, run.model) == (
        options["nb_classes"],
        options["tubelet_size"],
        options["model"],
    )
