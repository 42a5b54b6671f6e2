"""Fast ways to compute the networks: what they compute, when they are refused, and what is said then."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mousetal.detector
import mousetal.detector.backends
import mousetal.mvd
from mousetal import acceptance, modelfolder
from mousetal.acceptance import Tolerances
from mousetal.cores import usable_cores
from mousetal.detector.sampling import ProjectedFirst, SampledFirst, Sampling
from mousetal.errors import SettingsError
from mousetal.execution import Execution
from mousetal.modelconfig import RtdetrConfig
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.detectors import random_batch, saved_detector
from tests.fixtures.detectors import tiny_config as detector_config

openvino = pytest.importorskip("openvino", reason="skipped: openvino is not installed")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    mousetal.mvd.save(tmp_path / "tiny", tiny_network(), tiny_config(), "# A card\n")
    return tmp_path / "tiny"


def clips(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)


def test_openvino_gives_torchs_probabilities_for_any_number_of_clips(classifier: Path) -> None:
    fast = mousetal.mvd.load(classifier, backend="openvino", threads=2)
    assert fast.spec.device == "cpu fp32 openvino"
    for count in (0, 1, 5):
        exact = mousetal.mvd.load(classifier).predict(clips(count))
        np.testing.assert_allclose(fast.predict(clips(count)), exact, rtol=0, atol=1e-5)


def test_nothing_is_reported_over_the_network(classifier: Path, tmp_path: Path) -> None:
    """OpenVINO does as soon as it is imported, and first makes a file in the user's home; not on machines for tests."""
    script = (
        "import sys\n"
        "def heard(event, args):\n"
        "    if event.startswith('socket.connect') or event == 'socket.getaddrinfo':\n"
        "        raise SystemExit(f'{event} {args}')\n"
        "sys.addaudithook(heard)\n"
        "import mousetal.mvd\n"
        f"print(mousetal.mvd.load({str(classifier)!r}, backend='openvino').spec.device)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split("\n")[0] == "cpu fp32 openvino", done.stderr
    assert not list(home.rglob("*openvino*"))


def test_openvino_takes_arrays_that_must_not_be_written_to(classifier: Path) -> None:
    fast = mousetal.mvd.load(classifier, backend="openvino", threads=1)
    sent = np.frombuffer(clips(2).tobytes(), np.uint8).reshape(2, 4, 32, 32, 3)
    np.testing.assert_array_equal(fast.predict(sent), fast.predict(clips(2)))


def test_openvino_finds_torchs_boxes(tmp_path: Path) -> None:
    folder = saved_detector(tmp_path / "detector", score_threshold=0.1)
    fast = mousetal.detector.load(folder, backend="openvino", threads=2)
    assert fast.spec.device == "cpu fp32 openvino"
    batch = random_batch(5)
    for ours, theirs in zip(fast.predict(batch), mousetal.detector.load(folder).predict(batch), strict=True):
        assert ours.frame_index == theirs.frame_index
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, rtol=0, atol=0.05)


