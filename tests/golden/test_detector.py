"""The detector against numbers that the official RT-DETRv2 code gave on seeded weights."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from mousetal import detector, geometry, modelfolder
from mousetal.detector.checkpoints import infer, read_official
from mousetal.detector.config import VARIANTS, NetworkConfig
from mousetal.detector.keys import DROPPED, Key, key_table, load_official
from mousetal.detector.network import build
from mousetal.detector.predict import Raw, best
from mousetal.types import DetectorBatch

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def manifest(golden: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((golden / "rtdetrv2_manifest.json").read_text())
    return content


@pytest.fixture(scope="module")
def tiny_io(golden: Path) -> Arrays:
    return _arrays(golden / "rtdetrv2_tiny_io.npz")


@pytest.fixture(scope="module")
def tiny_folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny official checkpoint laid out as Supervisely's training does, with the two files that explain it."""
    folder = tmp_path_factory.mktemp("1089_RT-DETRv2")
    (folder / "checkpoints").mkdir()
    shutil.copy(golden / "rtdetrv2_tiny.pth", folder / "checkpoints" / "best.pth")
    (folder / "model_config.yml").write_text("RTDETRTransformerv2:\n  num_queries: 30\n  eval_idx: -1\n")
    (folder / "model_meta.json").write_text(json.dumps({"classes": [{"title": "mouse"}, {"title": "hand"}]}))
    return folder


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> detector.Detector:
    return detector.load(tiny_folder)


