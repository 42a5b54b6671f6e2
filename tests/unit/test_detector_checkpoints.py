"""Detectors that others stored: what is read, what is found out, what is refused."""

from __future__ import annotations

import collections
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mousetal import detector
from mousetal.detector.checkpoints import infer
from mousetal.detector.config import VARIANTS, NetworkConfig
from mousetal.detector.keys import State, to_official
from mousetal.detector.network import build
from mousetal.errors import ModelError
from tests.fixtures.detectors import INPUT_SIZE, TINY, random_batch, random_network

ONE_CLASS = replace(TINY, num_classes=1)


def official_state(config: NetworkConfig = TINY) -> State:
    """The state dict of an official checkpoint, with the entries that are computed or only count batches."""
    state = to_official(random_network(config).state_dict(), config)
    state["decoder.anchors"] = torch.zeros(1, 8 * 8 + 4 * 4 + 2 * 2, 4)
    state["decoder.valid_mask"] = torch.ones(1, 84, 1, dtype=torch.bool)
    if not config.freeze_backbone_norms:
        state["backbone.conv1.conv1_1.norm.num_batches_tracked"] = torch.tensor(7)
    return state


def stored(path: Path, state: State, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"ema": {"module": state, "updates": 3}, **more}, path)
    return path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Supervisely training run: only averaged weights, the training configuration and the project's meta file."""
    folder = tmp_path_factory.mktemp("run")
    stored(folder / "checkpoints" / "best.pth", official_state())
    (folder / "model_config.yml").write_text(
        "RTDETRTransformerv2: {num_queries: 20, eval_idx: 0, cross_attn_method: discrete}\n"
    )
    (folder / "model_meta.json").write_text('{"classes": [{"title": "mouse"}, {"title": "hand"}]}')
    return folder


def test_a_supervisely_run_brings_its_classes_queries_and_sampling(run_folder: Path) -> None:
    loaded = detector.load(run_folder)
    assert loaded.spec.classes == ("mouse", "hand")
    assert loaded.spec.input_size == INPUT_SIZE
    assert loaded.config.network == replace(TINY, eval_layer=0, sampling="discrete").to_json()
    assert detector.load(run_folder / "checkpoints" / "best.pth").spec.classes == ("mouse", "hand")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RTDETRTransformerv2: {num_queries: many}", "num_queries"),
        ("RTDETRTransformerv2: {eval_idx: 5}", "eval_layer"),
        ("optimizer: {}", "RTDETRTransformerv2"),
        ("{", "YAML"),
    ],
)
def test_a_training_configuration_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    stored(tmp_path / "best.pth", official_state(ONE_CLASS))
    (tmp_path / "model_config.yml").write_text(text)
    with pytest.raises(ModelError, match=said):
        detector.load(tmp_path)


def test_given_class_names_replace_those_of_the_run(run_folder: Path) -> None:
    assert detector.load(run_folder, class_names=("rat", "hand")).spec.classes == ("rat", "hand")


def test_another_number_of_class_names_is_refused(run_folder: Path) -> None:
    with pytest.raises(ModelError, match="2 classes, but 1 are named"):
        detector.load(run_folder, class_names=("mouse",))


def test_one_unnamed_class_is_the_mouse(tmp_path: Path) -> None:
    path = stored(tmp_path / "detector.pth", official_state(replace(ONE_CLASS, num_queries=20)))
    (tmp_path / "model_config.yml").write_text("RTDETRTransformerv2: {num_queries: 20}")
    assert detector.load(path).spec.classes == ("mouse",)


def test_several_unnamed_classes_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "detector.pth", official_state())
    with pytest.raises(ModelError, match="2 titles"):
        detector.load(path)


def test_a_file_of_a_training_still_going_is_read_by_its_averaged_weights(tmp_path: Path) -> None:
    state = official_state(ONE_CLASS)
    others = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    (tmp_path / "model_config.yml").write_text("RTDETRTransformerv2: {num_queries: 20}")
    scheduler = {"milestones": collections.Counter([1000]), "last_epoch": 3}
    path = stored(tmp_path / "last.pth", state, model=others, last_epoch=3, date="today", lr_scheduler=scheduler)
    loaded = to_official(detector.load(path).network.state_dict(), ONE_CLASS)
    assert torch.equal(loaded["decoder.enc_output.proj.weight"], state["decoder.enc_output.proj.weight"])


def test_without_averaged_weights_the_last_ones_are_read(tmp_path: Path) -> None:
    torch.save({"model": official_state(ONE_CLASS), "ema": None}, tmp_path / "last.pth")
    (tmp_path / "model_config.yml").write_text("RTDETRTransformerv2: {num_queries: 20}")
    assert detector.load(tmp_path / "last.pth").spec.classes == ("mouse",)


