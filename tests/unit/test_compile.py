"""COMPILE: refused in one sentence where there is no compiler, and no other numbers where there is one."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import mousetal.detector
import mousetal.mvd
from mousetal import torchrun
from mousetal.compiled import CACHE_KEY, keep_artefacts
from mousetal.errors import SettingsError
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.detectors import random_batch, saved_detector

# Of torch's own: it imports what it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny classifier; what torch compiles is kept beside it, so that nothing is left and nothing is found."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch.compiler.reset()
    mousetal.mvd.save(tmp_path / "tiny", tiny_network(), tiny_config(), "# A card\n")
    return tmp_path / "tiny"


def test_without_a_compiler_the_setting_is_refused(folder: Path) -> None:
    from torch._inductor import config

    told = r"^COMPILE: the network cannot be compiled here \(.*No working C\+\+ compiler.*\)\. Set COMPILE=0\.$"
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.raises(SettingsError, match=told):
        mousetal.mvd.load(folder, compile=True)


@pytest.mark.parametrize("network", ["mvd", "detector"])
def test_what_cannot_be_compiled_is_computed_without_loudly(
    network: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("a way to write Python that torch does not know\nand more")

    monkeypatch.setattr(torchrun, "compile_module", refuse)
    if network == "mvd":
        device = mousetal.mvd.load(folder, compile=True).spec.device
    else:
        device = mousetal.detector.load(saved_detector(tmp_path / "tiny-detector"), compile=True).spec.device
    assert device == "cpu fp32"
    told = "cpu fp32 compiled, because a way to write Python that torch does not know. Trying cpu fp32 instead."
    assert told in caplog.text


def test_what_was_compiled_is_kept_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_KEY, "chosen")
    keep_artefacts()
    assert os.environ[CACHE_KEY] == "chosen"
    monkeypatch.setenv(CACHE_KEY, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_artefacts()
    assert Path(os.environ[CACHE_KEY]) == tmp_path / "cache" / "mousetal" / "compiled"
    assert (tmp_path / "cache" / "mousetal" / "compiled").is_dir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_KEY, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_artefacts()
    assert not os.environ[CACHE_KEY]  # torch chooses


# What torch does without a compiler is the first test; with none there is nothing to compare.
needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="skipped: no C++ compiler"
)


@pytest.mark.slow
@needs_compiler
def test_a_compiled_network_gives_the_same_logits_in_batches_of_any_length(folder: Path) -> None:
    fast, exact = mousetal.mvd.load(folder, compile=True), mousetal.mvd.load(folder)
    assert fast.spec.device == "cpu fp32 compiled"
    graphs = counters["stats"]["unique_graphs"]
    with ThreadPoolExecutor(1) as thread:  # as a service does: loaded in one, used in another
        for count in (1, 2, 3, 7):
            clips = np.random.default_rng(count).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)
            found = thread.submit(fast._logits, clips).result()
            np.testing.assert_allclose(found, exact._logits(clips), rtol=0, atol=1e-4)
    assert counters["stats"]["unique_graphs"] == graphs  # nothing was compiled anew


@pytest.mark.slow
@needs_compiler
def test_a_compiled_detector_finds_the_same_boxes_and_is_one_graph(folder: Path, tmp_path: Path) -> None:
    saved = saved_detector(tmp_path / "tiny-detector")
    counters.clear()
    fast, exact = mousetal.detector.load(saved, compile=True), mousetal.detector.load(saved)
    assert fast.spec.device == "cpu fp32 compiled"
    for count in (1, 5):
        ours, theirs = fast.forward(random_batch(count).images), exact.forward(random_batch(count).images)
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.boxes, theirs.boxes, rtol=0, atol=1e-4)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 1
