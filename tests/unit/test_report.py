"""The report: its numbers, its figures, and that the page is whole, safe and sends for nothing."""

from __future__ import annotations

import dataclasses
import html.parser
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_script.report import drawing, numbers, page, sections, words, write_report
from mousetal import records, svg
from mousetal.formats.csv import VideoRow
from mousetal.types import Bout, BoutRule, FrameBox, FrameRange, NotScored, VideoResult
from tests.fixtures.results import CLASSIFIER, video_result

RUN = {
    "version": "9.8.7",
    "finished_at": "2026-05-04T03:02:01+00:00",
    "settings": {"FORMATS": ["reference", "supervisely"], "DETECTION_THRESHOLD": None},
    "stages": {"decode": {"items": 600, "seconds": 1.25}},
}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class PageReader(html.parser.HTMLParser):
    """Reads a page, and fails where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [found["href"]] if found.get("href") else []
        self.sources += [found["src"]] if found.get("src") else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that closes itself, as SVG has it."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.words += data if self.open and self.open[-1] not in ("style", "script") else ""


def with_bouts(
    result: VideoResult, *spans: tuple[str, int, int], holes: tuple[tuple[int, int], ...] = ()
) -> VideoResult:
    """The same result with just these bouts (behaviour, start, end) and these frames not scored."""
    return dataclasses.replace(
        result,
        bouts=tuple(Bout(name, start, end, 0.9, 0.8, (10, 10, 40, 40)) for name, start, end in spans),
        not_scored=tuple(NotScored(FrameRange(start, end), "no animal") for start, end in holes),
    )


def report(tmp_path: Path, *results: VideoResult, failed: tuple[VideoRow, ...] = ()) -> tuple[str, PageReader]:
    rows = [VideoRow.of(result, "done", 1.0) for result in results] + list(failed)
    text = write_report(tmp_path, iter(results), rows, RUN).read_text("utf-8")
    return text, PageReader(text)


def test_numbers_relate_to_the_scored_time_only() -> None:
    result = with_bouts(video_result(seconds=20, fps=Fraction(10)), ("self-grooming", 20, 50), holes=((100, 200),))
    grooming, twitch = numbers.of_video(result)
    assert numbers.scored_seconds(result) == pytest.approx(10)
    assert (grooming.bouts, grooming.total_s, grooming.percent) == (1, pytest.approx(3), pytest.approx(30))
    assert grooming.per_minute == pytest.approx(6)
    assert grooming.latency_s == pytest.approx(2)
    assert (twitch.bouts, twitch.percent, twitch.latency_s, twitch.mean_s) == (0, 0, None, None)


def test_frames_left_out_for_two_reasons_are_left_out_once() -> None:
    result = with_bouts(video_result(seconds=20, fps=Fraction(10)), holes=((50, 150), (100, 200)))
    assert numbers.scored_seconds(result) == pytest.approx(5)


def test_a_video_without_a_scored_second_has_no_percentages() -> None:
    result = with_bouts(video_result(seconds=2), holes=((0, 60),))
    assert [n.percent for n in numbers.of_video(result)] == [None, None]


def test_seconds_follow_the_frames_own_times() -> None:
    steady = video_result(seconds=2, fps=Fraction(10))
    times = np.concatenate([np.arange(10) * 0.1, 1 + np.arange(10) * 0.5])
    uneven = dataclasses.replace(steady.info, pts_seconds=times, duration_seconds=6.0)
    result = with_bouts(dataclasses.replace(steady, info=uneven), ("self-grooming", 8, 12))
    assert numbers.of_video(result)[0].total_s == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0, 1, "0:00.0"),
        (75.25, 2, "1:15.25"),
        (59.96, 1, "1:00.0"),  # rounds over the minute, not to 0:60.0
        (3600, 0, "1:00:00"),
        (3599.999, 2, "1:00:00.00"),
    ],
)
def test_a_clock_time_carries_its_rounding_over(seconds: float, decimals: int, text: str) -> None:
    assert svg.clock(seconds, decimals) == text


def test_a_warning_becomes_a_sentence_but_a_file_name_keeps_its_case() -> None:
    assert words.sentence("the header lies") == "The header lies."
    assert words.sentence("a.mp4 is odd.") == "a.mp4 is odd."


def test_a_bout_rule_reads_as_a_sentence_for_the_methods() -> None:
    assert words.rule(BoutRule(0.6, 0.4, 0.5, 0.2)) == (
        "a bout starts where the probability reaches 0.6 and lasts while it stays at or above 0.4; "
        "gaps of up to 0.2 s are bridged; bouts shorter than 0.5 s are dropped"
    )
    assert words.rule(BoutRule()) == "a bout starts where the probability reaches 0.5 and lasts while it stays there"


@pytest.mark.parametrize(
    ("rate", "fps", "text"),
    [
        (1, 30.0, "16 consecutive frames at 30 frames per second (0.53 s)"),
        (2, 30.0, "16 frames, one of every 2, at 30 frames per second (1.1 s)"),
        (4, None, "16 frames, one of every 4"),
    ],
)
def test_a_window_is_said_in_words(rate: int, fps: float | None, text: str) -> None:
    assert words.window(dataclasses.replace(CLASSIFIER, sampling_rate=rate, trained_fps=fps)) == text


@given(st.integers(2, 400), st.integers(0, 5000), st.floats(0.6, 1.0))
def test_a_thinned_trace_keeps_the_highest_peak(points: int, place: int, peak: float) -> None:
    values = np.full(5001, 0.1, np.float32)
    values[place] = peak
    kept = svg.envelope(values, points)
    assert place in kept
    assert kept == sorted(set(kept))
    assert len(kept) <= points + 2


def test_a_trace_is_broken_where_nothing_was_scored() -> None:
    values = np.array([0.2, 0.4, np.nan, np.nan, 0.6, 0.8], np.float32)
    path = svg.trace(values, np.arange(7.0))
    assert path.count("M") == path.count("Z") == 2
    assert "nan" not in path


def test_a_long_gap_survives_thinning() -> None:
    values = np.full(10_000, 0.5, np.float32)
    values[4000:6000] = np.nan
    assert svg.trace(values, np.arange(10_001.0), 100).count("M") == 2


@pytest.mark.parametrize("duration_s", [0.05, 1, 20, 61, 600, 3600, 3 * 3600, 24 * 3600])
def test_the_time_axis_has_a_handful_of_round_marks(duration_s: float) -> None:
    marks = svg.ticks(duration_s, 7)
    assert 1 <= len(marks) <= 8
    assert marks[0].label in ("0:00", "0:00.0")
    assert len({mark.label for mark in marks}) == len(marks)


def test_an_overview_joins_neighbours_and_shows_the_shortest_bout() -> None:
    spans = [(i * 0.01, i * 0.01 + 0.005) for i in range(100)]
    assert svg.bars_path(spans, 1000.0, columns=100).count("M") == 1
    assert svg.bars_path([(999.99, 1000.0)], 1000.0, columns=100) == "M19800,0H20000V100H19800Z"


def test_the_map_shows_where_the_animal_stayed_longest() -> None:
    boxes = [FrameBox(i, (0.0, 0.0, 10.0, 10.0), 1.0, "detected") for i in range(9)]
    boxes.append(FrameBox(9, (310.0, 230.0, 330.0, 250.0), 1.0, "detected"))  # its middle is the frame's very corner
    cells, columns, rows = drawing.occupancy(boxes, 320, 240)
    assert (columns, rows) == (32, 24)
    assert [(cell.x, cell.y) for cell in cells] == [(0, 0), (31, 23)]
    assert cells[0].share == 1 > cells[1].share > 0


def test_the_page_shows_every_video_and_every_failure(tmp_path: Path) -> None:
    failure = VideoRow("b/broken.mp4", "failed", "no video stream (found: audio). Remove it.")
    result = with_bouts(video_result("a/one.mp4"), ("self-grooming", 30, 90), ("head/body twitch", 120, 130))
    _, reader = report(tmp_path, result, video_result("two.mp4", is_quiet=True), failed=(failure,))
    assert reader.open == []
    for expected in ("one.mp4", "two.mp4", "b/broken.mp4", "no video stream (found: audio)", "0:01.00", "0:03.00"):
        assert expected in reader.words
    assert "No bout was found in this video." in reader.words
    assert "2026-05-04 03:02" in reader.words
    assert CLASSIFIER.sha256 in reader.words


def test_every_link_leads_somewhere_and_no_name_is_given_twice(tmp_path: Path) -> None:
    _, reader = report(tmp_path, video_result("a.mp4", seconds=60, seed=1), video_result("b.mp4", seconds=130, seed=2))
    assert len(set(reader.ids)) == len(reader.ids)
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)


def test_the_page_sends_for_nothing(tmp_path: Path) -> None:
    text, reader = report(tmp_path, video_result())
    assert all(link.startswith("#") for link in reader.links)
    assert all(source.startswith("data:") for source in reader.sources)
    assert not re.search(r"https?://|url\((?!#)|@import", text)
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    evil = "<script>alert('&')</script>\"ü 雪.mp4"
    spec = dataclasses.replace(CLASSIFIER, classes=("idle", "<b>groom</b>", "tw\"itch' onload=x"))
    result = video_result(evil, classifier=spec, warnings=("<img src=x onerror=y>",), seconds=60)
    text, reader = report(tmp_path, result, failed=(VideoRow("<i>", "failed", "</table>"),))
    assert reader.open == []
    assert evil.rsplit("/", 1)[1] in reader.words
    assert text.count("<script>") == 1
    assert "<img src=x" not in text
    assert "<b>groom" not in text


def test_thumbnails_are_inside_the_page_and_the_rest_is_counted(tmp_path: Path) -> None:
    spans = [("self-grooming", 20 * i, 20 * i + 10) for i in range(20)]
    result = with_bouts(video_result("a b.mp4", seconds=20), *spans)
    folder = records.thumbnails_path(tmp_path, "a b.mp4")
    folder.mkdir(parents=True)
    for _, start, end in spans[:15]:
        (folder / f"{start:08d}-{end:08d}.jpg").write_bytes(b"\xff\xd8picture")
    text, reader = report(tmp_path, result)
    shown = [source for source in reader.sources if source.startswith("data:image/jpeg;base64,")]
    assert 1 <= len(shown) <= 12
    assert f"{len(shown)} of 20 bouts" in text
    assert f"And {20 - len(shown)} more in the table" in text


def test_a_report_of_no_video_at_all_is_a_page_too(tmp_path: Path) -> None:
    _, reader = report(tmp_path)
    assert "No video has a result yet." in reader.words
    assert reader.open == []


def test_a_video_in_which_no_animal_was_found_says_so(tmp_path: Path) -> None:
    empty = video_result(seconds=5, lost_s=(0, 5))
    _, reader = report(tmp_path, empty)
    assert "The animal was not found on any frame." in reader.words
    assert "not scored: no animal." in reader.words


def test_results_of_different_models_stand_side_by_side(tmp_path: Path) -> None:
    other = dataclasses.replace(
        CLASSIFIER, name="other", classes=("rearing", "idle"), background=1, rules=CLASSIFIER.rules[:2]
    )
    result = dataclasses.replace(
        with_bouts(video_result("b.mp4"), ("rearing", 3, 9)),
        classifier=other,
        posteriors=np.full((600, 2), 0.5, np.float32),
    )
    _, reader = report(tmp_path, video_result("a.mp4"), result)
    assert "not a class of the model used here" in reader.words
    assert "Another behaviour model: other" in reader.words
    assert "For the Methods section" not in reader.words  # one sentence cannot speak for two models


def test_the_reference_way_is_named_and_shows_no_thresholds(tmp_path: Path) -> None:
    text, reader = report(tmp_path, dataclasses.replace(video_result(), reference_compat=True))
    assert 'class="threshold' not in text
    assert "as the reference system does" in reader.words


def test_a_hundred_videos_are_shown_in_less_detail_each() -> None:
    one, hundred, thousand = (sections.Budget.for_videos(n) for n in (1, 100, 1000))
    assert (one.strips_per_behavior, one.table_rows, one.trace_points) == (12, 200, svg.TRACE_POINTS)
    assert hundred.strips_per_behavior == 3
    assert thousand.strips_per_behavior == 0
    assert thousand.table_rows >= 20


def test_three_hours_of_twitches_stay_a_small_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    result = video_result(seconds=60)
    num_frames = 3 * 3600 * 30
    info = dataclasses.replace(
        result.info, num_frames=num_frames, pts_seconds=np.arange(num_frames) / 30, duration_seconds=num_frames / 30
    )
    starts = np.sort(rng.choice(num_frames // 50, 2000, replace=False)) * 50
    long = with_bouts(
        dataclasses.replace(result, info=info, posteriors=rng.random((num_frames, 3), np.float32)),
        *(("head/body twitch", int(start), int(start) + 8) for start in starts),
    )
    text, reader = report(tmp_path, long)
    assert len(text) < 600_000
    assert "And 1,800 bouts more" in reader.words


def test_colours_repeat_only_when_the_palette_is_used_up() -> None:
    colors: dict[str, str] = {}
    page.add_colors(colors, [f"behaviour {i}" for i in range(9)])
    page.add_colors(colors, ["behaviour 0"])
    assert len(colors) == 9
    assert len(set(colors.values())) == len(svg.PALETTE)


def test_intervals_of_the_background_are_shown_rather_than_hidden(tmp_path: Path) -> None:
    text, _ = report(tmp_path, with_bouts(video_result(), ("idle", 0, 100)))
    assert re.search(r"<b>idle</b>\s*1 bout", text)


def test_without_a_stated_rule_the_page_has_no_threshold_lines_but_stands(tmp_path: Path) -> None:
    bare = dataclasses.replace(CLASSIFIER, rules=())
    text, _ = report(tmp_path, dataclasses.replace(video_result(), classifier=bare))
    assert 'class="threshold' not in text