@pytest.mark.parametrize("name", ["r18vd", "r34vd", "r50vd_m", "r50vd", "r101vd"])
def test_the_variant_is_told_from_the_weights(name: str) -> None:
    with torch.device("meta"):
        state = to_official(_shapes_of(VARIANTS[name]), VARIANTS[name])
    if not VARIANTS[name].freeze_backbone_norms:
        state["backbone.conv1.conv1_1.norm.num_batches_tracked"] = torch.tensor(0)
    assert infer(state, name) == VARIANTS[name]


def _shapes_of(config: NetworkConfig) -> State:
    return {name: torch.empty(tensor.shape) for name, tensor in build(config).state_dict().items()}


def test_missing_unexpected_and_misshapen_tensors_are_listed(tmp_path: Path) -> None:
    state = official_state(ONE_CLASS)
    del state["decoder.query_pos_head.layers.0.bias"]
    state["decoder.extra.weight"] = torch.zeros(3)
    state["encoder.lateral_convs.0.norm.bias"] = torch.zeros(5)
    (tmp_path / "model_config.yml").write_text("RTDETRTransformerv2: {num_queries: 20}")
    with pytest.raises(ModelError) as caught:
        detector.load(stored(tmp_path / "detector.pth", state))
    message = str(caught.value)
    assert "1 missing: decoder.query_pos_head.layers.0.bias" in message
    assert "1 unexpected: decoder.extra.weight" in message
    assert "1 misshapen: encoder.lateral_convs.0.norm.bias (5,) instead of (32,)" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"ema": {"module": {"blocks.0.norm1.weight": torch.zeros(3)}}}, "blocks.0.norm1.weight"),
        ({"module": {"weight": torch.zeros(3)}, "dp_world_size": 1}, "dp_world_size"),
        ([1, 2], "list"),
    ],
)
def test_another_network_s_file_is_refused_with_what_was_found(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "best.pth")
    with pytest.raises(ModelError, match=said):
        detector.load(tmp_path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"ema": {"module": {}}, "path": Path("x")}, tmp_path / "best.pth")
    with pytest.raises(ModelError, match=r"best\.pth"):
        detector.load(tmp_path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pth").write_bytes(b"not a checkpoint at all")
    with pytest.raises(ModelError, match=r"best\.pth"):
        detector.load(tmp_path)


@pytest.fixture(scope="module")
def transformers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the transformers library itself writes it, with the image preparation of the published models."""
    folder = tmp_path_factory.mktemp("hf")
    network = random_network()
    network.config.id2label = {0: "mouse", 1: "hand"}
    network.save_pretrained(folder)
    size = {"height": INPUT_SIZE, "width": INPUT_SIZE}
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, "size": size}))
    return folder


def test_a_transformers_folder_gives_what_the_library_gives(transformers_folder: Path) -> None:
    loaded = detector.load(transformers_folder)
    assert loaded.spec.classes == ("mouse", "hand")
    assert loaded.spec.input_size == INPUT_SIZE
    batch = random_batch(2)
    pixels = torch.tensor(batch.images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = random_network()(pixel_values=pixels)
    raw = loaded.forward(batch.images)
    np.testing.assert_allclose(raw.logits, expected.logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(raw.boxes, expected.pred_boxes, rtol=0, atol=1e-5)


def test_a_transformers_folder_with_a_tensor_too_few_is_refused(transformers_folder: Path, tmp_path: Path) -> None:
    state = load_file(transformers_folder / "model.safetensors")
    del state["model.decoder.layers.0.self_attn.k_proj.bias"]
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((transformers_folder / "config.json").read_text())
    with pytest.raises(ModelError, match=r"missing: decoder\.decoder\.layers\.0\.self_attn\.in_proj_bias"):
        detector.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder_offset_scale": 0.25}, "decoder_offset_scale"),
        ({"model_type": "rt_detr"}, "rt_detr_v2"),
        ({"num_queries": "many"}, "num_queries"),
    ],
)
def test_a_transformers_folder_with_other_settings_is_refused(
    transformers_folder: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    document = json.loads((transformers_folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "model.safetensors").write_bytes((transformers_folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=said):
        detector.load(tmp_path)


def test_a_transformers_folder_that_normalises_its_images_is_refused(transformers_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((transformers_folder / name).read_bytes())
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": true, "size": {"height": 64, "width": 64}}')
    with pytest.raises(ModelError, match="do_normalize"):
        detector.load(tmp_path)
