"""Videos worked on side by side: the same results, and one video's trouble is not another's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from inference_script import video_job
from mousetal import records
from mousetal.types import ClipBatch, Detections, DetectorBatch, Float32Array
from tests.fixtures.driver import Drive, FakeModels, failing, gone
from tests.fixtures.stored import assert_same_result
from tests.fixtures.videos import write_video

NAMES = ("a.mp4", "b.mp4", "c.mp4", "d.mp4")
POISON_FRAMES = 83  # of the one video that a model here cannot stand
WAIT_S = 20.0


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Four videos of different lengths; no retry is waited for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_job, "FIRST_PAUSE_S", 0.0)
    (tmp_path / "videos").mkdir()
    for number, name in enumerate(NAMES):
        write_video(tmp_path / "videos" / name, num_frames=40 + 7 * number)
    return Drive(tmp_path)


class Meeting(FakeModels):
    """Answers a video's first windows only when another video's have come, too."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)

    def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
        for number, answer in enumerate(super().classify(batches)):
            if number == 0:
                self.both.wait(WAIT_S)
            yield answer


def test_two_videos_are_under_way_at_once_and_results_are_the_same(drive: Drive) -> None:
    assert drive() == 0
    expected = {name: records.read_video(drive.output, name) for name in NAMES}
    table = (drive.output / "intervals.csv").read_bytes()
    assert drive(Meeting(), "--videos-at-once", "2", "--force") == 0
    assert set(drive.statuses.values()) == {"done"}
    assert (drive.output / "intervals.csv").read_bytes() == table
    for name in NAMES:
        assert_same_result(expected[name], records.read_video(drive.output, name))


class Poisoned(FakeModels):
    """Goes away whenever it is shown the bright video, and takes the other video under way with it."""

    def __init__(self) -> None:
        super().__init__()
        self.deaths = 0

    def detect(self, batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        deaths = self.deaths
        for batch in batches:
            if batch.frame_indices[0] > POISON_FRAMES - 8:
                self.deaths += 1
            if self.deaths > deaths:
                raise gone()
            yield from super().detect([batch])


def test_a_video_that_kills_the_service_every_time_costs_only_itself(drive: Drive) -> None:
    write_video(drive.videos / "a-poison.mp4", num_frames=POISON_FRAMES)
    models = Poisoned()
    assert drive(models, "--videos-at-once", "3") == 1
    assert drive.statuses == {**dict.fromkeys(NAMES, "done"), "a-poison.mp4": "failed"}
    assert models.deaths == video_job.MOST_RETRIES + 1


def test_a_damaged_video_costs_only_itself(drive: Drive) -> None:
    (drive.videos / "b.mp4").write_bytes((drive.videos / "b.mp4").read_bytes()[:300])
    assert drive(None, "--videos-at-once", "3") == 1
    assert drive.statuses == {**dict.fromkeys(NAMES, "done"), "b.mp4": "failed"}


def test_a_service_that_stays_away_ends_the_batch_and_the_next_run_goes_on(
    drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    def stay_away() -> None:
        raise gone()

    assert drive() == 0
    expected = {name: records.read_video(drive.output, name) for name in NAMES}
    models = FakeModels(before_classify=failing(4, gone(), times=999), on_recover=stay_away)
    assert drive(models, "--videos-at-once", "2", "--force") == 1
    assert set(drive.reasons.values()) == {"not run: the MVD service cannot be reached"}
    assert capsys.readouterr().err.splitlines()[-1] == "error: the MVD service cannot be reached"
    for name in NAMES:
        records.remove_video(drive.output, name)
    assert drive(None, "--videos-at-once", "2") == 0
    for name in NAMES:
        assert_same_result(expected[name], records.read_video(drive.output, name))


def test_an_interrupt_ends_all_that_is_under_way_and_keeps_it(drive: Drive) -> None:
    """The first videos' models hang; they are let go of by `stop`, as closed channels are."""
    stopped = threading.Event()
    hanging = threading.Barrier(2)

    def hang() -> None:
        if hanging.wait(WAIT_S) == 0:
            raise KeyboardInterrupt
        assert stopped.wait(WAIT_S)
        raise gone()

    calls: dict[int, int] = {}

    def before_classify() -> None:
        thread = threading.get_ident()
        calls[thread] = calls.get(thread, 0) + 1
        if calls[thread] == 3:
            hang()

    models = FakeModels(before_classify=before_classify, on_stop=stopped.set)
    assert drive(models, "--videos-at-once", "2") == 130
    assert stopped.is_set()
    assert set(drive.reasons.values()) == {"not run: interrupted"}
    assert {name.split("/")[1] for name in drive.files if name.startswith(".parts/")} >= {"a.mp4", "b.mp4"}
    again = FakeModels()
    assert drive(again, "--videos-at-once", "2") == 0
    whole = FakeModels()
    assert drive(whole, "--force") == 0
    assert sorted(models.windows_classified + again.windows_classified) == sorted(whole.windows_classified)


def test_an_interrupt_does_not_wait_for_the_pause_before_a_retry(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service dies whenever the video that came first is shown; beside its pause the other is interrupted."""
    monkeypatch.setattr(video_job, "FIRST_PAUSE_S", 10 * WAIT_S)
    arrived, is_pausing = threading.Semaphore(1), threading.Event()
    deaths: list[int] = []

    def before_classify() -> None:
        thread = threading.get_ident()
        if arrived.acquire(blocking=False) or thread in deaths:
            deaths.append(thread)
            if len(deaths) == 2:
                is_pausing.set()
            raise gone()
        assert is_pausing.wait(WAIT_S)
        raise KeyboardInterrupt

    started = time.monotonic()
    assert drive(FakeModels(before_classify=before_classify), "--videos-at-once", "2") == 130
    assert time.monotonic() - started < WAIT_S
    assert len(deaths) == 2


def test_a_defect_on_one_video_does_not_cost_the_others(drive: Drive) -> None:
    class Broken(FakeModels):
        def classify(self, batches: Iterable[ClipBatch]) -> Iterator[Float32Array]:
            for batch in batches:
                is_last_of_d = max(batch.window_indices) >= 13
                yield np.array([(0.9, 0.1, 0.0)] * len(batch.clips), np.float32)[:, : 2 if is_last_of_d else 3]

    assert drive(Broken(), "--videos-at-once", "2") == 3
    assert drive.statuses == {**dict.fromkeys(NAMES, "done"), "d.mp4": "failed"}
