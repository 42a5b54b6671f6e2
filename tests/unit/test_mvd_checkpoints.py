"""Checkpoints of training runs of the reference system: what is read off them, assumed of them, and refused."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mousetal import mvd
from mousetal.errors import ModelError, MousetalError, SettingsError
from mousetal.mvd.checkpoints import COMMAND_LINE_CLASSES, TRAINING_APP_CLASSES, VARIANTS
from mousetal.mvd.legacyconfig import read_text, settings
from tests.fixtures.classifiers import tiny_network

CONFIG_TXT = """\
model                vit_tiny64_patch16_32
tubelet_size         2
input_size           32
nb_classes           3
num_segments         1
num_frames           4
sampling_rate        2
"""


def _state(**sizes: object) -> dict[str, torch.Tensor]:
    return dict(tiny_network(**sizes).state_dict())


def _run(folder: Path, content: Any, config: str | None = CONFIG_TXT, weights: str = "checkpoint-best.pth") -> Path:
    """A folder as a training run leaves it."""
    (folder / weights).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / weights)
    if config is not None:
        (folder / "config.txt").write_text(config)
    return folder


# --- containers ---

CONTAINERS: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "model": lambda state: {"model": state, "epoch": 3},
    "module": lambda state: {"module": state, "epoch": "best", "ds_version": "0.19.8", "param_shapes": [{}]},
    "bare": lambda state: state,
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_are_found_in_every_container_and_computed_in_float32(
    tmp_path: Path, container: str, dtype: torch.dtype
) -> None:
    state = {name: tensor.to(dtype) for name, tensor in _state().items()}
    classifier = mvd.load(_run(tmp_path, CONTAINERS[container](state)))
    for name, tensor in classifier.network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[name].float())


@pytest.mark.parametrize(
    ("use_cls_token", "use_mean_pooling"), [(False, True), (True, True), (True, False), (False, False)]
)
def test_pooling_is_read_off_the_weights_whatever_config_txt_says(
    tmp_path: Path, use_cls_token: bool, use_mean_pooling: bool
) -> None:
    wrong = f"use_cls_token        {not use_cls_token}\nuse_mean_pooling     {not use_mean_pooling}\n"
    sizes = {"use_cls_token": use_cls_token, "use_mean_pooling": use_mean_pooling}
    classifier = mvd.load(_run(tmp_path, {"model": _state(**sizes)}, CONFIG_TXT + wrong))
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(classifier.network(clips), tiny_network(**sizes)(clips))


def test_sizes_that_no_name_states_are_read_off_the_weights(tmp_path: Path) -> None:
    sizes = {"dim": 128, "heads": 2, "depth": 3, "mlp_ratio": 2.0, "tubelet_size": 4, "patch_size": 8}
    bare = "num_frames           4\ninput_size           32\nsampling_rate        2\n"
    network = mvd.load(_run(tmp_path, _state(**sizes), bare)).network
    assert {name: getattr(network.config, name) for name in sizes} == sizes


def test_segments_multiply_the_frames_of_a_clip(tmp_path: Path) -> None:
    config = CONFIG_TXT.replace("num_segments         1", "num_segments         2")
    assert mvd.load(_run(tmp_path, _state(), config)).spec.num_frames == 8


def test_a_checkpoint_without_config_txt_is_described_by_its_arguments(tmp_path: Path) -> None:
    arguments = argparse.Namespace(num_frames=4, input_size=32, sampling_rate=3, model="mine", opt_betas=[0.9, 0.999])
    spec = mvd.load(_run(tmp_path, {"model": _state(), "args": arguments}, config=None)).spec
    assert (spec.num_frames, spec.input_size, spec.sampling_rate) == (4, 32, 3)


def test_numpy_numbers_in_an_optimizer_do_not_keep_the_weights_from_loading(tmp_path: Path) -> None:
    groups = [{"lr": np.float64(1e-4), "weight_decay": np.float32(0.05), "step": np.int64(3), "on": np.bool_(True)}]
    content = {"model": _state(), "optimizer": {"param_groups": groups}, "args": argparse.Namespace(lr=np.float64(1))}
    assert mvd.load(_run(tmp_path, content)).spec.num_frames == 4


# --- what is assumed ---


def test_a_run_from_the_command_line_has_the_first_class_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "mousetal"):
        spec = mvd.load(_run(tmp_path / "run", _state())).spec
    assert spec.classes == COMMAND_LINE_CLASSES == ("idle", "Self-Grooming", "Head/Body TWITCH")
    assert spec.background == 0
    assumed = "class order idle, Self-Grooming, Head/Body TWITCH: there is no experiment_info.json in run"
    assert assumed in spec.assumptions
    assert assumed in caplog.text


@pytest.mark.parametrize("weights", ["checkpoints/best.pth", "checkpoint-best/mp_rank_00_model_states.pt"])
@pytest.mark.parametrize("given_as", ["folder", "file"])
def test_a_run_of_the_training_app_has_the_other_class_order(tmp_path: Path, weights: str, given_as: str) -> None:
    folder = _run(tmp_path, {"module": _state()}, weights=weights)
    (folder / "experiment_info.json").write_text("{}")
    spec = mvd.load(folder if given_as == "folder" else folder / weights).spec
    assert spec.classes == TRAINING_APP_CLASSES == ("idle", "Head/Body TWITCH", "Self-Grooming")
    assert any("there is an experiment_info.json" in assumption for assumption in spec.assumptions)


def test_given_class_names_leave_nothing_to_assume_about_them(tmp_path: Path) -> None:
    folder = _run(tmp_path, {"module": _state()})
    (folder / "experiment_info.json").write_text("{}")
    spec = mvd.load(folder, class_names=("rear", "idle", "groom")).spec
    assert (spec.classes, spec.background) == (("rear", "idle", "groom"), 1)
    assert not any("class" in assumption for assumption in spec.assumptions)


def test_without_a_class_named_idle_the_first_is_the_background_and_said_to_be(tmp_path: Path) -> None:
    spec = mvd.load(_run(tmp_path, _state()), class_names=("rest", "groom", "rear")).spec
    assert spec.background == 0
    assert any("'rest' is the background class" in assumption for assumption in spec.assumptions)


@pytest.mark.parametrize(
    ("count", "names", "error", "message"),
    [
        (5, None, ModelError, r"has 5 classes, runs of the reference system usually have 3 .*Set CLASS_NAMES"),
        (3, ("idle", "groom"), SettingsError, r"the network has 3 classes, CLASS_NAMES has 2 \(idle, groom\)"),
    ],
)
def test_another_number_of_classes_than_of_names_is_refused(
    tmp_path: Path, count: int, names: tuple[str, ...] | None, error: type[MousetalError], message: str
) -> None:
    config = CONFIG_TXT.replace("nb_classes           3", f"nb_classes           {count}")
    with pytest.raises(error, match=message):
        mvd.load(_run(tmp_path, _state(num_classes=count), config), class_names=names)


def test_five_classes_load_when_they_are_named(tmp_path: Path) -> None:
    names = ("idle", "a", "b", "c", "d")
    assert mvd.load(_run(tmp_path, _state(num_classes=5), None), class_names=names).spec.classes == names


def test_clips_that_nobody_described_take_the_defaults_of_the_reference_and_say_so(tmp_path: Path) -> None:
    weights = _run(tmp_path, _state(), config=None) / "checkpoint-best.pth"
    spec = mvd.load(weights).spec
    assert (spec.num_frames, spec.sampling_rate, spec.input_size) == (16, 4, 224)
    assert "num_frames=16, sampling_rate=4, input_size=224: not stated" in " ".join(spec.assumptions)


def test_a_legacy_model_has_the_stride_padding_and_thresholds_of_the_reference(tmp_path: Path) -> None:
    spec = mvd.load(_run(tmp_path, _state())).spec
    assert (spec.stride, spec.crop_padding, spec.trained_fps, spec.is_multi_label) == (8, 0.05, None, False)
    assert {(rule.threshold, rule.low_threshold, rule.min_duration_s) for rule in spec.rules} == {(0.5, 0.5, 0.0)}


# --- what is refused ---


def test_tensors_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    state = _state()
    del state["blocks.0.attn.q_bias"]
    state["blocks.1.attn.qkv.bias"] = torch.zeros(192)
    state["blocks.1.norm2.weight"] = torch.zeros(32)
    with pytest.raises(ModelError) as caught:
        mvd.load(_run(tmp_path, {"module": state}))
    message = str(caught.value)
    assert "1 missing: blocks.0.attn.q_bias (64,)" in message
    assert "1 unexpected: blocks.1.attn.qkv.bias (192,)" in message
    assert "1 misshapen: blocks.1.norm2.weight (32,) instead of (64,)" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "model                vit_small_patch16_224",
            r"proj\.weight \(64, 3, 2, 16, 16\) instead of \(384, 3, 2, 16, 16\)",
        ),
        ("tubelet_size         4", r"\(64, 3, 2, 16, 16\) instead of \(64, 3, 4, 16, 16\)"),
    ],
)
def test_weights_of_another_run_than_config_txt_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        mvd.load(_run(tmp_path, {"module": _state()}, f"{CONFIG_TXT}{line}\n"))


def test_a_pre_training_checkpoint_is_recognised(tmp_path: Path) -> None:
    state = _state()
    del state["head.weight"], state["head.bias"]
    with pytest.raises(ModelError, match=r"pre-training checkpoint: fine-tune it first.\n  missing.*: head\.weight"):
        mvd.load(_run(tmp_path, {"model": {**state, "mask_token_img": torch.zeros(1, 1, 64)}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ema": {"module": {}}}, "looks like a detector"),
        ({"epoch": 3, "weights": None}, "keys: epoch, weights"),
        ({"model": {}}, "keys: model"),
        ([torch.zeros(1)], "a dict of tensors expected, got list"),
        ({"backbone.weight": torch.zeros(1)}, r"missing, .*patch_embed\.proj\.weight.*\n  found: backbone\.weight"),
    ],
)
def test_a_file_that_is_no_classifier_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        mvd.load(_run(tmp_path, content))


class _Dangerous:
    """Unpickled without care, it would leave a folder behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    target = tmp_path / "was_run"
    run = _run(tmp_path / "run", {"model": _state(), "args": _Dangerous(target)})
    with pytest.raises(ModelError, match=r"no checkpoint that can be read safely \(it holds \w+\.mkdir"):
        mvd.load(run)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"PK\x03\x04" + bytes(200)])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "best.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"best\.pth: no checkpoint that can be read safely"):
        mvd.load(tmp_path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    weights = _run(tmp_path, _state()) / "checkpoint-best.pth"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"checkpoint-best\.pth: no checkpoint that can be read safely"):
        mvd.load(tmp_path)


