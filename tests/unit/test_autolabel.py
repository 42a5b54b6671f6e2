"""Boxes without a labeller: near the true ones on films, doubtful ones dropped, written as training reads them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from mousetal import atomic, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import VideoError
from mousetal.formats import supervisely
from mousetal.geometry import iou
from mousetal.sidebyside import Over
from mousetal.types import FrameBox
from training import autolabel, coco, contactsheet, datasetlock
from training.autolabel import Recording, frames_at, label, with_splits
from training.boxdoubts import doubts
from training.real_boxes import read_folder
from training.silhouette import Arena, small_grey
from training.synthetic import TRUTH_SUFFIX, Film, write_video


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A black mouse that walks about and rests, 6 seconds."""
    path = tmp_path_factory.mktemp("films") / "black.mp4"
    write_video(Film(50_001, 6.0, size=(240, 180), fps=25), path)
    return path


def true_boxes(path: Path) -> np.ndarray:
    return np.array(json.loads(path.with_suffix(TRUTH_SUFFIX).read_text())["boxes_xyxy"])


def arena_of(film: Film) -> Arena:
    return Arena.of([small_grey(film.frame(number)[0]) for number in range(0, film.num_frames, 5)])


@pytest.mark.parametrize(
    ("seed", "sign"),
    [
        (50_002, -1),  # black on a light floor
        (50_005, -1),  # agouti that hardly leaves its place
        (50_006, 1),  # white on a dark floor, at rest most of the time
        (50_010, 1),  # white among chips of wood, hardly moving
    ],
)
def test_the_animal_is_told_from_the_arena_whether_dark_or_light_moving_or_at_rest(seed: int, sign: int) -> None:
    film = Film(seed, 15.0, size=(320, 240), fps=5)
    arena = arena_of(film)
    assert arena.sign == sign
    assert arena.has_animal
    overlaps = []
    for number in range(0, film.num_frames, 7):
        rgb, box = film.frame(number)
        overlaps.append(iou(arena.blobs(small_grey(rgb))[0].box_xyxy, box))
    assert np.mean(overlaps) > 0.7
    assert min(overlaps) > 0.4


def test_an_empty_arena_has_no_animal() -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(80, 160, (120, 160)).astype(np.uint8)
    frames = [np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    assert not Arena.of(frames).has_animal


def test_a_films_boxes_are_near_the_true_ones_and_a_second_apart(film: Path) -> None:
    boxed = label(film, None, every_s=1.0, most=100)
    truth = true_boxes(film)
    kept = [boxed.boxes[place] for place in boxed.kept]
    assert 4 <= len(kept) <= 6
    assert np.diff([box.frame_index for box in kept]).min() >= 25
    overlaps = [iou(box.box_xyxy, truth[box.frame_index]) for box in kept]
    assert np.mean(overlaps) > 0.7
    assert min(overlaps) > 0.5
    assert len(label(film, None, every_s=0.2, most=3).kept) == 3


def test_a_detectors_boxes_are_taken_the_same_way(film: Path, root: Path) -> None:
    boxed = label(film, autolabel.mousetal.detector.load(root / "models" / "demo-detector"), every_s=1.0, most=100)
    truth = true_boxes(film)
    assert len(boxed.kept) >= 4
    assert np.mean([iou(boxed.boxes[p].box_xyxy, truth[boxed.boxes[p].frame_index]) for p in boxed.kept]) > 0.7


def track(boxes: list[tuple[float, float, float, float]], step_s: float = 0.2) -> tuple[list[FrameBox], np.ndarray]:
    return [FrameBox(i, box, 1.0, "detected") for i, box in enumerate(boxes)], np.arange(len(boxes)) * step_s


def test_a_smooth_track_is_not_doubted() -> None:
    boxes, seconds = track([(10.0 + 8 * i, 20.0, 60.0 + 8 * i, 50.0 + i) for i in range(20)])
    assert set(doubts(boxes, seconds)) == {""}
    assert doubts([], seconds) == ()


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ((10.0, 10.0, 200.0, 150.0), "size"),
        ((20.0, 20.0, 28.0, 28.0), "size"),
        ((300.0, 200.0, 350.0, 230.0), "jump"),
        ((60.0, 20.0, 110.0, 50.0), "neighbours"),
    ],
)
def test_a_box_unlike_those_around_it_is_doubted(odd: tuple[float, float, float, float], reason: str) -> None:
    boxes, seconds = track([(20.0, 20.0, 70.0, 50.0)] * 21)
    boxes[10] = replace(boxes[10], box_xyxy=odd)
    found = doubts(boxes, seconds)
    assert found[10] == reason
    assert all(not one for number, one in enumerate(found) if abs(number - 10) > 1)


