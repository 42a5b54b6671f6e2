"""Making training clips again: only what changed is done, whatever ended the run before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mousetal import atomic, sidebyside, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.errors import OutputError
from mousetal.types import Frame, FrameRange, Label, VideoInfo
from tests.fixtures.datasets import add_film
from tests.fixtures.preprocessing import KNOBS, run, table_text
from training import preprocess, preprocessreport
from training.autolabel import recordings_of, with_splits
from training.clipping import Shape
from training.clips import read_table
from training.synthetic import BEHAVIORS

GROOM, TWITCH = BEHAVIORS
Capture = pytest.CaptureFixture[str]


def test_nothing_changed_nothing_is_done(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    before = table_text(folder)
    report = run(dataset, folder)
    assert (len(report.reused), report.done, report.removed) == (2, [], [])
    assert table_text(folder) == before


def test_the_loss_of_clips_that_are_reused_is_told_again(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    before = atomic.read_json(folder / preprocessreport.NAME)["stored"]
    run(dataset, folder)
    assert atomic.read_json(folder / preprocessreport.NAME)["stored"] == before


def test_a_new_label_costs_its_own_video_only(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    entry = dataset.in_split("train")[0]
    labels = datasets.read_labels(dataset, entry)
    datasets.write_labels(dataset, entry, (*labels, Label(TWITCH, FrameRange(0, 3))))
    report = run(dataset, folder)
    assert report.done == [entry.path]
    assert len(report.reused) == 1
    assert any(clip.behavior == TWITCH and clip.frames.start_frame == 0 for clip in read_table(folder).clips)
    files = set(folder.glob("*/*.avi"))
    assert files == {clip.path for clip in read_table(folder).clips}, "nothing old is left behind"


def test_other_settings_do_everything_again_and_a_video_that_left_takes_its_clips_along(
    copied: tuple[Dataset, Path],
) -> None:
    dataset, folder = copied
    gone = dataset.in_split("train")[0]
    datasets.write(replace(dataset, videos=tuple(one for one in dataset.videos if one != gone)))
    report = run(dataset, folder, replace(KNOBS, shape=Shape(input_size=32, quality=80)))
    assert report.removed == [gone.path]
    assert len(report.done) == 1
    assert {clip.video for clip in read_table(folder).clips} == set(report.done)


def test_a_videos_labels_and_boxes_are_read_once_a_run(
    copied: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = copied
    asked: Counter[tuple[str, str]] = Counter()
    for name in ("read_labels", "read_stored_boxes"):
        read = getattr(datasets, name)

        def counted(data: Dataset, entry: datasets.VideoEntry, name: str = name, read: Any = read) -> Any:
            asked[name, entry.path] += 1
            return read(data, entry)

        monkeypatch.setattr(datasets, name, counted)
    run(dataset, folder, replace(KNOBS, seed=7))
    assert len(asked) == 2 * len(dataset.videos)
    assert set(asked.values()) == {1}


def test_labels_that_cannot_be_read_cost_only_their_video(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    broken = dataset.in_split("train")[0]
    dataset.annotation_path(broken).write_text("{")
    report = run(dataset, folder)
    assert [*report.failed] == [broken.path]
    assert len(report.reused) == 1


def test_a_clip_that_was_deleted_is_made_again(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    clip = read_table(folder).clips[0]
    clip.path.unlink()
    assert run(dataset, folder).done == [clip.video]
    assert clip.path.exists()


def test_a_broken_video_costs_only_itself(copied: tuple[Dataset, Path], capsys: Capture) -> None:
    dataset, folder = copied
    shutil.rmtree(folder)
    broken = dataset.in_split("train")[0]
    dataset.video_path(broken).write_bytes(b"no video")
    config = dataset.root / "p.toml"
    config.write_text("[cut]\nclip_s = 1.2\nleast_idle = 2\nwindow_s = 0.4\nguard_s = 0.1\n[shape]\ninput_size = 32\n")
    arguments = ["--dataset", str(dataset.root), "--clips", str(folder), "--config", str(config)]
    assert preprocess.main(arguments) == 1
    assert f"failed {broken.path}" in capsys.readouterr().out
    assert broken.path not in {clip.video for clip in read_table(folder).clips}
    assert read_table(folder).clips


def test_videos_without_boxes_need_a_detector(tmp_path: Path, capsys: Capture) -> None:
    dataset = add_film(Dataset(tmp_path / "dataset", BEHAVIORS), "m1", 50_000, seconds=1.0)
    dataset.boxes_path(dataset.videos[0]).unlink()
    assert preprocess.main(["--dataset", str(dataset.root), "--clips", str(tmp_path / "clips")]) == 1
    said = capsys.readouterr()
    assert "no boxes are stored. Give --detector" in said.out
    assert "one animal only" in said.out
    assert "no clip came of it" in said.err


def test_the_split_can_come_before_the_boxes_and_stays(tmp_path: Path, capsys: Capture) -> None:
    dataset = Dataset(tmp_path / "dataset", BEHAVIORS)
    for number in range(6):
        dataset = add_film(dataset, f"day{number}", 50_000 + number, seconds=1.0, subject=f"m{number // 2}")
    boxes = {entry.path: dataset.boxes_path(entry).read_bytes() for entry in dataset.videos}
    for entry in dataset.videos:
        dataset.boxes_path(entry).unlink()
    assert preprocess.main(["--dataset", str(dataset.root), "--split-only"]) == 0
    said = capsys.readouterr().out
    assert all(f"{side}: 2 videos of 1 animals or sessions" in said for side in datasets.SPLITS)
    split = datasets.read(dataset.root)
    sides = {entry.path: entry.split for entry in split.videos}
    assert len({(entry.subject, entry.split) for entry in split.videos}) == 3
    told = {one.path: one.split for one in with_splits(recordings_of(split), share=0.5, seed=0)}
    assert told == {split.video_path(entry): entry.split for entry in split.videos}, "what a detector learns from"
    for entry in split.videos:
        split.boxes_path(entry).write_bytes(boxes[entry.path])
    preprocess.preprocess(dataset.root, tmp_path / "clips", None, KNOBS)
    assert {entry.path: entry.split for entry in datasets.read(dataset.root).videos} == sides


def test_a_full_disk_ends_the_videos_beside_the_one_that_met_it(
    copied: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one would never end by itself here."""
    dataset, folder = copied
    shutil.rmtree(folder)
    full, _ = (entry for entry in dataset.videos if entry.split != "test")
    decode = video.decode

    def decoded(info: VideoInfo, start: int = 0) -> Iterator[Frame]:
        if info.path == dataset.video_path(full):
            raise OutputError("No space left on device")
        while True:
            yield next(iter(decode(info, start)))

    monkeypatch.setattr(video, "decode", decoded)
    monkeypatch.setattr(sidebyside, "usable_cores", lambda: 2)
    with pytest.raises(OutputError, match="No space left"):
        run(dataset, folder)
    assert not (folder / "clips.csv").exists()


