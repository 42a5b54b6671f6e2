"""The report in a real browser: it draws, its script runs, it asks nothing of the network, it prints whole."""

from __future__ import annotations

import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference_script.report import write_report
from inference_script.thumbnails import file_of
from mousetal import records
from mousetal.formats.csv import VideoRow
from tests.fixtures.results import video_result

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="skipped: no /usr/bin/chromium to open the page in"),
]
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def chromium(tmp_path: Path, *arguments: str) -> str:
    """What a headless browser of its own profile prints."""
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A report over three videos: one busy, one long with a hole, one in which nothing happens."""
    results = [
        video_result("a/busy mouse.mp4", seconds=60, seed=1),
        video_result("ümläut & <co>.mp4", seconds=180, seed=2, lost_s=(60, 90)),
        video_result("quiet.mp4", is_quiet=True),
    ]
    for result in results:
        folder = records.thumbnails_path(tmp_path, result.video)
        folder.mkdir(parents=True)
        for bout in result.bouts:
            Image.new("RGB", (867, 200), (90, 120, 90)).save(file_of(folder, bout))
    rows = [VideoRow.of(result, "done", 1.0) for result in results]
    return write_report(tmp_path, results, [*rows, VideoRow("broken.mp4", "failed", "no video stream")], {})


@pytest.fixture
def visits() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and the requests that it has been sent."""
    seen: list[str] = []

    class Notebook(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Notebook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def with_script(page: Path, script: str) -> Path:
    """The page with a script at its end that tests it from within."""
    text = page.read_text("utf-8")
    tested = page.with_name("tested.html")
    tested.write_text(text.replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    return tested


def test_the_page_draws_its_figures(page: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    chromium(tmp_path, f"--screenshot={shot}", "--window-size=1280,4000", page.as_uri())
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    for color in ((0, 114, 178), (213, 94, 0)):
        assert (pixels == color).all(axis=2).sum() > 500, "the bars of a behaviour are missing"


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_never_scrolls_sideways_as_a_whole(page: Path, tmp_path: Path, width: int) -> None:
    script = "const all = document.documentElement; document.title = `${all.scrollWidth} of ${all.clientWidth}`"
    dom = chromium(tmp_path, f"--window-size={width},900", "--dump-dom", with_script(page, script).as_uri())
    assert f"<title>{width} of {width}</title>" in dom


def test_zoom_sorting_and_enlarging_work(page: Path, tmp_path: Path) -> None:
    script = """
    const say = [];
    addEventListener("error", (event) => say.push("error " + event.message));
    document.querySelector("[data-zoom='4']:is(button)").click();
    say.push("zoom " + document.querySelector(".plot[data-zoom='4']").style.width);
    const heads = [...document.querySelectorAll("th.sortable")];
    const bouts = heads.find((head) => head.textContent.startsWith("Bouts"));
    bouts.click(); bouts.click();
    const column = [...document.querySelectorAll("table.summary tbody tr")].map((row) => +row.cells[4].textContent);
    say.push("sorted " + column.every((n, i) => i === 0 || n <= column[i - 1]));
    document.querySelector(".enlarge").click();
    say.push("enlarged " + document.getElementById("viewer").open);
    location.hash = document.querySelector("a[href^='#v2-']").getAttribute("href");
    document.title = say.join(", ");
    """
    dom = chromium(tmp_path, "--dump-dom", with_script(page, script).as_uri())
    assert "<title>zoom 400%, sorted true, enlarged true</title>" in dom


@pytest.mark.parametrize("is_held", [True, False])
def test_the_browser_is_held_to_load_nothing(
    page: Path, tmp_path: Path, visits: tuple[str, list[str]], is_held: bool
) -> None:
    address, seen = visits
    tested = with_script(page, f"new Image().src = '{address}/picture'; fetch('{address}/data').catch(() => 0);")
    if not is_held:  # without the policy the same page does load: the test would notice
        text = tested.read_text("utf-8")
        tested.write_text(re.sub("<meta http-equiv[^>]*>", "", text), "utf-8")
    chromium(tmp_path, "--dump-dom", "--virtual-time-budget=2000", tested.as_uri())
    assert bool(seen) is not is_held


def test_the_page_prints_to_paper(page: Path, tmp_path: Path) -> None:
    paper = tmp_path / "report.pdf"
    chromium(tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer", page.as_uri())
    assert paper.read_bytes().startswith(b"%PDF")
    assert paper.stat().st_size > 20_000