def test_borrowed_and_lonely_boxes_are_doubted() -> None:
    boxes, seconds = track([(20.0, 20.0, 70.0, 50.0)] * 3, step_s=5.0)
    assert doubts(boxes, seconds) == ("alone",) * 3
    assert doubts([replace(boxes[0], source="held")], seconds) == ("not seen",)


def test_frames_far_apart_are_sought_and_near_ones_read(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autolabel, "SEEK_ABOVE", 50)
    info = video.probe(film)
    for numbers in ([0, 1, 5], [3, 80, 149], [7], []):
        assert [frame.index for frame in frames_at(info, numbers, Over())] == numbers


def write_still(path: Path) -> None:
    """A video of an empty floor."""
    floor = np.random.default_rng(1).integers(90, 140, (96, 128, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(floor, format="rgb24")))
        container.mux(stream.encode())


def test_a_video_without_a_moving_animal_is_told_so(tmp_path: Path) -> None:
    write_still(tmp_path / "still.mp4")
    with pytest.raises(VideoError, match=r"still\.mp4: no single moving animal .* Use --detector"):
        label(tmp_path / "still.mp4", None, 1.0, 100)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["autolabel", *map(str, arguments)])
    return autolabel.main()


def test_the_folder_is_what_training_reads_and_one_bad_video_does_not_stop_it(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "black.mp4").symlink_to(film)
    write_still(videos / "still.mp4")
    assert run(monkeypatch, "--videos", videos, "--out", tmp_path / "boxes", "--every", 2) == 1
    told = capsys.readouterr().out
    assert "skipped:" in told
    assert "still.mp4: no single moving animal" in told
    data = coco.read([tmp_path / "boxes"])
    assert data.classes == ("mouse",)
    assert not data.problems
    frames = list(read_folder(tmp_path / "boxes"))
    assert len(frames) == len(data.images) == 3
    truth = true_boxes(film)
    indices = sorted(image.frame_index or 0 for image in data.images)
    for frame, index in zip(frames, indices, strict=True):
        assert iou(frame.box_xyxy, truth[index]) > 0.5
    sheet = cv2.imread(str(tmp_path / "boxes" / "contact_sheet.jpg"))
    assert sheet.shape[1] == 6 * 240


