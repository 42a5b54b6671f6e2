"""Convolutions by ncnn: the same detections, by threads of which there are no more than allowed, or a loud way back."""

from __future__ import annotations

import logging
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mousetal.detector
import mousetal.mvd
from mousetal import acceptance
from mousetal.detector import NetworkConfig
from mousetal.detector.backends import Raw, judge, ways
from mousetal.detector.config import VARIANTS
from mousetal.errors import SettingsError
from mousetal.execution import Execution
from mousetal.modelconfig import ImageInput, RtdetrConfig
from tests.fixtures.classifiers import tiny_config as classifier_config
from tests.fixtures.classifiers import tiny_network as classifier_network
from tests.fixtures.detectors import TINY, random_batch, random_network, saved_detector, tiny_config

pytest.importorskip("openvino", reason="skipped: openvino is not installed")
pytest.importorskip("ncnn", reason="skipped: ncnn is not installed")
pnnx = pytest.importorskip("pnnx", reason="skipped: pnnx is not installed")

NARROW = {"stem_width": 8, "encoder_dim": 32, "encoder_ffn": 48, "hidden_dim": 32, "decoder_ffn": 40, "num_queries": 20}
AS_PUBLISHED = {  # as deep as they are, and narrow; without trained weights many layers let nothing through
    "r18vd": replace(VARIANTS["r18vd"], num_classes=2, num_heads=4, widths=(8, 16, 24, 32), **NARROW),
    "r50vd_m": replace(
        VARIANTS["r50vd_m"], num_classes=2, num_heads=4, widths=(16, 32, 48, 64), depths=(1, 2, 1, 1), **NARROW
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_detector(tmp_path / "detector", score_threshold=0.1)


@pytest.fixture(scope="session")
def real() -> str:
    """pnnx's program."""
    return str(pnnx.EXEC_PATH)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary folders are made."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


class Layers(nn.Module):
    """Convolutions of every kind that detectors have, to two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 40, 3, stride=2, padding=1)
        self.wide, self.point = nn.Conv2d(40, 72, 3, padding=1), nn.Conv2d(72, 5, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        half = torch.relu(self.down(torch.nn.functional.silu(self.first(pixels))))
        return half, self.point(self.wide(half))


@pytest.mark.parametrize(("height", "width"), [(37, 53), (5, 64), (66, 7)])
def test_sides_that_are_no_multiples_of_a_tile_change_nothing(height: int, width: int, temporary: Path) -> None:
    from mousetal.ncnngraph import NcnnGraph

    torch.manual_seed(0)
    module = Layers().eval()
    graph = NcnnGraph(module, torch.zeros(1, 3, height, width))
    assert not list(temporary.iterdir())  # what was written for the conversion
    items = np.random.default_rng(0).normal(size=(6, 3, height, width)).astype(np.float32)
    with torch.inference_mode():
        exact = module.double()(torch.from_numpy(items).double())
    with ThreadPoolExecutor(3) as pool:  # several at a time, as the items of a batch
        for number, found in enumerate(pool.map(graph, items)):
            for ours, theirs in zip(found, exact, strict=True):
                np.testing.assert_allclose(ours, theirs[number].numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_a_network_of_published_shape_says_what_it_says_by_torch(name: str, tmp_path: Path) -> None:
    size = 96  # maps of 12, 6 and 3 pixels
    sizes = AS_PUBLISHED[name]
    config = replace(tiny_config(sizes), input=ImageInput(size, 0.1))
    mousetal.detector.save(tmp_path / name, random_network(sizes), config, "# Random\n")
    fast, exact = (mousetal.detector.load(tmp_path / name, backend=one, threads=2) for one in ("ncnn", "torch"))
    assert fast.spec == replace(exact.spec, device="cpu fp32 ncnn")
    images = random_batch(3, size=size).images
    assert not judge([exact.forward(images)], [fast.forward(images)], acceptance.Tolerances(1e-3, 1e-3), 0.1).problem


def test_the_demo_detector_is_accepted(root: Path, temporary: Path) -> None:
    path = root / "models" / "demo-detector"
    fast, exact = mousetal.detector.load(path, backend="ncnn"), mousetal.detector.load(path)
    assert fast.spec == replace(exact.spec, device="cpu fp32 ncnn")
    images = acceptance.make_images(exact.spec.input_size, 8)
    threshold = exact.spec.score_threshold
    assert not judge(
        [exact.forward(images)], [fast.forward(images)], acceptance.Tolerances(1e-4, 1e-5), threshold
    ).problem
    assert not list(temporary.iterdir())


def test_a_batch_of_any_length_is_answered_in_order_by_as_many_threads_as_allowed(folder: Path) -> None:
    before = set(threading.enumerate())
    fast, exact = mousetal.detector.load(folder, backend="ncnn", threads=2), mousetal.detector.load(folder)
    for count in (0, 1, 7):
        for ours, theirs in zip(fast.predict(random_batch(count)), exact.predict(random_batch(count)), strict=True):
            assert ours.frame_index == theirs.frame_index
            np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-4)
            np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, rtol=0, atol=0.05)
    started = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("detector")]
    assert 1 <= len(started) <= 2


def script(text: str) -> str:
    return f"#!/bin/sh\n{text}\n"


CONVERTERS = {
    "no program": ("not a program", "cannot be converted for ncnn"),
    "one that fails": (script("echo it is not to be; exit 3"), "exit code 3: it is not to be"),
    "one that writes nothing": (script("exit 0"), "exit code 0: nothing was said"),
    "one that lacks memory": (script('ulimit -v 100000; exec {real} "$@"'), "pnnx could not convert the network"),
    "a full disk": (script('trap "" XFSZ; ulimit -f 100; exec {real} "$@"'), "ncnn cannot read what pnnx made"),
}


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is run in pnnx's place; to be written."""
    program = tmp_path / "pnnx"
    program.touch(0o755)
    monkeypatch.setattr(pnnx, "EXEC_PATH", str(program))
    return program


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_conversion_that_fails_is_told_in_a_sentence_and_leaves_nothing(
    name: str, converter: Path, temporary: Path, real: str
) -> None:
    from mousetal.ncnngraph import NcnnGraph

    text, said = CONVERTERS[name]
    converter.write_text(text.replace("{real}", real))
    with pytest.raises(RuntimeError, match=said) as raised:
        NcnnGraph(Layers().eval(), torch.zeros(1, 3, 20, 20))
    assert "\n" not in str(raised.value)
    assert not list(temporary.iterdir())


def test_without_a_place_for_temporary_files_there_is_no_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mousetal.ncnngraph import NcnnGraph

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "lost"))
    with pytest.raises(RuntimeError, match=r"cannot be converted for ncnn \(.*No such file or directory"):
        NcnnGraph(Layers().eval(), torch.zeros(1, 3, 20, 20))