def test_a_run_that_was_killed_goes_on_to_the_same_clips(copied: tuple[Dataset, Path], root: Path) -> None:
    dataset, folder = copied
    whole = table_text(folder)
    shutil.rmtree(folder)
    config = dataset.root / "p.toml"
    config.write_text("[cut]\nclip_s = 1.2\nleast_idle = 2\nwindow_s = 0.4\nguard_s = 0.1\n[shape]\ninput_size = 32\n")
    command = [sys.executable, "-m", "training.preprocess", "--dataset", str(dataset.root), "--clips", str(folder),
               "--config", str(config)]  # fmt: skip
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(folder.glob("*/*.avi")) and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (folder / "clips.csv").exists()
    report = run(dataset, folder)
    assert len(report.done) + len(report.reused) == 2
    assert table_text(folder) == whole
    assert set(folder.glob("*/*.avi")) == {clip.path for clip in read_table(folder).clips}


@pytest.mark.parametrize("which", ["clips", "dataset"])
def test_a_second_run_at_once_is_refused_and_a_killed_one_blocks_nobody(
    which: str, copied: tuple[Dataset, Path], tmp_path: Path, root: Path, capsys: Capture
) -> None:
    """On the same clips, or with other clips on the same data set."""
    dataset, folder = copied
    code = (
        "import sys, pathlib; from mousetal import lock\n"
        "with lock.hold(pathlib.Path(sys.argv[1]), '', ''): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path / which)]
    clips = folder if which == "clips" else tmp_path / "other clips"
    with subprocess.Popen(words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert preprocess.main(["--dataset", str(dataset.root), "--clips", str(clips)]) == 1
        said = capsys.readouterr().err
        user = "another training.preprocess" if which == "clips" else "another program of training"
        assert f"is in use by {user} (process {first.pid} on " in said
        assert len(said.strip().splitlines()) == 1
        first.kill()
    assert len(run(dataset, folder).reused) == 2


def test_one_file_at_two_paths_gives_clips_of_two_names(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    entry = dataset.in_split("train")[0]
    copy = replace(entry, path=entry.path.replace("/video/", "-again/video/"))
    for path_of in (Dataset.video_path, Dataset.annotation_path, Dataset.boxes_path):
        path_of(dataset, copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path_of(dataset, entry), path_of(dataset, copy))
    datasets.write(dataset.with_entry(copy))
    run(dataset, folder)
    clips = read_table(folder).clips
    assert {clip.video for clip in clips} >= {entry.path, copy.path}
    assert len({clip.path for clip in clips}) == len(clips)


def test_a_file_that_was_changed_after_its_import_is_refused(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    shutil.rmtree(folder)
    entry = dataset.in_split("train")[0]
    with dataset.video_path(entry).open("ab") as file:
        file.write(b"\0")
    assert "another than when it was imported" in run(dataset, folder).failed[entry.path]


def test_a_file_that_was_changed_after_its_clips_were_cut_is_noticed_and_another_date_is_not_enough(
    copied: tuple[Dataset, Path],
) -> None:
    dataset, folder = copied
    changed, touched = dataset.in_split("train")[0], dataset.in_split("validation")[0]
    with dataset.video_path(changed).open("ab") as file:
        file.write(b"\0")
    os.utime(dataset.video_path(touched), (1, 1))
    report = run(dataset, folder)
    assert "another than when it was imported" in report.failed[changed.path]
    assert report.reused == [touched.path]
    assert {clip.video for clip in read_table(folder).clips} == {touched.path}
    dataset.video_path(touched).unlink()
    assert run(dataset, folder).reused == [touched.path], "videos that lie elsewhere now are not needed"


def test_a_run_that_breaks_off_leaves_no_table_of_clips_that_are_gone(
    copied: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = copied

    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocess, "cut_video", break_off)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, folder, replace(KNOBS, seed=7))
    assert not (folder / "clips.csv").exists()
