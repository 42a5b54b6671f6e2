"""CUDA graphs without a GPU: everything around a capture, which itself is replaced by what can be had on a CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2SinePositionEmbedding

import mousetal.detector
import mousetal.mvd
from mousetal import acceptance, cudagraph, execution
from mousetal.cudagraph import Captured, Graph
from mousetal.detector import backends as detecting
from mousetal.detector.backends import TABLE, hold_tables
from mousetal.detector.prepared import Prepared
from mousetal.execution import Execution
from mousetal.mvd import backends as classifying
from mousetal.services import detector as detector_service
from mousetal.services import mvd as mvd_service
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.detectors import random_batch, random_network, saved_detector
from tests.fixtures.detectors import tiny_config as detector_config

CPU = torch.device("cpu")


def on_cpu(run: Callable[[Tensor], tuple[Tensor, ...]], static: Tensor, pool: object) -> Graph:
    """What a capture is like: outputs that stay where they are, and change with each replay."""
    outputs = tuple(output.clone() for output in run(static))

    def replay() -> None:
        for output, now in zip(outputs, run(static), strict=True):
            output.copy_(now)

    return Graph(replay, outputs, pool or object())


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, object]]:
    """The size and the pool of every capture; on this machine's CPU, as if it were a GPU."""
    made: list[tuple[int, object]] = []

    def capture(run: Callable[[Tensor], tuple[Tensor, ...]], static: Tensor, pool: object) -> Graph:
        graph = on_cpu(run, static, pool)
        made.append((len(static), graph.pool))
        return graph

    monkeypatch.setattr(cudagraph, "capture", capture)
    monkeypatch.setattr(Execution, "captured", lambda self: replace(self, graphs=True))
    return made


