"""VideoMAE folders of the transformers library: as models they give its logits, and training starts there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification

import mousetal.mvd
from mousetal.errors import ModelError, SettingsError
from mousetal.mvd import VisionTransformer
from mousetal.mvd.vit import VIDEOMAE
from tests.fixtures.classifiers import CLASSES, tiny_network
from training.start import load_start

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


def written(folder: Path, kind: type[PreTrainedModel], **changes: Any) -> PreTrainedModel:
    """A network with random weights of `tiny_network`'s sizes, written by the library itself."""
    sizes: dict[str, Any] = {
        "image_size": 32, "patch_size": 16, "num_frames": 4, "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 1, "intermediate_size": 256, "id2label": dict(enumerate(CLASSES)),
        "decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 1,
        "decoder_intermediate_size": 64,
    }  # fmt: skip
    network = kind(VideoMAEConfig(**sizes | changes)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    network.save_pretrained(folder)
    return network


@pytest.mark.parametrize("pooling", [True, False])
def test_the_logits_are_the_library_s(tmp_path: Path, pooling: bool) -> None:
    network = written(tmp_path, VideoMAEForVideoClassification, use_mean_pooling=pooling)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    loaded = mousetal.mvd.load(tmp_path)
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    pixels = (torch.from_numpy(clips).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.inference_mode():
        expected = network(pixel_values=pixels.permute(0, 1, 4, 2, 3)).logits.softmax(-1)
    np.testing.assert_allclose(loaded.predict(clips), expected.numpy(), rtol=0, atol=1e-5)
    assert loaded.spec.classes == CLASSES
    assert [note.split(":")[0] for note in loaded.spec.assumptions] == ["sampling_rate=4"]


def test_how_pictures_are_prepared_is_part_of_what_a_model_is(tmp_path: Path) -> None:
    written(tmp_path, VideoMAEForVideoClassification)
    digests = {mousetal.mvd.load(tmp_path).spec.sha256}
    for mean in (MEAN, STD):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": STD}))
        digests.add(mousetal.mvd.load(tmp_path).spec.sha256)
    assert len(digests) == 3


def test_classes_without_names_have_to_be_named(tmp_path: Path) -> None:
    written(tmp_path, VideoMAEForVideoClassification, id2label={n: f"LABEL_{n}" for n in range(3)})
    with pytest.raises(ModelError, match="the 3 classes have no names"):
        mousetal.mvd.load(tmp_path)
    with pytest.raises(SettingsError, match="CLASS_NAMES has 2 names"):
        mousetal.mvd.load(tmp_path, class_names=("a", "b"))
    loaded = mousetal.mvd.load(tmp_path, class_names=("rest", "groom", "twitch"))
    assert loaded.spec.classes == ("rest", "groom", "twitch")
    assert any(note.startswith("'rest' is the background class") for note in loaded.spec.assumptions)


def test_training_starts_from_a_classifier_and_from_a_pretrained_encoder(tmp_path: Path) -> None:
    kinds = {"tuned": VideoMAEForVideoClassification, "pretrained": VideoMAEForPreTraining}
    for name, kind in kinds.items():
        written(tmp_path / name, kind)
        ours = tiny_network(1, positions=VIDEOMAE)
        head = ours.head.weight.clone()
        start = load_start(ours, tmp_path / name, CLASSES, (), reset_head=False)
        stored = load_file(tmp_path / name / "model.safetensors")
        base = "videomae.encoder.layer.1.attention.attention."
        joined = torch.cat([stored[f"{base}{part}.weight"] for part in ("query", "key", "value")])
        assert torch.equal(ours.blocks[1].attn.qkv.weight, joined)
        assert torch.equal(ours.blocks[1].attn.v_bias, stored[f"{base}v_bias"])
        assert torch.equal(ours.head.weight, head) == (name == "pretrained")
        assert (start.fresh == ()) == (name == "tuned")
    with pytest.raises(ModelError, match="made for the classes idle"):
        load_start(
            tiny_network(1, positions=VIDEOMAE), tmp_path / "tuned", ("idle", "rear", "dig"), (), reset_head=False
        )


def test_other_heads_or_positions_than_the_weights_were_trained_with_are_refused(tmp_path: Path) -> None:
    """Neither leaves a trace in any shape: taken all the same, the weights would be worth little."""
    written(tmp_path, VideoMAEForPreTraining)
    for sizes, said in (({}, "positions = 'videomae'"), ({"positions": VIDEOMAE, "heads": 2}, "heads = 1")):
        with pytest.raises(ModelError, match=f"Set {said}"):
            load_start(tiny_network(1, **sizes), tmp_path, CLASSES, (), reset_head=False)


def test_a_pretrained_encoder_is_no_model(tmp_path: Path) -> None:
    written(tmp_path, VideoMAEForPreTraining)
    with pytest.raises(ModelError, match="a pre-trained encoder without a head"):
        mousetal.mvd.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_act": "relu"}, "hidden_act: only 'gelu' is supported, got 'relu'"),
        ({"num_channels": 1}, "num_channels: only 3 is supported, got 1"),
        ({"qkv_bias": False}, "qkv_bias: only True is supported"),
        ({"num_hidden_layers": 3}, r"missing: blocks\.2\."),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"hidden_size": 0}, "at least 1, got dim=0"),
        ({"id2label": {"first": "idle"}}, "names by number expected"),
        ({"model_type": "vit"}, "model_type 'videomae', got 'vit'"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    written(tmp_path, VideoMAEForVideoClassification)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=said):
        mousetal.mvd.load(tmp_path)


def test_what_is_missing_or_foreign_is_listed(tmp_path: Path) -> None:
    written(tmp_path, VideoMAEForVideoClassification)
    state = load_file(tmp_path / "model.safetensors")
    del state["videomae.encoder.layer.0.attention.attention.key.weight"]
    save_file(state | {"adapter.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    network: VisionTransformer = tiny_network(1, positions=VIDEOMAE)
    with pytest.raises(ModelError) as refused:
        load_start(network, tmp_path, CLASSES, (), reset_head=False)
    assert "1 missing: blocks.0.attn.qkv.weight" in str(refused.value)
    assert "adapter.weight" in str(refused.value)