def test_what_does_not_fit_one_contact_sheet_goes_on_another(tmp_path: Path) -> None:
    tile = np.full((1000, contactsheet.TILE_WIDTH, 3), 90, np.uint8)
    (tmp_path / "contact_sheet-9.jpg").write_bytes(b"of an earlier run with more videos")
    paths = contactsheet.write(tmp_path, [tile] * (6 * 41 + 1))
    assert [path.name for path in paths] == ["contact_sheet.jpg", "contact_sheet-2.jpg", "contact_sheet-3.jpg"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    heights = [cv2.imread(str(path)).shape[0] for path in paths]
    assert sum(heights) == 42_000
    assert max(heights) <= contactsheet.MOST_HEIGHT
    assert contactsheet.write(tmp_path, []) == []


def test_in_a_data_set_splits_and_subjects_are_kept_and_the_track_is_stored(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dataset" / "mice" / "video"
    folder.mkdir(parents=True)
    (folder / "black.mp4").symlink_to(film)
    entry = VideoEntry("mice/video/black.mp4", "0" * 64, 150, Fraction(25), 240, 180, 6.0, subject="m7", split="test")
    dataset = Dataset(tmp_path / "dataset", ("a",), (entry,))
    datasets.write(dataset)
    with datasetlock.hold(dataset.root):
        assert run(monkeypatch, "--dataset", dataset.root, "--out", tmp_path / "boxes", "--store") == 1
        assert "is in use by another program of training" in capsys.readouterr().err
    assert run(monkeypatch, "--dataset", dataset.root, "--out", tmp_path / "boxes", "--store") == 0
    document = json.loads((tmp_path / "boxes" / "boxes_coco.json").read_text())
    assert {(image["split"], image["subject"]) for image in document["images"]} == {("test", "m7")}
    stored = datasets.read_stored_boxes(dataset, entry)
    assert len(stored) >= 25
    assert stored[0].frame_index == 0
    (after,) = datasets.read(dataset.root).videos
    assert after.boxes_by == "training.autolabel: movement against the empty arena"
    dataset.boxes_path(entry).unlink()
    datasets.write(dataset)  # as it was imported, but with a box that a person drew
    path = dataset.annotation_path(entry)
    drawn = FrameBox(3, (1.0, 2.0, 30.0, 40.0), 1.0, "detected")
    empty = supervisely.empty_annotation(entry.path, entry.width, entry.height, entry.num_frames)
    atomic.write_json(path, supervisely.with_boxes(empty, entry.path, [drawn], datasets.ANIMAL))
    assert run(monkeypatch, "--dataset", dataset.root, "--out", tmp_path / "boxes", "--store") == 0
    assert "people have drawn boxes, which stay" in capsys.readouterr().out
    assert datasets.read(dataset.root).videos[0].boxes_by == ""
    assert [box.frame_index for box in datasets.read_stored_boxes(dataset, entry)] == [3]


def test_nothing_found_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").mkdir()
    write_still(tmp_path / "videos" / "still.mp4")
    assert run(monkeypatch, "--videos", tmp_path / "videos", "--out", tmp_path / "boxes") == 1
    assert not (tmp_path / "boxes").exists()
    assert run(monkeypatch, "--videos", tmp_path / "videos", "--out", tmp_path / "boxes", "--store") == 2
    assert "--store needs --dataset" in capsys.readouterr().err


def test_on_the_sheet_a_video_is_called_by_its_animal_too() -> None:
    assert autolabel.called(Path("dataset/films/datasets/mouse-01/video/day-1.mp4")) == "mouse-01/day-1"
    assert autolabel.called(Path("/lab/mouse-02/day-1.mp4")) == "mouse-02/day-1"
    assert autolabel.called(Path("day-1.mp4")) == "day-1"


def test_one_who_interrupts_is_told_that_the_next_start_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(autolabel, "_label_all", interrupted)
    assert run(monkeypatch, "--videos", tmp_path, "--out", tmp_path / "boxes") == 130
    assert capsys.readouterr().err == "Interrupted. Nothing is written to --out; a new start begins anew.\n"


def test_animals_are_never_parted_by_the_split() -> None:
    recordings = [Recording(Path(f"{i}.mp4"), subject=f"m{i // 3}") for i in range(12)]
    split = with_splits(recordings, 0.25, seed=1)
    by_subject = {one.subject: {other.split for other in split if other.subject == one.subject} for one in split}
    assert all(len(splits) == 1 for splits in by_subject.values())
    assert sum(splits == {"validation"} for splits in by_subject.values()) == 1
    assert with_splits(recordings[:3], 0.5, seed=1)[0].split == "train"  # a single animal is all to learn from


def test_boxes_on_a_real_video_agree_with_those_that_were_looked_at(shared: Path) -> None:
    folder = shared / "data" / "real" / "permissive" / "openfield_m3v1"
    truth = {image.frame_index: image.boxes_xyxy[0] for image in coco.read([folder]).images}
    info = video.probe(folder / "m3v1mp4.mp4")
    numbers = sorted(number for number in truth if number is not None)[::2]
    overlaps = [
        iou(found.boxes_xyxy[0], truth[found.frame_index]) if len(found) else 0.0
        for found in autolabel.by_silhouette(info, numbers, Over())
    ]
    assert np.mean(overlaps) > 0.7
    assert np.mean(np.array(overlaps) >= 0.5) > 0.95


def test_a_video_is_told_by_more_than_its_files_name() -> None:
    """All films of a cohort may be called day-1.mp4."""
    assert Recording(Path("cohort/mouse-03/day-1.mp4")).name == "mouse-03/day-1.mp4"
    entry = VideoEntry("films/datasets/mouse-03/video/day-1.mp4", "0" * 64, 10, Fraction(25), 64, 48, 0.4)
    assert Recording(Path("/data/x.mp4"), entry=entry).name == entry.path