def test_where_ncnn_fails_openvino_is_taken_loudly_and_torch_where_that_is_wrong_too(
    folder: Path, converter: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mousetal.detector.backends import OpenvinoForward

    converter.write_text(script("echo it is not to be; exit 3"))
    assert mousetal.detector.load(folder, backend="ncnn").spec.device == "cpu fp32 openvino"
    assert "NOT USED for detector: cpu fp32 ncnn, because pnnx could not convert the network" in caplog.text
    assert "it is not to be). Trying cpu fp32 openvino instead" in caplog.text
    right = OpenvinoForward.__call__

    def wrong(self: OpenvinoForward, images: np.ndarray) -> Raw:
        raw = right(self, images)
        return Raw(raw.logits + 0.01, raw.boxes)

    monkeypatch.setattr(OpenvinoForward, "__call__", wrong)
    assert mousetal.detector.load(folder, backend="ncnn").spec.device == "cpu fp32"
    assert "Trying cpu fp32 instead" in caplog.text


def test_ncnn_that_says_something_else_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mousetal.ncnngraph import NcnnGraph

    right = NcnnGraph.__call__
    monkeypatch.setattr(NcnnGraph, "__call__", lambda self, item: tuple(one * 1.1 for one in right(self, item)))
    assert mousetal.detector.load(folder, backend="ncnn").spec.device == "cpu fp32 openvino"
    assert "NOT USED for detector: cpu fp32 ncnn, because a box moves by" in caplog.text


def test_auto_takes_ncnn_for_wide_detectors_of_large_pictures_in_fp32_only() -> None:
    def chosen(sizes: NetworkConfig, side: int, precision: str = "fp32") -> Execution:
        names = tuple(f"animal {number}" for number in range(sizes.num_classes))
        config = RtdetrConfig(names, sizes.to_json(), ImageInput(side, 0.5))
        return Execution.on("cpu", precision, compiled=False, backend="auto", ways=ways(config))

    assert [chosen(sizes, 640).backend for sizes in VARIANTS.values()] == ["ncnn"] * len(VARIANTS)
    assert chosen(VARIANTS["r18vd"], 160).backend == "openvino"
    assert chosen(TINY, 640).backend == "openvino"
    halved = chosen(VARIANTS["r18vd"], 640, "bf16")
    assert halved.backend == "openvino"
    assert halved.next_best().backend == "ncnn"  # should bf16 be refused
    assert halved.next_best().next_best() == replace(halved, precision="fp32")
    eighths = chosen(VARIANTS["r18vd"], 640, "int8")
    assert (eighths.backend, eighths.next_best()) == ("openvino", halved)


def test_without_ncnn_auto_is_openvino_and_ncnn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"openvino", "ncnn"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in found else None)
    both = ("ncnn", "openvino")
    assert Execution.on("cpu", "fp32", compiled=False, backend="auto", ways=both).backend == "openvino"
    with pytest.raises(SettingsError, match=r"BACKEND: pnnx is not installed here\. pip install pnnx, or"):
        Execution.on("cpu", "fp32", compiled=False, backend="ncnn", ways=both)
    found.clear()
    assert Execution.on("cpu", "fp32", compiled=False, backend="auto", ways=both).backend == "torch"
    with pytest.raises(SettingsError, match="ncnn and pnnx and openvino are not installed here"):
        Execution.on("cpu", "fp32", compiled=False, backend="ncnn", ways=both)


def test_ncnn_is_no_way_to_compute_on_a_gpu() -> None:
    with pytest.raises(SettingsError, match="BACKEND: ncnn runs on the CPU, DEVICE is meta"):
        Execution.on("meta", "fp32", compiled=False, backend="ncnn", ways=("ncnn", "openvino"))


def test_what_ncnn_does_not_compute_openvino_does_and_a_line_says_so(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mousetal.mvd.save(tmp_path / "tiny", classifier_network(), classifier_config(), "# A card\n")
    with caplog.at_level(logging.INFO):
        assert mousetal.mvd.load(tmp_path / "tiny", backend="ncnn").spec.device == "cpu fp32 openvino"
    assert "BACKEND=ncnn does not compute this network in fp32: openvino does" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        asked = Execution.on("cpu", "bf16", compiled=False, backend="ncnn", ways=("ncnn", "openvino"))
    assert (asked.backend, asked.next_best().backend) == ("openvino", "ncnn")
    assert "BACKEND=ncnn does not compute this network in bf16: openvino does" in caplog.text
