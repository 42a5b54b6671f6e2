"""The classifier's network against numbers from the reference system's, on seeded weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mousetal.execution import Execution
from mousetal.modelconfig import ClipInput
from mousetal.mvd import Classifier, VisionTransformer, VitConfig
from mousetal.mvd.checkpoints import VARIANTS
from mousetal.mvd.predict import classifier_spec
from mousetal.mvd.vit import position_table
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.recipe import load_recipe

LOGITS_TOLERANCE = 1e-5
TABLE_TOLERANCE = 1e-6
CASES = ["a_img64_t16", "b_img80_t32", "c_img48_t8_clsfirst"]
FULL_SIZE = ["vit_small_patch16_224", pytest.param("vit_base_patch16_224", marks=pytest.mark.slow)]


def _sizes(config: dict[str, Any]) -> VitConfig:
    return VitConfig(
        num_classes=config["num_classes"],
        img_size=config["img_size"],
        num_frames=config["all_frames"],
        dim=config["embed_dim"],
        depth=config["depth"],
        heads=config["num_heads"],
        use_cls_token=config["use_cls_token"],
        use_mean_pooling=config["use_mean_pooling"],
    )


@pytest.mark.parametrize("case", CASES)
def test_small_networks_agree_with_the_reference(golden: Path, case: str) -> None:
    manifest = json.loads((golden / "mvd_manifest.json").read_text())[case]
    with np.load(golden / manifest["file"]) as arrays:
        stored = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    network = VisionTransformer(_sizes(manifest["config"])).eval()
    prefix = "state/"
    network.load_state_dict({k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}, strict=True)
    with torch.inference_mode():
        features = network.forward_features(stored["input"])
        logits = network(stored["input"])
    torch.testing.assert_close(network.pos_embed, stored["pos_embed"], atol=TABLE_TOLERANCE, rtol=0)
    torch.testing.assert_close(features, stored["features"], atol=LOGITS_TOLERANCE, rtol=0)
    torch.testing.assert_close(logits, stored["logits"], atol=LOGITS_TOLERANCE, rtol=0)
    torch.testing.assert_close(logits.softmax(dim=1), stored["probs"], atol=LOGITS_TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_networks_agree_with_the_reference(golden: Path, name: str) -> None:
    recipe = load_recipe(golden)
    case = json.loads((golden / "mvd_full_by_recipe.json").read_text())[f"{name}_224_t16"]
    weights = recipe.make_state(case["spec"], case["seed_weights"])
    assert recipe.digest(weights) == case["digest"]
    network = _published(name)
    state = {key: torch.from_numpy(array) for key, array in weights.items()}
    network.load_state_dict(state, strict=True, assign=True)
    clip = torch.from_numpy(recipe.make_input(case["input_shape"], case["seed_input"]))
    with torch.inference_mode():
        features = network.forward_features(clip)
        logits = network.head(features)
    np.testing.assert_allclose(features[0], case["features"], atol=LOGITS_TOLERANCE, rtol=0)
    np.testing.assert_allclose(logits, case["logits"], atol=LOGITS_TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["vit_small_patch16_224", "vit_base_patch16_224"])
def test_the_names_and_shapes_of_the_weights_are_the_published_ones(golden: Path, name: str) -> None:
    published = json.loads((golden / "mvd_state_dict_keys.json").read_text())[name]["state_dict"]
    ours = {key: list(tensor.shape) for key, tensor in _published(name).state_dict().items()}
    assert ours == {key: shape for key, shape, _ in published}


def test_position_tables_agree_with_the_reference(golden: Path) -> None:
    with np.load(golden / "sincos_3d.npz") as tables:
        whole = [key for key in tables.files if not key.endswith(("rows", "float32omega"))]
        assert whole
        for key in whole:
            dim, side, tubelets = (int(part[1:]) for part in key.split("_"))
            table = position_table(dim, tubelets, side)
            np.testing.assert_allclose(table, tables[key].reshape(table.shape), atol=TABLE_TOLERANCE, rtol=0)
        for key in (key for key in tables.files if key.endswith("_rows") and not key.endswith("_at_rows")):
            dim, side, tubelets = (int(part[1:]) for part in key.split("_")[:3])
            rows = position_table(dim, tubelets, side)[tables[key]]
            at_rows = tables[key.replace("_rows", "_at_rows")]
            np.testing.assert_allclose(rows, at_rows.reshape(rows.shape), atol=TABLE_TOLERANCE, rtol=0)


def test_pixels_are_normalised_as_the_reference_does(golden: Path) -> None:
    classifier = _untrained_classifier()
    with np.load(golden / "transforms.npz") as arrays:
        for case, size in ((2, 96), (4, 224)):
            normalised = arrays[f"out_{case}"]  # (3, T, S, S)
            clip = _pixels(normalised)
            assert clip.shape[1:3] == (size, size)
            ours = classifier.normalise(torch.from_numpy(clip[None]))[0]
            np.testing.assert_allclose(ours, normalised, atol=1e-6, rtol=0)


def _pixels(normalised: np.ndarray) -> np.ndarray:
    """The whole grey levels, uint8 (T, S, S, 3), that a normalised clip was made of."""
    clip = ClipInput(4, 1, 32, 2, 0.0, None)
    levels = (normalised.transpose(1, 2, 3, 0).astype(np.float64) * clip.std + clip.mean) * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    return levels.round().astype(np.uint8)


def _untrained_classifier() -> Classifier:
    execution = Execution(torch.device("cpu"))
    config = tiny_config()
    return Classifier(tiny_network(), config, classifier_spec(config, "tiny", "", (), execution), execution)


def _published(name: str) -> VisionTransformer:
    variant = VARIANTS[name]
    with torch.device("meta"):
        network = VisionTransformer(VitConfig(num_classes=3, dim=variant.dim, depth=variant.depth, heads=variant.heads))
    return network.eval()