# --- config.txt ---


def test_the_last_of_repeated_settings_counts_and_values_keep_their_spaces(tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_text(
        "\nnum_frames           16\nmodel_prefix         \ndata_path            data/mouse set\n"
        "imagenet_default_mean_and_std True\n\nnum_frames           8\n"
    )
    assert read_text(path) == {
        "num_frames": "8",
        "data_path": "data/mouse set",
        "imagenet_default_mean_and_std": "True",
    }


@pytest.mark.parametrize("value", ["many", "-1", "0", "1.5"])
def test_a_setting_that_should_be_a_number_and_is_none_is_named(value: str) -> None:
    with pytest.raises(ModelError, match=f"config.txt: num_frames should be a whole number above 0, got '{value}'"):
        settings({"num_frames": value}, "config.txt")


def test_a_setting_of_none_counts_as_not_said() -> None:
    run = settings({"num_frames": None, "sampling_rate": "None", "nb_classes": "None"}, "config.txt")
    assert (run.num_frames, run.sampling_rate, run.num_classes) == (16, 4, None)
    assert run.defaulted == ("num_frames", "sampling_rate", "input_size")


def test_a_config_txt_that_is_no_text_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path, _state())
    (run / "config.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match=r"config\.txt: cannot be read as a config\.txt"):
        mvd.load(run)


@pytest.mark.parametrize("name", VARIANTS)
def test_published_names_stand_for_heads_of_at_least_64_channels(name: str) -> None:
    variant = VARIANTS[name]
    assert variant.dim % variant.heads == 0
    assert variant.dim // variant.heads in (64, 80)
