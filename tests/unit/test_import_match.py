"""Which video a written name means, and which frames written times mean."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.types import FrameRange, VideoInfo
from training.importing.frames import end_frame, frame_at, place
from training.importing.match import Match, Matcher
from training.importing.rows import FRAMES, LabelRow
from training.importing.videos import facts_by_pattern, name_in_source, path_in_dataset


def match(written: str, videos: list[str], aliases: dict[str, str]) -> Match:
    return Matcher(videos, aliases).find(written)


VIDEOS = ["day1/m1.mp4", "day2/m1.mp4", "day1/Maus 2.MP4", "m3.avi", "caf\u00e9.mp4"]


@pytest.mark.parametrize(
    ("written", "video"),
    [
        ("day1/m1.mp4", "day1/m1.mp4"),
        ("day2\\m1.mp4", "day2/m1.mp4"),
        ("C:\\Users\\lab\\day2\\m1.mp4", "day2/m1.mp4"),
        ("set/datasets/day1/video/m1.mp4", "day1/m1.mp4"),
        ("player #1:/data/day1/m1.mp4", "day1/m1.mp4"),
        ("m3", "m3.avi"),
        ("M3.MP4", "m3.avi"),
        ("other/m3.avi", "m3.avi"),
        ("maus 2", "day1/Maus 2.MP4"),
        (" Maus 2.mp4 ", "day1/Maus 2.MP4"),
        ("cafe\u0301.mp4", "caf\u00e9.mp4"),
        ("the white one", "m3.avi"),
    ],
)
def test_a_video_is_found_by_whatever_people_write(written: str, video: str) -> None:
    assert match(written, VIDEOS, {"the white one": "m3.avi"}).video == video


def test_a_name_that_fits_several_is_no_match_and_one_that_fits_none_gets_suggestions() -> None:
    found = match("m1", VIDEOS, {})
    assert (found.video, found.candidates, found.is_ambiguous) == ("", ("day1/m1.mp4", "day2/m1.mp4"), True)
    found = match("Maus 3.mp4", VIDEOS, {})
    assert (found.video, found.candidates, found.is_ambiguous) == ("", ("day1/Maus 2.MP4",), False)
    assert match("m1.5", ["m1.mp4"], {}).video == "", "a number after a dot is no ending"


@given(st.lists(st.text("abc 1", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=4))
def test_a_videos_place_in_the_data_set_tells_its_name(parts: list[str]) -> None:
    name = "/".join(parts)
    path = path_in_dataset("set", name)
    assert path.split("/")[0] == "set"
    assert path.split("/")[-2:] == ["video", parts[-1]]
    assert name_in_source(path) == name


def test_nested_data_sets_of_a_project_stay_as_they_are() -> None:
    assert path_in_dataset("set", "a/datasets/b/video/m.mp4", is_project=True) == (
        "set/datasets/a/datasets/b/video/m.mp4"
    )  # fmt: skip


def test_a_pattern_tells_the_animal_and_more() -> None:
    found = facts_by_pattern(r"(?P<subject>m\d+)_(?P<phase>pre|post)", "day1/m12_post.mp4")
    assert (found.subject, found.phase, found.group) == ("m12", "post", "")
    assert facts_by_pattern(r"/(m\d+)", "day1/m12.mp4").subject == "m12"
    assert facts_by_pattern(r"/(m\d+)", "day1/x.mp4").subject == ""


def info_of(pts: np.ndarray) -> VideoInfo:
    step = float(np.median(np.diff(pts))) if len(pts) > 1 else 0.04
    return VideoInfo(
        Path("m.mp4"), 96, 80, Fraction(25), len(pts), None, float(pts[-1]) + step, pts, "h264", "yuv420p"
    )  # fmt: skip


@st.composite
def uneven_times(draw: st.DrawFn) -> np.ndarray:
    """Times of frames at least 5 ms apart, as of a camera that hands them out when it likes; the first is 0."""
    steps = draw(st.lists(st.integers(5, 400), min_size=1, max_size=40))
    return np.cumsum([0, *steps]) / 1000


@given(uneven_times(), st.data())
def test_times_written_to_the_millisecond_lead_back_to_their_frames(pts: np.ndarray, data: st.DataObject) -> None:
    shifted = pts * 1.0007  # times that are no whole milliseconds
    info = info_of(shifted)
    start = data.draw(st.integers(0, len(pts) - 1))
    end = data.draw(st.integers(start + 1, len(pts)))
    end_s = info.duration_seconds if end == len(pts) else float(shifted[end])
    for written in (round(float(shifted[start]), 3), float(shifted[start])):
        placed = place(LabelRow("m", "groom", written, round(end_s, 3)), info)
        assert placed is not None
        assert placed.frames == FrameRange(start, end)
        assert not placed.clipped


@given(uneven_times(), st.floats(0, 20), st.floats(0, 20))
def test_a_bout_covers_exactly_the_frames_shown_while_it_lasts(pts: np.ndarray, a: float, b: float) -> None:
    start_s, end_s = min(a, b), max(a, b)
    placed = place(LabelRow("m", "groom", start_s, end_s), info_of(pts))
    if placed is None:
        assert start_s >= pts[-1]
        return
    first, last = placed.frames.start_frame, placed.frames.end_frame - 1
    assert pts[first] <= start_s + 0.001
    assert last == first or pts[last] < end_s
    assert first + 1 == len(pts) or pts[first + 1] > start_s
    assert last + 1 == len(pts) or last == first or pts[last + 1] >= end_s - 0.001


def test_frames_are_found_by_the_videos_own_times_not_by_its_rate() -> None:
    pts = np.array([0.0, 0.04, 0.08, 1.0, 1.04])
    assert [frame_at(pts, t) for t in (0, 0.038, 0.0395, 0.5, 1.0, 99)] == [0, 0, 1, 2, 3, 4]
    assert [end_frame(pts, t) for t in (0.04, 0.041, 0.5, 1.04, 1.1)] == [1, 1, 3, 4, 5]


def test_an_instant_is_one_frame_and_so_is_a_bout_without_length() -> None:
    info = info_of(np.arange(10) / 25)
    for end in (None, 0.2):
        placed = place(LabelRow("m", "twitch", 0.2, end), info)
        assert placed is not None
        assert placed.frames == FrameRange(5, 6)


@pytest.mark.parametrize(
    ("start", "end", "frames", "clipped"),
    [
        (0.2, 0.4, FrameRange(5, 10), 0.0),
        (0.2, 0.43, FrameRange(5, 10), 0.0),
        (0.2, 9.0, FrameRange(5, 10), 8.6),
        (0.39, 0.5, FrameRange(9, 10), 0.1),
        (0.41, 0.5, None, 0.0),
    ],
)
def test_what_goes_on_after_the_end_is_cut_and_what_begins_there_has_no_place(
    start: float, end: float, frames: FrameRange | None, clipped: float
) -> None:
    placed = place(LabelRow("m", "groom", start, end), info_of(np.arange(10) / 25))
    assert (placed.frames if placed else None) == frames
    assert (placed.clipped if placed else 0.0) == pytest.approx(clipped)


def test_frame_numbers_are_places_in_the_video() -> None:
    info = info_of(np.arange(10) / 25)
    for start, end, frames in ((3, 7, FrameRange(3, 7)), (9, 99, FrameRange(9, 10)), (4, 4, FrameRange(4, 5))):
        placed = place(LabelRow("m", "groom", start, end, FRAMES), info)
        assert placed is not None
        assert placed.frames == frames
    assert place(LabelRow("m", "groom", 10, 12, FRAMES), info) is None
