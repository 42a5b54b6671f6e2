"""COMPILE: refused in one sentence where there is no compiler, and no other numbers where there is one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import mousetal.mvd
from mousetal.errors import SettingsError
from tests.fixtures.classifiers import tiny_config, tiny_network

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


@pytest.mark.slow
# What torch does without a compiler is the test before; with none there is nothing to compare.
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="skipped: no C++ compiler")
def test_a_compiled_network_gives_the_same_logits(folder: Path) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    fast = mousetal.mvd.load(folder, compile=True)
    np.testing.assert_allclose(fast._logits(clips), mousetal.mvd.load(folder)._logits(clips), rtol=0, atol=1e-4)