def clips(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    mousetal.mvd.save(tmp_path / "tiny", tiny_network(), tiny_config(), "# A card\n")
    return tmp_path / "tiny"


def test_every_size_is_captured_once_the_largest_first_in_one_pool(captures: list[tuple[int, object]]) -> None:
    tried = []

    def run(items: Tensor) -> tuple[Tensor, ...]:
        tried.append(torch.backends.cudnn.benchmark)
        return (items.float().mean(dim=1),)

    before = torch.backends.cudnn.benchmark
    captured = Captured(run, (3,), CPU, (1, 2, 4))
    assert [size for size, _ in captures] == [4, 2, 1]
    assert len({pool for _, pool in captures}) == 1
    assert all(tried)  # kernels are chosen by trying, and only here
    assert torch.backends.cudnn.benchmark == before
    rng = np.random.default_rng(0)
    for count in (4, 1, 3, 11, 2):  # what lies behind a smaller batch is that of the larger one before it
        items = torch.from_numpy(rng.integers(0, 256, (count, 3), dtype=np.uint8))
        (means,) = captured(items)
        torch.testing.assert_close(means, items.float().mean(dim=1))


def test_answers_stay_what_they_are_when_the_next_batch_is_computed(captures: list[tuple[int, object]]) -> None:
    captured = Captured(lambda items: (items.int() + 1,), (1,), CPU, (1, 2))
    (first,) = captured(torch.tensor([[1], [2]], dtype=torch.uint8))
    captured(torch.tensor([[7], [8]], dtype=torch.uint8))
    assert first.tolist() == [[2], [3]]


def test_both_networks_are_captured_for_what_services_give_them(
    captures: list[tuple[int, object]], tmp_path: Path, classifier: Path
) -> None:
    fast = mousetal.mvd.load(classifier)
    assert fast.spec.device == "cpu fp32 graphs"
    assert [size for size, _ in captures] == [8, 4, 2, 1]
    captures.clear()
    detector = mousetal.detector.load(saved_detector(tmp_path / "detector", score_threshold=0.1))
    assert [size for size, _ in captures] == [16, 8, 4, 2, 1]
    assert (detecting.LARGEST, classifying.LARGEST) == (detector_service.MAX_BATCH, mvd_service.MAX_BATCH)
    exact = mousetal.mvd.backends.TorchLogits(tiny_network(), tiny_config(), Execution(CPU))
    np.testing.assert_allclose(fast._logits(clips(11)), exact(clips(11)), rtol=0, atol=1e-5)
    assert len(detector.predict(random_batch(19))) == 19


def test_every_captured_size_is_compared_with_the_exact_network(captures: list[tuple[int, object]]) -> None:
    inputs = acceptance.make_clips(4, 32)
    sizes = Execution(CPU, graphs=True).sizes(8)
    batches = acceptance.batches(inputs, sizes)
    assert [len(batch) for batch in batches] == [1, 2, 4, 8] == list(sizes)
    np.testing.assert_array_equal(batches[3][4:], inputs)
    assert [len(batch) for batch in acceptance.batches(inputs)] == [1] * len(inputs)
    assert Execution(CPU, compiled=True, graphs=True).sizes(16) == (1, 4, 16)
    assert Execution(CPU).sizes(16) == ()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_where_capturing_fails_the_network_is_computed_without_loudly(
    precision: str, classifier: Path, captures: list[tuple[int, object]], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def refuse(*_: object) -> Graph:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors might be")

    monkeypatch.setattr(cudagraph, "capture", refuse)
    loaded = mousetal.mvd.load(classifier, precision=precision)
    assert loaded.spec.device == f"cpu {precision}"
    told = (f"NOT USED for tiny: cpu {precision} graphs, because CUDA error: operation not permitted when stream is "
            f"capturing. Trying cpu {precision} instead.")  # fmt: skip
    assert told in caplog.text


def test_a_graph_that_computes_something_else_is_refused(
    classifier: Path, captures: list[tuple[int, object]], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """As one would whose input lies elsewhere than it thinks, for batches of four only."""
    monkeypatch.setattr(
        cudagraph, "capture",
        lambda run, static, pool: Graph(lambda: None, run(static)) if len(static) == 4 else on_cpu(run, static, pool),
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        assert mousetal.mvd.load(classifier).spec.device == "cpu fp32"
    assert "NOT USED for tiny: cpu fp32 graphs, because a logit differs by" in caplog.text


def test_only_a_gpu_captures_and_the_exact_way_never_does() -> None:
    assert Execution(CPU).captured() == Execution(CPU)
    on_gpu = Execution(torch.device("cuda:0"), "bf16").captured()
    assert on_gpu.graphs
    assert not on_gpu.is_exact
    assert not on_gpu.exact().graphs
    assert replace(on_gpu, compiled=True).plainer() == on_gpu
    assert not on_gpu.plainer().graphs


def test_a_graph_keeps_the_tables_that_it_reads() -> None:
    layer = Prepared(random_network(), detector_config())
    hold_tables(layer)
    (holder,) = [getattr(part, TABLE) for part in layer.modules() if hasattr(part, TABLE)]
    asked = {"height": 2, "width": 2, "embed_dim": 16, "temperature": 10000, "device": CPU, "dtype": torch.float32}
    held = holder(**asked)
    for side in range(40):  # more than the library's own cache holds
        RTDetrV2SinePositionEmbedding._cached_build_2d_sinusoidal_position_embedding(**asked | {"height": side + 1})
    assert holder(**asked) is held
    images = torch.from_numpy(random_batch(1).images)
    with torch.inference_mode():
        plain = Prepared(random_network(), detector_config())
        for ours, theirs in zip(layer(images), plain(images), strict=True):
            assert torch.equal(ours, theirs)


def test_float32_is_not_rounded_on_a_gpu_and_what_compiles_can_read_that() -> None:
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    try:
        execution._compute_float32_as_such()
        assert not any(backend.allow_tf32 for backend in backends)
        assert torch.backends.cudnn.conv.fp32_precision != "tf32"
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.allow_tf32 = was


def test_attention_is_fused_in_the_detector() -> None:
    assert random_network().config._attn_implementation == "sdpa"