def _arrays(path: Path) -> Arrays:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _recipe(golden: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", golden / "recipe.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _official_raw(io: Arrays) -> Raw:
    return Raw(torch.from_numpy(io["pred_logits"]), torch.from_numpy(io["pred_boxes"]))


def _tiny_batch(io: Arrays) -> DetectorBatch:
    images = np.stack([geometry.resize_for_detector(io[f"image_{i}"], 128) for i in range(2)])
    sizes = tuple((int(width), int(height)) for width, height in io["orig_sizes_wh"])
    return DetectorBatch((0, 1), sizes, images)


def test_sizes_and_class_names_of_an_official_checkpoint_are_found(tiny: detector.Detector) -> None:
    expected = NetworkConfig(
        num_classes=2,
        stem_width=16,
        widths=(16, 32, 64, 128),
        encoder_dim=64,
        encoder_ffn=128,
        hidden_dim=64,
        decoder_ffn=96,
        decoder_layers=2,
        eval_layer=1,
        num_queries=30,
    )
    assert NetworkConfig.from_json(tiny.config.network, "") == expected
    assert tiny.spec.classes == ("mouse", "hand")
    assert (tiny.spec.input_size, tiny.spec.score_threshold) == (128, 0.4)


def test_averaged_weights_are_preferred_to_the_last_ones(golden: Path, tiny_folder: Path) -> None:
    stored = torch.load(golden / "rtdetrv2_tiny.pth", weights_only=True)
    chosen = read_official(modelfolder.locate(tiny_folder)).state
    name = "decoder.enc_output.proj.weight"
    assert not stored["model"][name].any()
    assert torch.equal(chosen[name], stored["ema"]["module"][name])


def test_resizing_for_the_detector_gives_the_official_input(tiny_io: Arrays) -> None:
    resized = _tiny_batch(tiny_io).images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(resized, tiny_io["pixel_values"])


def test_tiny_network_gives_the_official_logits_and_boxes_row_by_row(tiny: detector.Detector, tiny_io: Arrays) -> None:
    raw = tiny.forward(_tiny_batch(tiny_io).images)
    np.testing.assert_allclose(raw.logits, tiny_io["pred_logits"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(raw.boxes, tiny_io["pred_boxes"], rtol=0, atol=2e-6)


def test_tiny_network_gives_the_official_feature_maps(tiny: detector.Detector, tiny_io: Arrays) -> None:
    pixels = torch.from_numpy(tiny_io["pixel_values"][:1])
    model = tiny.network.model
    with torch.inference_mode():
        features = [map_ for map_, _ in model.backbone(pixels, torch.ones(1, 128, 128))]
        encoded = model.encoder([proj(map_) for proj, map_ in zip(model.encoder_input_proj, features, strict=True)])
    for level in range(3):
        np.testing.assert_allclose(features[level], tiny_io[f"backbone_{level}"], rtol=1e-5, atol=2e-5)
        # Values reach tens in here; what the rounding amounts to is judged on logits and boxes.
        np.testing.assert_allclose(encoded.last_hidden_state[level], tiny_io[f"encoder_{level}"], rtol=1e-5, atol=5e-4)


def test_post_processing_of_official_outputs_gives_the_official_boxes(tiny_io: Arrays) -> None:
    scores, labels, boxes = best(_official_raw(tiny_io), tiny_io["orig_sizes_wh"].tolist())
    for i in range(2):
        np.testing.assert_array_equal(labels[i], tiny_io[f"post_{i}_labels"])
        np.testing.assert_allclose(scores[i], tiny_io[f"post_{i}_scores"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(boxes[i], tiny_io[f"post_{i}_boxes"], rtol=0, atol=1e-4)


def test_detections_are_the_official_ones_at_or_above_the_threshold(tiny: detector.Detector, tiny_io: Arrays) -> None:
    threshold = float(np.mean(tiny_io["post_0_scores"][9:11]))  # the random network's scores are all below 0.4
    found = tiny.predict(_tiny_batch(tiny_io), score_threshold=threshold)
    assert len(found[0]) == 10
    for i, detections in enumerate(found):
        kept = tiny_io[f"post_{i}_scores"] >= threshold
        np.testing.assert_array_equal(detections.labels, tiny_io[f"post_{i}_labels"][kept])
        np.testing.assert_allclose(detections.scores, tiny_io[f"post_{i}_scores"][kept], rtol=0, atol=1e-5)
        np.testing.assert_allclose(detections.boxes_xyxy, tiny_io[f"post_{i}_boxes"][kept], rtol=0, atol=1e-3)


def test_key_table_is_the_official_correspondence(golden: Path) -> None:
    """But for batch counters, which we leave out on purpose."""
    entries = json.loads((golden / "rtdetrv2_r18vd_official_to_hf_keys.json").read_text())["map"]
    official = {name: targets for name, _, targets in entries if not DROPPED.search(name)}
    table = {key.official: key for key in key_table(VARIANTS["r18vd"])}
    assert table.keys() == official.keys()
    for name, targets in official.items():
        assert _targets(table[name]) == {(target, third) for target, third in targets}


def _targets(key: Key) -> set[tuple[str, str | None]]:
    thirds: tuple[str | None, ...] = ("q", "k", "v") if key.is_fused else (None,) * len(key.names)
    return set(zip(key.names, thirds, strict=True))


def test_full_r18vd_gives_the_official_logits_and_boxes(golden: Path, manifest: dict[str, Any]) -> None:
    case = manifest["full_r18vd"]
    recipe = _recipe(golden)
    arrays = recipe.make_state(case["spec"], case["seed_weights"])
    assert recipe.digest(arrays) == case["digest"]
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    state |= _computed_tensors(case["spec"])
    config = infer(state, "full_r18vd")
    assert config == replace(VARIANTS["r18vd"], num_classes=2)
    network = build(config).eval()
    load_official(network, config, state, "full_r18vd")
    image = recipe.make_image(case["image"]["shape"], case["image"]["seed"])
    pixels = torch.tensor(geometry.resize_for_detector(image, 640)).permute(2, 0, 1)[None].float() / 255
    io = _arrays(golden / "rtdetrv2_r18vd_full_io.npz")
    np.testing.assert_array_equal(pixels[0, :, ::80, ::80], np.squeeze(io["pixel_values_probe"]))
    with torch.inference_mode():
        output = network(pixel_values=pixels)
    ours, theirs = _matched(output.pred_boxes[0].numpy(), io["pred_boxes"].reshape(-1, 4))
    np.testing.assert_allclose(output.pred_boxes[0].numpy()[ours], io["pred_boxes"].reshape(-1, 4)[theirs], atol=5e-6)
    np.testing.assert_allclose(output.logits[0].numpy()[ours], io["pred_logits"].reshape(-1, 2)[theirs], atol=5e-5)


def _computed_tensors(spec: list[Any]) -> dict[str, torch.Tensor]:
    """What the recipe leaves out because the architecture computes it: here, one over the number of points."""
    return {
        name: torch.full(tuple(shape), 0.25) for name, shape, kind in spec if kind == "const" and "num_points" in name
    }


def _matched(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """Row numbers that pair every box with its nearest; queries of almost equal score come in any order."""
    distance = np.abs(ours[:, None] - theirs[None]).max(axis=2)
    nearest = distance.argmin(axis=0)
    assert len(set(nearest.tolist())) == len(theirs)
    return nearest, np.arange(len(theirs))
