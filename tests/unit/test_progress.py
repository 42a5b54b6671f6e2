"""What is shown while it runs and at its end, and that nothing is shown where nobody looks."""

from __future__ import annotations

import pytest

from inference_script import table
from inference_script.progress import Progress, stage_rates
from mousetal.formats.csv import VideoRow


def snapshot() -> dict[str, tuple[int, float]]:
    return {"decode": (200, 1.0), "detect": (40, 2.0), "classify": (0, 0.0)}


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, 100) as progress:
        with progress.video("a.mp4", 50, 40, snapshot) as reach:
            reach(50)
        progress.finish("a.mp4", 40)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_on_a_terminal_frames_videos_and_stage_rates_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, 100, is_shown=True) as progress:
        with progress.video("a.mp4", 50, 40, snapshot) as reach:
            for frames_done in (10, 50, 60, 30):
                reach(frames_done)
        progress.finish("a.mp4", 40)
        progress.finish("a.mp4", 60)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a.mp4" in shown.err
    assert "2 of 2 videos: 100%" in shown.err


def test_two_videos_at_once_have_a_line_each_and_count_together(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(4, 100, at_once=2, is_shown=True) as progress:
        with progress.video("a.mp4", 50, 40, snapshot) as reach_a, progress.video("b.mp4", 50, 40, snapshot) as reach_b:
            reach_a(25)
            reach_b(25)
            progress.finish("none.mp4", 20)
        with progress.video("c.mp4", 50, 20, snapshot):  # a line is free again
            pass
    shown = capsys.readouterr().err
    assert all(name in shown for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert "1 of 4 videos:  60%" in shown.replace("videos 60%", "videos:  60%")


def test_rates_are_per_second_of_the_stages_own_time() -> None:
    assert stage_rates(snapshot()) == "decode 200/s, detect 20/s"


def test_the_table_lines_up_and_ends_with_totals() -> None:
    rows = [
        VideoRow("a.mp4", "done", seconds=12.34, bouts={"Grooming": 3, "Twitch": 12}, warnings=("dark", "short")),
        VideoRow("a longer name.mp4", "failed", "no video stream\nfound: audio", seconds=0.1),
        VideoRow("c.mp4", "skipped", bouts={"Grooming": 1, "Twitch": 0}),
    ]
    lines = table.text(rows).splitlines()
    assert lines == [
        "video              status   Grooming  Twitch  seconds  notes",
        "a.mp4              done            3      12     12.3  dark; short",
        "a longer name.mp4  failed          -       -      0.1  no video stream found: audio",
        "c.mp4              skipped         1       0      0.0",
        "1 done, 1 skipped, 1 failed of 3 videos",
    ]
