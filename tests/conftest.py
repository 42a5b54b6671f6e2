"""Fixtures that every kind of test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from mousetal import openvinoquiet

openvinoquiet.silence()  # tests import OpenVINO, too

# Services that tests start compute with torch: the other backends have tests of their own (test_backends.py), and
# converting two networks for every service that a test starts would take the suite minutes.
os.environ.setdefault("BACKEND", "torch")

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes is no property of it: the machine may be busy.
settings.register_profile("mousetal", deadline=None)
settings.load_profile("mousetal")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos and golden numbers beside a checkout; most checkouts have none."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("skipped: no ../shared")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """Golden numbers made by running the reference system on seeded weights."""
    return shared / "golden"


@pytest.fixture(scope="session")
def rater_table(shared: Path) -> Path:
    """Bouts of fourteen videos, each scored by three people; of a folder that its licence may keep away."""
    table = shared / "data/real/copyleft/dlcanalyzer_oft_labels/AllLabDataOFT_part.csv"
    if not table.exists():
        pytest.skip("skipped: no ../shared/data/real/copyleft")
    return table


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT
