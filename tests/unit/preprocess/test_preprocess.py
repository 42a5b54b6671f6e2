"""From a labelled data set to training clips: exact in place and label, as the settings say."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mousetal import atomic, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.geometry import crop_clip, square, union
from mousetal.types import FrameRange
from tests.fixtures.datasets import psnr
from tests.fixtures.preprocessing import KNOBS
from training import preprocess, preprocessknobs, preprocessreport
from training.clips import Clip, read_frames, read_table
from training.cutting import frame_labels
from training.preprocessknobs import Knobs
from training.synthetic import BEHAVIORS

GROOM, TWITCH = BEHAVIORS
Capture = pytest.CaptureFixture[str]


def entry_of(dataset: Dataset, clip: Clip) -> datasets.VideoEntry:
    return next(entry for entry in dataset.videos if entry.path == clip.video)


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
