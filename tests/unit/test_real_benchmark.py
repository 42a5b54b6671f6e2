"""The benchmark on real clips: what it makes of them, and one small run of all of it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mousetal import dataset as datasets
from mousetal.types import FrameRange
from tests.fixtures.videos import write_video
from training import foldtable, rat_clips, real_benchmark
from training.clips import Clip, ClipTable
from training.foldruns import fold_table
from training.rat_clips import Playlist, RatClip
from training.sessionfolds import deal


def rat_clip(name: str, session: str, is_grooming: bool, num_frames: int = 16) -> RatClip:
    boxes = rat_clips._every_frame(
        [rat_clips.FrameBox(i, (10.0 + i, 20.0, 40.0, 60.0), 1.0, "detected") for i in (0, 8, num_frames - 1)],
        num_frames,
    )
    return RatClip(Path(name), f"clips/x/{name}", "x", is_grooming, session, False, boxes)


@pytest.fixture
def source(shared: Path) -> Path:
    return shared / "data" / "real" / "permissive" / "rat_action_clips"


def test_boxes_between_known_ones_lie_on_the_way() -> None:
    boxes = rat_clip("a", "s", True).boxes
    assert [box.frame_index for box in boxes] == list(range(16))
    assert [boxes[i].source for i in (0, 4, 8, 15)] == ["detected", "interpolated", "detected", "detected"]
    assert boxes[4].box_xyxy[0] == pytest.approx(14.0)


def test_neighbouring_grooming_clips_of_a_playlist_are_one_bout() -> None:
    clips = [rat_clip(str(i), "s", is_grooming) for i, is_grooming in enumerate([False, True, True, False, True])]
    bouts = rat_clips.bouts_of(Playlist("p", tuple(clips)))
    assert [bout.frames for bout in bouts] == [FrameRange(16, 48), FrameRange(64, 80)]
    assert [box.frame_index for box in rat_clips.boxes_of(Playlist("p", tuple(clips)))] == list(range(80))


def test_a_fold_tests_on_its_sessions_and_trains_on_all_others() -> None:
    def clip(session: str) -> Clip:
        nothing = np.zeros(1, np.int64)
        path, frames = Path(f"all/idle/{session}.avi"), FrameRange(0, 1)
        return Clip(path, session, "idle", frames, Fraction(25), "", session, "train", 1.0, nothing.astype(np.int8),
                    np.zeros((1, 4), np.float32), nothing, nothing)  # fmt: skip

    sessions = ["a", "a", "b", "c", "c", "d"]
    fold_of = deal(sessions, 2)
    table = ClipTable(Path("all"), ("idle",), tuple(map(clip, sessions)))
    for fold in (0, 1):
        found = fold_table(table, fold_of, fold, Path("here"))
        sides = {name: {c.session for c in found.in_split(name)} for name in datasets.SPLITS}
        assert sides["train"] | sides["test"] == set(sessions)
        assert not sides["train"] & sides["test"]
        assert not sides["validation"]
        assert found.clips[0].path == Path("here/idle/a.avi")


def test_the_table_says_undefined_where_a_fold_holds_one_class() -> None:
    scores, true, folds = np.array([0.1, 0.9, 0.8]), np.array([False, True, True]), np.array([0, 0, 1])
    found = foldtable.summarised([scores, scores[::-1]], true, folds)
    assert found["pooled"]["auc"]["values"] == [1.0, 0.5]
    assert found["folds"]["1"]["auc"] == {"mean": None, "spread": None, "values": [None, None]}
    assert found["pooled"]["auc"]["spread"] == pytest.approx(0.5 / 2**0.5)


def test_a_playlist_is_made_anew_when_its_truth_or_fold_has_changed(tmp_path: Path) -> None:
    clips = [rat_clip("yes.mkv", "s", True), rat_clip("no.mkv", "s", False)]
    clips = [replace(clip, path=write_video(tmp_path / clip.path, codec="mpeg4", num_frames=16)) for clip in clips]

    def made(clips: list[RatClip], fold: int) -> tuple[str, list[FrameRange], int]:
        dataset = rat_clips.make_playlists([Playlist("p", tuple(clips))], {"s": fold}, tmp_path / "playlists")
        entry = dataset.videos[0]
        labels = datasets.read_labels(dataset, entry)
        return entry.group, [label.frames for label in labels], dataset.video_path(entry).stat().st_mtime_ns

    group, truth, when = made(clips, 0)
    assert (group, truth) == ("0", [FrameRange(0, 16)])
    assert made(clips, 0) == (group, truth, when)
    assert made(clips, 1)[:2] == ("1", truth), "else a model would judge what it has learned from"
    corrected = [clips[0], replace(clips[1], is_grooming=True)]
    assert made(corrected, 1)[:2] == ("1", [FrameRange(0, 32)])


def test_the_real_folds_split_no_session_and_no_playlist(source: Path) -> None:
    clips = rat_clips.read_clips(source)
    fold_of = deal((clip.session for clip in clips), 5)
    held = [sum(fold_of[clip.session] == fold for clip in clips) for fold in range(5)]
    assert min(held) >= 45
    playlists = rat_clips.read_playlists(source, clips, fold_of)
    assert sum(len(one.clips) for one in playlists) == 247
    for one in playlists:
        assert len({fold_of[clip.session] for clip in one.clips}) == 1


def test_the_real_truth_of_whole_playlists_is_as_listed(source: Path) -> None:
    clips = rat_clips.read_clips(source)
    playlists = rat_clips.read_playlists(source, clips, dict.fromkeys((clip.session for clip in clips), 0))
    listed = json.loads((source / "playlists.json").read_text())
    for mine, theirs in zip(playlists, listed, strict=True):
        spans = [(bout.frames.start_frame, bout.frames.end_frame - 1) for bout in rat_clips.bouts_of(mine)]
        assert spans == [(span["start"], span["end"]) for span in theirs["truth"]]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # two minutes of a quiet core: every frame of 266 large clips is decoded twice
def test_a_quick_run_goes_all_the_way_and_a_second_one_trains_nothing(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--quick", "--real", str(shared / "data" / "real"), "--work", str(tmp_path), "--threads", "1"]
    assert real_benchmark.main(command) == 0
    table = capsys.readouterr().out
    content = json.loads((tmp_path / real_benchmark.RESULT_NAME).read_text())
    assert content["data"]["doubtful_left_out"] == 16
    assert content["scores"]["regression, whitened"]["pooled"]["auc"]["mean"] > 0.8
    assert 0 <= content["scores"]["network"]["pooled"]["auc"]["mean"] <= 1
    assert "| network |" in table
    logs = {path: path.read_bytes() for path in tmp_path.glob("runs/*/log.jsonl")}
    assert len(logs) == 1
    assert real_benchmark.main(command) == 0
    assert logs == {path: path.read_bytes() for path in tmp_path.glob("runs/*/log.jsonl")}
    again = json.loads((tmp_path / real_benchmark.RESULT_NAME).read_text())
    assert again["scores"] == content["scores"]


def test_without_the_real_data_a_sentence_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert real_benchmark.main(["--real", str(tmp_path / "nowhere"), "--work", str(tmp_path)]) == 1
    assert "no part of this repository" in capsys.readouterr().err
