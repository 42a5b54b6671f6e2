"""The evaluation page in a real browser: its figures are drawn, and it fits its window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mousetal.types import FrameRange, Label
from tests.e2e.test_report_page import CHROMIUM, chromium, with_script
from tests.fixtures.results import CLASSIFIER, video_result
from training.evaluation import document, mistakes, page
from training.evaluation.comparison import of_result
from training.evaluation.document import Evaluated

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="skipped: no /usr/bin/chromium to open the page in"),
]


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Four videos of four animals; the truth is what was found, a little shifted."""
    videos = []
    for seed in range(4):
        result = video_result(f"cage {seed}/a & b.mp4", seconds=120, seed=seed)
        truth = [Label(b.behavior, FrameRange(b.start_frame + 3, b.end_frame + 9)) for b in result.bouts[::2]]
        videos.append(of_result(replace(result), truth, CLASSIFIER.classes[1:]))
    built = document.build(Evaluated(videos, "idle", {"title": "toy", "lead": "four videos"}))
    page.write(tmp_path / "evaluation.html", built, videos, {}, mistakes.worst(videos))
    return tmp_path / "evaluation.html"


def test_the_page_draws_its_figures(evaluation: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    chromium(tmp_path, f"--screenshot={shot}", "--window-size=1280,5000", evaluation.as_uri())
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    for color in ((0, 114, 178), (213, 94, 0)):
        assert (pixels == color).all(axis=2).sum() > 500, "the marks of a behaviour are missing"


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_never_scrolls_sideways_as_a_whole(evaluation: Path, tmp_path: Path, width: int) -> None:
    script = "const all = document.documentElement; document.title = `${all.scrollWidth} of ${all.clientWidth}`"
    tested = with_script(evaluation, script)
    tested.write_text(tested.read_text("utf-8").replace("style-src", "script-src 'unsafe-inline'; style-src"), "utf-8")
    dom = chromium(tmp_path, f"--window-size={width},900", "--dump-dom", tested.as_uri())
    assert f"<title>{width} of {width}</title>" in dom