def test_a_backend_that_computes_something_else_is_refused_loudly(
    classifier: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mousetal.mvd.backends import OpenvinoLogits

    right = OpenvinoLogits.__call__
    monkeypatch.setattr(OpenvinoLogits, "__call__", lambda self, clips: right(self, clips) + 0.01)
    with caplog.at_level(logging.WARNING):
        loaded = mousetal.mvd.load(classifier, backend="openvino")
    assert loaded.spec.device == "cpu fp32"
    assert "NOT USED for tiny: cpu fp32 openvino, because a logit differs by 0.01" in caplog.text
    np.testing.assert_array_equal(loaded.predict(clips(2)), mousetal.mvd.load(classifier).predict(clips(2)))


def test_how_far_a_backend_may_be_off_is_the_model_folders_to_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strict = replace(tiny_config(), acceptance=Tolerances(logits=1e-12, boxes=0.01))
    mousetal.mvd.save(tmp_path / "strict", tiny_network(), strict, "# A card\n")
    assert modelfolder.read_config(tmp_path / "strict") == replace(strict, network=modelfolder.read_config(
        tmp_path / "strict").network)  # fmt: skip
    assert mousetal.mvd.load(tmp_path / "strict", backend="openvino").spec.device == "cpu fp32"
    assert "NOT USED" in caplog.text


def test_a_precision_that_the_cpu_lacks_is_refused_loudly(
    tmp_path: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(mousetal.openvinograph.CAPABILITIES, "bf16", "SUCH AS NO CPU HAS")  # type: ignore[attr-defined]
    loaded = mousetal.mvd.load(classifier, precision="bf16", backend="openvino")
    assert loaded.spec.device == "cpu fp32 openvino"
    folder = saved_detector(tmp_path / "detector")
    assert mousetal.detector.load(folder, precision="bf16", backend="openvino").spec.device == "cpu fp32 openvino"
    assert caplog.text.count("this CPU computes no bf16. Trying cpu fp32 openvino instead") == 2


def test_auto_takes_openvino_on_a_cpu_only() -> None:
    assert Execution.on("cpu", "fp32", compiled=False, backend="auto").backend == "openvino"
    assert Execution.on("cpu", "fp32", compiled=True, backend="auto").backend == "torch"
    assert Execution.on("meta", "fp32", compiled=False, backend="auto").backend == "torch"
    with pytest.raises(SettingsError, match="BACKEND: openvino runs on the CPU, DEVICE is meta"):
        Execution.on("meta", "fp32", compiled=False, backend="openvino")
    with pytest.raises(SettingsError, match="BACKEND: one of auto, torch, openvino, ncnn expected, got 'onnx'"):
        Execution.on("cpu", "fp32", compiled=False, backend="onnx")


def test_without_openvino_auto_is_torch_and_openvino_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert Execution.on("cpu", "fp32", compiled=False, backend="auto").backend == "torch"
    with pytest.raises(SettingsError, match="openvino is not installed here"):
        Execution.on("cpu", "fp32", compiled=False, backend="openvino")


def test_boxes_are_judged_by_what_they_are_not_by_their_place_in_the_list() -> None:
    rng = np.random.default_rng(0)
    logits, boxes = rng.normal(0, 2, (3, 6, 2)).astype(np.float32), rng.uniform(0, 1, (3, 6, 4)).astype(np.float32)
    order = rng.permutation(6)
    shuffled = logits[:, order], boxes[:, order]
    allowed = Tolerances(logits=0.1, boxes=0.01)
    assert not acceptance.judge_boxes((logits, boxes), shuffled, 0.0, allowed).problem
    moved = boxes.copy()
    moved[1, logits[1].max(axis=1).argmax()] += 0.02
    verdict = acceptance.judge_boxes((logits, boxes), (logits, moved), 0.0, allowed)
    assert "a box moves by 0.02 of the image" in verdict.problem


def test_a_faint_box_that_counts_for_nothing_may_differ() -> None:
    logits = np.array([[[3.0], [-5.0]]], np.float32)
    boxes = np.full((1, 2, 4), 0.5, np.float32)
    other = logits + np.array([[[0.0], [2.0]]], np.float32)
    assert not acceptance.judge_boxes((logits, boxes), (other, boxes), 0.0, Tolerances()).problem
    assert acceptance.judge_boxes((logits, boxes), (other, boxes), -6.0, Tolerances()).problem


def test_a_slow_network_is_judged_by_as_many_inputs_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = acceptance.batches(acceptance.make_images(16))
    assert len(acceptance.both(np.copy, np.copy, inputs)[0]) == len(inputs)
    monkeypatch.setattr(acceptance, "ENOUGH_S", -1.0)
    exact, fast = acceptance.both(np.copy, np.negative, inputs)
    np.testing.assert_array_equal(exact[0], inputs[0])
    assert len(exact) == len(fast) == 1


def test_maps_are_sampled_first_where_numbers_are_exact_and_products_dear() -> None:
    def order(device: str, precision: str) -> type[Sampling]:
        return mousetal.detector.backends.sampling_order(Execution(torch.device(device), precision))

    assert order("cpu", "fp32") is SampledFirst
    assert {order("cpu", "bf16"), order("cuda", "fp32"), order("cuda", "bf16")} == {ProjectedFirst}


def test_numbers_that_are_not_finite_are_refused() -> None:
    logits, boxes = np.zeros((1, 2, 1), np.float32), np.zeros((1, 2, 4), np.float32)
    broken = np.full_like(logits, np.nan)
    assert "not finite" in acceptance.judge_boxes((logits, boxes), (broken, boxes), 0.0, Tolerances()).problem
    assert "not finite" in acceptance.judge_logits(logits[0], broken[0], Tolerances()).problem


def test_a_changed_class_is_refused_though_no_logit_is_far_off() -> None:
    exact = np.array([[1.0, 0.95, 0.0]] * 8, np.float32)
    fast = exact + np.array([[0.0, 0.09, 0.0]] * 8, np.float32)
    assert "class is the same on 0.0%" in acceptance.judge_logits(exact, fast, Tolerances()).problem


def test_inputs_to_compare_on_are_always_the_same_and_not_alike() -> None:
    first = acceptance.make_clips(4, 32)
    np.testing.assert_array_equal(first, acceptance.make_clips(4, 32))
    assert len({clip.tobytes() for clip in first}) == acceptance.COUNT
    assert (first[:, 0] != first[:, 3]).any(axis=(1, 2, 3)).all()  # something moves
    assert acceptance.make_images(64, 3).shape == (3, 64, 64, 3)


def test_a_folder_with_impossible_tolerances_is_refused(tmp_path: Path) -> None:
    config = replace(detector_config(), acceptance=Tolerances(logits=0.0, boxes=0.01))
    assert isinstance(config, RtdetrConfig)
    modelfolder.write(tmp_path, config, {"a": np.zeros(1, np.float32)}, "card")
    with pytest.raises(mousetal.errors.ModelError, match="acceptance: numbers above 0 expected"):
        modelfolder.read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_a_containers_share_of_the_cores_counts(tmp_path: Path, text: str, expected: int | None) -> None:
    path = tmp_path / "cpu.max"
    without = usable_cores(path)
    path.write_text(text)
    assert usable_cores(path) == (min(without, expected) if expected else without)
