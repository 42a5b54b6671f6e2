"""From a labelled data set to training clips: exact in place and label, and only what changed is done again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mousetal import atomic, records, sidebyside, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.errors import OutputError, RecordError
from mousetal.geometry import crop_clip, square, union
from mousetal.types import Frame, FrameRange, Label, VideoInfo
from tests.fixtures.datasets import add_film, psnr, small_dataset
from tests.fixtures.results import video_result
from training import boxes as boxing
from training import preprocess, preprocessknobs, preprocessreport
from training.autolabel import recordings_of, with_splits
from training.clipping import Shape
from training.clips import Clip, read_frames, read_table
from training.cutting import CutRules, frame_labels
from training.hardnegatives import Earlier
from training.preprocessknobs import Knobs
from training.synthetic import BEHAVIORS

GROOM, TWITCH = BEHAVIORS
KNOBS = Knobs(cut=CutRules(clip_s=1.2, least_idle=2, window_s=0.4, guard_s=0.1), shape=Shape(input_size=32))
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """A data set of three films and its clips; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("preprocess")
    small_dataset(folder / "dataset")
    preprocess.preprocess(folder / "dataset", folder / "clips", None, KNOBS)
    return datasets.read(folder / "dataset"), folder / "clips"


@pytest.fixture
def copied(made: tuple[Dataset, Path], tmp_path: Path) -> tuple[Dataset, Path]:
    shutil.copytree(made[0].root, tmp_path / "dataset")
    shutil.copytree(made[1], tmp_path / "clips")
    return datasets.read(tmp_path / "dataset"), tmp_path / "clips"


def entry_of(dataset: Dataset, clip: Clip) -> datasets.VideoEntry:
    return next(entry for entry in dataset.videos if entry.path == clip.video)


# What is in a clip


def test_every_bout_of_a_training_video_is_in_a_clip_whole_and_in_its_place(made: tuple[Dataset, Path]) -> None:
    dataset, folder = made
    clips = read_table(folder).clips
    assert clips
    for entry in dataset.videos:
        for label in datasets.read_labels(dataset, entry) if entry.split != "test" else ():
            covered = np.zeros(entry.num_frames, bool)
            for clip in clips:
                if clip.video == entry.path and clip.behavior == label.behavior:
                    inside = np.flatnonzero(clip.frame_labels == dataset.classes.index(label.behavior))
                    covered[clip.frames.start_frame + inside] = True
            assert covered[label.frames.start_frame : label.frames.end_frame].all()


def test_labels_of_a_clip_are_those_of_its_source_frames(made: tuple[Dataset, Path]) -> None:
    dataset, folder = made
    for clip in read_table(folder).clips:
        entry = entry_of(dataset, clip)
        classes = frame_labels(dataset, entry, datasets.read_labels(dataset, entry))
        np.testing.assert_array_equal(clip.frame_labels, classes[clip.frames.start_frame : clip.frames.end_frame])


def test_a_window_cut_from_a_clip_is_the_one_cut_from_the_video(made: tuple[Dataset, Path]) -> None:
    """Crop and resize by the same functions give nearly the same pixels by way of the clip as directly."""
    dataset, folder = made
    clip = next(clip for clip in read_table(folder).clips if clip.behavior == GROOM)
    path = dataset.video_path(entry_of(dataset, clip))
    source = [frame.rgb for frame in video.decode(video.probe(path))]
    boxes = {box.frame_index: box.box_xyxy for box in datasets.read_stored_boxes(dataset, entry_of(dataset, clip))}
    window = range(2, 10, 2)
    numbers = [clip.frames.start_frame + place for place in window]
    direct = crop_clip([source[n] for n in numbers], square(union([boxes[n] for n in numbers]), 0.05), 32)
    crop = square(union(clip.boxes_xyxy[list(window)]), 0.05)
    size = read_frames(clip, [0]).shape[1]
    assert min(crop) >= 0, "the clip holds the network's square"
    assert max(crop) <= size
    assert psnr(crop_clip(list(read_frames(clip, window)), crop, 32), direct) > 30


def test_a_video_that_nobody_has_scored_gives_no_clips_and_is_told(copied: tuple[Dataset, Path]) -> None:
    dataset, folder = copied
    entry = replace(dataset.in_split("train")[0], scored=())
    datasets.write(dataset.with_entry(entry))
    report = preprocess.preprocess(dataset.root, folder, None, KNOBS)[1]
    assert any(entry.path in note and "nobody has scored" in note for note in report.notes)
    assert {clip.behavior for clip in read_table(folder).clips if clip.video == entry.path} <= {*BEHAVIORS}


def test_test_videos_stay_whole(made: tuple[Dataset, Path]) -> None:
    dataset, folder = made
    (test,) = dataset.in_split("test")
    assert test.path not in {clip.video for clip in read_table(folder).clips}
    assert {clip.split for clip in read_table(folder).clips} == {"train", "validation"}


def test_the_weights_of_a_class_add_up_to_one_on_each_side(made: tuple[Dataset, Path]) -> None:
    clips = read_table(made[1]).clips
    for side in ("train", "validation"):
        for behavior in {clip.behavior for clip in clips}:
            weights = [clip.weight for clip in clips if clip.split == side and clip.behavior == behavior]
            assert not weights or sum(weights) == pytest.approx(1, abs=1e-4)


def test_half_of_the_weight_goes_by_frames_and_half_by_bouts_however_many_clips_a_bout_has() -> None:
    def clip(start: int, end: int, bout: tuple[int, int] | None, behavior: str = GROOM) -> Clip:
        labels = np.full(end - start, (*BEHAVIORS, "idle").index(behavior), np.int8)
        nothing = np.zeros(0, np.int64)
        return Clip(Path("x.avi"), "v", behavior, FrameRange(start, end), Fraction(25), "", "", "train", 1.0, labels,
                    np.zeros((len(labels), 4), np.float32), nothing, nothing, bout and FrameRange(*bout))  # fmt: skip

    clips = [clip(0, 100, (0, 300)), clip(100, 200, (0, 300)), clip(200, 300, (0, 300)), clip(900, 1000, (900, 1000)),
             clip(400, 500, None, "idle"), clip(500, 600, None, "idle")]  # fmt: skip
    weights = [one.weight for one in preprocess.weigh(clips, (*BEHAVIORS, "idle"))]
    long_one, short_one = 0.5 * 3 / 4 + 0.5 / 2, 0.5 / 4 + 0.5 / 2
    assert weights == pytest.approx([long_one / 3] * 3 + [short_one] + [0.5, 0.5])


def test_the_loss_of_storing_is_measured(made: tuple[Dataset, Path]) -> None:
    report = atomic.read_json(made[1] / preprocessreport.NAME)
    assert report["stored"]["psnr_db"] > 35
    assert report["stored"]["bytes_per_second"] > 0


# Doing again only what changed


def run(dataset: Dataset, folder: Path, knobs: Knobs = KNOBS) -> preprocessreport.Report:
    return preprocess.preprocess(dataset.root, folder, None, knobs)[1]


def table_text(folder: Path) -> str:
    return (folder / "clips.csv").read_text()


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


def test_unknown_settings_are_named(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "p.toml").write_text("[cut]\nclip_seconds = 3\n")
    assert preprocess.main(["--config", str(tmp_path / "p.toml")]) == 2
    assert "clip_seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["test_share = 2.0", "validation_share = -0.1", "test_share = 0.6\nvalidation_share = 0.4", "[cut]\nclip_s = 0.0",
     "[cut]\nmax_bout_s = 0.0", "[cut]\nguard_s = -5.0", "[cut]\nhard_share = 3.0", "[cut]\nwindow_s = inf",
     "[cut]\nidle_per_behavior = nan", "[shape]\nquality = 500", "[shape]\nmargin = -0.6", "[shape]\ninput_size = 0"],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(text: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "p.toml").write_text(text)
    assert preprocess.main(["--config", str(tmp_path / "p.toml"), "--dataset", str(tmp_path)]) == 2
    assert text.splitlines()[-1].split(" ")[0] in capsys.readouterr().err


