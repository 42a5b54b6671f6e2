"""A loaded classifier: what it answers, what it refuses, and that saving changes nothing."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mousetal import modelfolder, mvd
from mousetal.errors import InvalidRequest, ModelError, SettingsError
from mousetal.modelconfig import ImageInput, MvdConfig, RtdetrConfig
from mousetal.types import ClipBatch, UInt8Array
from tests.fixtures.classifiers import CLASSES, tiny_config, tiny_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _saved(tmp_path / "tiny")


def _saved(folder: Path, config: MvdConfig | None = None, **sizes: object) -> Path:
    mvd.save(folder, tiny_network(**sizes), config or tiny_config(), "# A card\n")
    return folder


def _clips(count: int) -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"use_cls_token": True},
        {"use_cls_token": True, "use_mean_pooling": False},
        {"mlp_ratio": 2.5},
        {"positions": "videomae"},
    ],
)
def test_saving_and_loading_changes_no_logit(tmp_path: Path, sizes: dict[str, object]) -> None:
    classifier = mvd.load(_saved(tmp_path / "tiny", **sizes))
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(classifier.network(clips), tiny_network(**sizes)(clips))


def test_the_spec_says_what_the_folder_says(folder: Path) -> None:
    spec = mvd.load(folder).spec
    config = tiny_config()
    assert (spec.name, spec.classes, spec.background) == ("tiny", CLASSES, 0)
    assert (spec.num_frames, spec.sampling_rate, spec.stride, spec.input_size) == (4, 2, 2, 32)
    assert (spec.crop_padding, spec.trained_fps, spec.is_multi_label) == (0.05, 30.0, False)
    assert (spec.rules, spec.assumptions, spec.device) == (config.bouts, (), "cpu fp32")
    assert spec.sha256 == modelfolder.locate(folder).sha256()


def test_probabilities_are_the_softmax_of_the_logits_of_normalised_clips(folder: Path) -> None:
    classifier = mvd.load(folder)
    clips = _clips(3)
    pixels = (clips.astype(np.float64) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.inference_mode():
        logits = tiny_network()(torch.from_numpy(pixels.transpose(0, 4, 1, 2, 3)).float())
    expected = logits.double().softmax(dim=1)
    probabilities = classifier.predict(clips)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (3, 3))
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert not np.allclose(probabilities[0], probabilities[1], atol=1e-3)


def test_classes_of_a_multi_label_model_have_probabilities_of_their_own(tmp_path: Path) -> None:
    single = mvd.load(_saved(tmp_path / "single")).predict(_clips(2)).astype(np.float64)
    multi = mvd.load(_saved(tmp_path / "multi", tiny_config(multi_label=True))).predict(_clips(2)).astype(np.float64)
    odds = multi / (1 - multi)  # of a sigmoid: exp(logit), which softmax normalises
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), single, rtol=1e-3)


def test_the_temperature_divides_the_logits(tmp_path: Path) -> None:
    sharp = mvd.load(_saved(tmp_path / "one")).predict(_clips(2)).astype(np.float64)
    soft = mvd.load(_saved(tmp_path / "two", dataclasses.replace(tiny_config(), temperature=2.0))).predict(_clips(2))
    powers = np.sqrt(sharp)
    np.testing.assert_allclose(soft, powers / powers.sum(axis=1, keepdims=True), atol=1e-6)


def test_a_clip_gets_the_same_answer_in_any_batch(folder: Path) -> None:
    classifier = mvd.load(folder)
    clips = _clips(4)
    np.testing.assert_allclose(
        classifier.predict(clips), np.concatenate([classifier.predict(clips[i : i + 1]) for i in range(4)]), atol=1e-6
    )
    assert classifier.predict(clips[:0]).shape == (0, 3)


def test_batches_are_classified_one_at_a_time_and_in_order(folder: Path) -> None:
    classifier = mvd.load(folder)
    clips = _clips(3)
    asked = []

    def batches() -> object:
        for i in range(3):
            asked.append(i)
            yield ClipBatch((i,), clips[i : i + 1])

    answers = classifier.classify(batches())  # type: ignore[arg-type]
    assert asked == []
    first = next(answers)
    assert asked == [0]
    np.testing.assert_array_equal(
        np.concatenate([first, *answers]), np.concatenate([classifier.predict(clips[i : i + 1]) for i in range(3)])
    )


def test_a_read_only_array_from_the_wire_is_taken(folder: Path) -> None:
    clips = _clips(1)
    wired = np.frombuffer(clips.tobytes(), np.uint8).reshape(clips.shape)
    classifier = mvd.load(folder)
    np.testing.assert_array_equal(classifier.predict(wired), classifier.predict(clips))


@pytest.mark.parametrize(
    "clips",
    [
        np.zeros((1, 4, 32, 32, 3), np.float32),
        np.zeros((1, 5, 32, 32, 3), np.uint8),
        np.zeros((1, 4, 48, 48, 3), np.uint8),
        np.zeros((4, 32, 32, 3), np.uint8),
    ],
)
def test_clips_of_another_kind_are_refused(folder: Path, clips: UInt8Array) -> None:
    with pytest.raises(InvalidRequest, match=r"uint8 \(n, 4, 32, 32, 3\) expected, got"):
        mvd.load(folder).predict(clips)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_close_to_full(folder: Path, precision: str) -> None:
    full = mvd.load(folder).predict(_clips(4))
    half = mvd.load(folder, precision=precision).predict(_clips(4))
    assert half.dtype == np.float32
    assert not np.array_equal(half, full)
    np.testing.assert_allclose(half, full, atol=2e-2)


def test_numbers_that_overflow_are_an_error_and_no_probability(tmp_path: Path) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.head.weight.mul_(1e38).mul_(1e3)
    mvd.save(tmp_path, network, tiny_config(), "card")
    with pytest.raises(ModelError, match="no finite numbers in fp32"):
        mvd.load(tmp_path).warm_up()


def test_warming_up_classifies_and_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mousetal"):
        mvd.load(folder).warm_up()
    assert "classifier is warm model=tiny device=cpu fp32" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "PRECISION: one of fp32, bf16, fp16"),
        ({"device": "cuda:99"}, "DEVICE: 'cuda:99' is not"),
    ],
)
def test_an_unusable_device_or_precision_is_a_setting_to_change(
    folder: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        mvd.load(folder, **options)  # type: ignore[arg-type]


def test_other_class_names_take_the_places_of_the_stored(folder: Path) -> None:
    assert mvd.load(folder, class_names=("rest", "groom", "twitch")).spec.classes == ("rest", "groom", "twitch")
    with pytest.raises(SettingsError, match="CLASS_NAMES has 1 names"):
        mvd.load(folder, class_names=("rest",))


def test_weights_of_another_network_are_refused_with_their_names(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "tiny")
    config = mvd.load(folder).config
    state = {name: tensor.numpy() for name, tensor in tiny_network(depth=1, num_classes=4).state_dict().items()}
    del state["fc_norm.bias"]
    modelfolder.write(folder, config, {**state, "pos_embed": np.zeros(1, np.float32)}, "card")
    with pytest.raises(ModelError) as caught:
        mvd.load(folder)
    message = str(caught.value)
    assert "blocks.1.norm1.weight (64,)" in message
    assert "fc_norm.bias (64,)" in message
    assert "1 unexpected: pos_embed (1,)" in message
    assert "head.weight (4, 64) instead of (3, 64)" in message


@pytest.mark.parametrize("key", ["dim", "depth", "heads", "mlp_ratio", "patch_size", "tubelet_size", "use_cls_token"])
def test_a_missing_size_of_the_network_is_named(folder: Path, key: str) -> None:
    path = folder / "config.json"
    document = json.loads(path.read_text())
    del document["network"][key]
    path.write_text(json.dumps(document))
    with pytest.raises(ModelError, match=f"network: key '{key}' is missing"):
        mvd.load(folder)


def test_a_config_of_other_clips_than_the_network_takes_is_not_saved(tmp_path: Path) -> None:
    clip = dataclasses.replace(tiny_config().input, num_frames=8)
    with pytest.raises(ModelError, match=r"the config says \(3, 8, 32\), the network has \(3, 4, 32\)"):
        mvd.save(tmp_path, tiny_network(), tiny_config(input=clip), "card")


def test_a_detector_is_refused(tmp_path: Path) -> None:
    modelfolder.write(tmp_path, RtdetrConfig(("mouse",), {}, ImageInput(640, 0.4)), {"a": np.zeros(1)}, "card")
    with pytest.raises(ModelError, match="swapped"):
        mvd.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "rt_detr_v2"}')
    with pytest.raises(ModelError, match=r"transformers library.*'rt_detr_v2'\. Is it the detector"):
        mvd.load(tmp_path)
