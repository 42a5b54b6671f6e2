"""Model folders of ours, and what a loaded detector answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal import detector
from mousetal.detector.predict import Raw, best
from mousetal.errors import InvalidRequest, ModelError, SettingsError
from mousetal.types import DetectorBatch
from tests.fixtures.detectors import INPUT_SIZE, TINY, random_batch, random_network, saved_detector, tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> detector.Detector:
    return detector.load(folder)


def test_a_saved_detector_loads_as_it_was(loaded: detector.Detector) -> None:
    original = random_network().state_dict()
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, original[name]), name
    assert loaded.config == tiny_config()
    assert loaded.spec.classes == ("mouse", "hand")
    assert len(loaded.spec.sha256) == 64


def test_saving_leaves_the_random_numbers_of_a_training_alone(tmp_path: Path) -> None:
    network = random_network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    detector.save(tmp_path, network, tiny_config(), "")
    assert torch.equal(torch.rand(3), expected)


def test_a_network_of_other_sizes_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="misshapen"):
        detector.save(tmp_path, random_network(), tiny_config(replace(TINY, decoder_ffn=64)), "")
    assert not list(tmp_path.iterdir())


def test_a_config_whose_classes_are_not_the_network_s_is_refused(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    document["classes"] = ["mouse"]
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="2 classes, but 1 are named"):
        detector.load(tmp_path)


def test_class_names_of_another_number_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="CLASS_NAMES has 3 names"):
        detector.load(folder, class_names=("a", "b", "c"))
    assert detector.load(folder, class_names=("rat", "glove")).spec.classes == ("rat", "glove")


@pytest.mark.parametrize("arguments", [{"precision": "fp8"}, {"device": "abacus"}])
def test_an_unusable_device_or_precision_is_refused(folder: Path, arguments: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(arguments.values()))):
        detector.load(folder, **arguments)


def test_detections_come_per_frame_best_first_and_at_or_above_the_threshold(loaded: detector.Detector) -> None:
    batch = random_batch(3)
    everything = loaded.predict(batch, score_threshold=0.0)
    assert [found.frame_index for found in everything] == [10, 11, 12]
    assert all(len(found) == TINY.num_queries for found in everything)
    threshold = float(everything[1].scores[4])
    for all_of_frame, kept in zip(everything, loaded.predict(batch, score_threshold=threshold), strict=True):
        count = int((all_of_frame.scores >= np.float32(threshold)).sum())
        np.testing.assert_array_equal(kept.scores, all_of_frame.scores[:count])
        np.testing.assert_array_equal(kept.boxes_xyxy, all_of_frame.boxes_xyxy[:count])
        assert (np.diff(kept.scores) <= 0).all()
    found = everything[0]
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)


def test_the_threshold_is_the_model_s_unless_one_is_given(tmp_path: Path) -> None:
    lenient = detector.load(saved_detector(tmp_path / "lenient", score_threshold=0.0))
    strict = detector.load(saved_detector(tmp_path / "strict", score_threshold=1.0))
    assert len(lenient.predict(random_batch(1))[0]) == TINY.num_queries
    assert len(strict.predict(random_batch(1))[0]) == 0
    assert strict.predict(random_batch(1))[0].boxes_xyxy.shape == (0, 4)


def test_frames_of_one_batch_do_not_influence_each_other(loaded: detector.Detector) -> None:
    batch = random_batch(3)
    together = loaded.predict(batch, score_threshold=0.0)
    for i in range(3):
        alone = DetectorBatch(batch.frame_indices[i : i + 1], batch.source_sizes[i : i + 1], batch.images[i : i + 1])
        found = loaded.predict(alone, score_threshold=0.0)[0]
        np.testing.assert_allclose(found.scores, together[i].scores, rtol=0, atol=1e-5)


def test_detecting_batches_is_lazy_and_in_order(loaded: detector.Detector) -> None:
    pulled = []

    def batches() -> object:
        for seed in range(2):
            pulled.append(seed)
            yield random_batch(1, seed)

    results = loaded.detect(batches())  # type: ignore[arg-type]
    assert pulled == []
    next(results)
    assert pulled == [0]
    assert len(list(results)) == 1


@pytest.mark.parametrize("size", [INPUT_SIZE - 32, INPUT_SIZE + 32])
def test_images_of_another_size_are_refused(loaded: detector.Detector, size: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"\(n, 64, 64, 3\) expected, got uint8 \(1, {size}"):
        loaded.predict(random_batch(1, size=size))


def test_float_images_and_a_batch_of_uneven_parts_are_refused(loaded: detector.Detector) -> None:
    batch = random_batch(2)
    with pytest.raises(InvalidRequest, match="float64"):
        loaded.predict(replace(batch, images=batch.images / 255))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="1 source sizes"):
        loaded.predict(replace(batch, source_sizes=((320, 240),)))


def test_an_empty_batch_has_no_detections(loaded: detector.Detector) -> None:
    assert loaded.predict(random_batch(0)) == []


def test_read_only_images_are_taken(loaded: detector.Detector) -> None:
    batch = random_batch(1)
    batch.images.flags.writeable = False
    assert len(loaded.predict(batch)) == 1


def test_bf16_stays_close_to_fp32(folder: Path, loaded: detector.Detector) -> None:
    exact = loaded.forward(random_batch(2).images)
    rough = detector.load(folder, precision="bf16").forward(random_batch(2).images)
    difference = (exact.logits.sort(dim=1).values - rough.logits.sort(dim=1).values).abs()
    assert 0 < difference.median() < 0.05


def test_numbers_that_overflow_are_an_error_and_no_empty_answer(tmp_path: Path) -> None:
    network = random_network()
    with torch.no_grad():
        network.model.enc_output[0].weight.fill_(float("nan"))
    detector.save(tmp_path, network, tiny_config(), "")
    with pytest.raises(ModelError, match="no finite numbers"):
        detector.load(tmp_path).predict(random_batch(1))


def test_warming_up_needs_no_images(loaded: detector.Detector) -> None:
    loaded.warm_up()


def test_the_layer_used_is_the_one_the_config_names(folder: Path, tmp_path: Path) -> None:
    detector.save(tmp_path, random_network(), tiny_config(replace(TINY, eval_layer=0)), "")
    first, last = (detector.load(path).forward(random_batch(1).images) for path in (tmp_path, folder))
    pixels = torch.tensor(random_batch(1).images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        output = random_network()(pixel_values=pixels)
    torch.testing.assert_close(first.boxes, output.intermediate_reference_points[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(last.boxes, output.intermediate_reference_points[:, 1], rtol=0, atol=1e-5)
    assert not torch.allclose(first.boxes, last.boxes, atol=1e-3)


shares = st.floats(0, 1, width=32)


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=2), min_size=4, max_size=4),
    boxes=st.lists(st.tuples(shares, shares, shares, shares), min_size=4, max_size=4),
    size=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
)
def test_best_scores_agree_with_picking_them_one_by_one(
    logits: list[list[float]], boxes: list[tuple[float, ...]], size: tuple[int, int]
) -> None:
    scores, labels, corners = best(Raw(torch.tensor([logits]), torch.tensor([boxes])), [size])
    ranked = sorted((value for row in logits for value in row), reverse=True)[:4]
    np.testing.assert_allclose(scores[0], torch.tensor(ranked).sigmoid(), rtol=1e-6)
    width, height = size
    candidates = {(label, box) for row, box in zip(logits, boxes, strict=True) for label, _ in enumerate(row)}
    for label, corner in zip(labels[0].tolist(), corners[0].numpy(), strict=True):
        assert any(
            label == of and np.allclose(corner, _corners(box, width, height), rtol=1e-5, atol=1e-3)
            for of, box in candidates
        )


def _corners(box: tuple[float, ...], width: int, height: int) -> list[float]:
    x, y, w, h = box
    return [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