def test_the_shipped_settings_are_all_there_are_with_their_defaults(root: Path) -> None:
    shipped = root / "training" / "configs" / "preprocess.toml"
    assert preprocessknobs.read(shipped) == Knobs()
    written, told = tomllib.loads(shipped.read_text("utf-8")), asdict(Knobs())
    assert {name: [*value] if isinstance(value, dict) else None for name, value in written.items()} == {
        name: [*value] if isinstance(value, dict) else None for name, value in told.items()
    }


def test_the_detector_is_computed_where_the_user_says(
    copied: tuple[Dataset, Path], root: Path, capsys: Capture
) -> None:
    dataset, folder = copied
    words = ["--dataset", str(dataset.root), "--clips", str(folder), "--detector", str(root / "models/demo-detector")]
    assert preprocess.main([*words, "--device", "cuda:77"]) == 2
    assert "cuda:77" in capsys.readouterr().err


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


def store_results(output: Path, name: str, entry: datasets.VideoEntry, sure_at: int, content: str) -> None:
    """A driver's results of a video that was called ``name`` and were sure of a behaviour at one frame."""
    result = video_result(name, seconds=entry.duration_s, fps=entry.fps)
    posteriors = np.zeros_like(result.posteriors)
    posteriors[sure_at, 1] = 0.9
    records.write_video(output, replace(result, posteriors=posteriors), f"made of {content}")
    noted = atomic.read_json(output / records.HASHES_NAME) if (output / records.HASHES_NAME).exists() else {}
    atomic.write_json(output / records.HASHES_NAME, {**noted, str(result.info.path): [1, 2, content]})


def test_hard_idle_is_found_by_the_videos_content_whatever_it_was_called(
    copied: tuple[Dataset, Path], tmp_path: Path
) -> None:
    dataset, folder = copied
    one, other = dataset.in_split("train")[0], dataset.in_split("validation")[0]
    store_results(tmp_path / "output", "elsewhere/renamed.mp4", one, 20, one.sha256)
    store_results(tmp_path / "output", other.path, other, 20, "another file")  # of that name only
    earlier = Earlier.read(tmp_path / "output")
    sure = earlier.sureness(one, one.num_frames)
    assert sure is not None
    assert np.flatnonzero(sure).tolist() == [20]
    assert earlier.name_of(other) is None
    report = preprocess.preprocess(dataset.root, folder, None, KNOBS, hard=tmp_path / "output")[1]
    assert f"hard negatives: {tmp_path / 'output'} has results of 1 of 3 videos" in report.notes
    assert (report.done, report.reused) == ([one.path], [other.path])


def test_idle_is_cut_where_an_earlier_model_was_sure_of_something_though_nothing_moves_there(
    copied: tuple[Dataset, Path], tmp_path: Path
) -> None:
    dataset, folder = copied
    entry = dataset.in_split("train")[0]
    classes = frame_labels(dataset, entry, datasets.read_labels(dataset, entry))
    length, guard = round(1.2 * entry.fps), round(0.1 * entry.fps)
    free = [start for start in range(guard, entry.num_frames - length - guard)
            if not classes[start - guard : start + length + guard].any()]  # fmt: skip
    boxes = boxing.per_frame(datasets.read_stored_boxes(dataset, entry), entry.num_frames)
    moves = boxing.movement(boxes)
    start = min(free, key=lambda one: moves[one + length // 2])
    store_results(tmp_path / "output", entry.path, entry, start + length // 2, entry.sha256)
    preprocess.preprocess(dataset.root, folder, None, KNOBS, hard=tmp_path / "output")
    idle = [clip.frames for clip in read_table(folder).clips if clip.video == entry.path and clip.behavior == "idle"]
    assert FrameRange(start, start + length) in idle


def test_without_noted_hashes_results_are_found_by_name(copied: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, _ = copied
    entry = dataset.videos[0]
    store_results(tmp_path, entry.path, entry, 20, entry.sha256)
    (tmp_path / records.HASHES_NAME).unlink()
    earlier = Earlier.read(tmp_path)
    assert earlier.key(entry) == f"made of {entry.sha256}"
    assert earlier.sureness(entry, entry.num_frames + 1) is None
    assert earlier.name_of(dataset.videos[1]) is None
    with pytest.raises(RecordError, match="no results of the driver"):
        Earlier.read(tmp_path / "nothing")


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
