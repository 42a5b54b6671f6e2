"""Pictures of bouts: which bouts, which frames, and what is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference_script import thumbnails
from mousetal import filmstrip
from mousetal.errors import OutputError
from mousetal.types import Bout, Frame, Int64Array, VideoInfo, VideoResult
from mousetal.video import probe
from tests.fixtures.results import video_result
from tests.fixtures.videos import write_video


class Camera:
    """Frames without a file: grey pictures whose brightness tells their number; notes what was decoded and wanted."""

    def __init__(self, missing: frozenset[int] = frozenset()) -> None:
        self.starts: list[int] = []
        self.decoded: list[int] = []
        self.wanted: list[int] = []
        self.missing = missing

    def __call__(self, info: VideoInfo, start_frame: int, wanted: Int64Array) -> Iterator[Frame]:
        self.starts.append(start_frame)
        self.wanted += wanted.tolist()
        for index in range(start_frame, info.num_frames):
            self.decoded.append(index)
            if index not in self.missing:
                yield Frame(index, index / 30, np.full((info.height, info.width, 3), index % 200, np.uint8))


def bout(start: int, end: int, p: float = 0.8, behavior: str = "self-grooming") -> Bout:
    return Bout(behavior, start, end, p, p, (100, 80, 140, 120))


def result_with(*bouts: Bout, seconds: float = 20) -> VideoResult:
    return dataclasses.replace(video_result(seconds=seconds), bouts=bouts, scores=())


def picture(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_the_surest_and_the_least_sure_bouts_are_shown_in_order_of_time() -> None:
    bouts = [bout(10 * i, 10 * i + 5, p) for i, p in enumerate((0.7, 0.9, 0.5, 0.8, 0.6))]
    assert [one.mean_probability for one in thumbnails.choose(bouts, 3)] == [0.9, 0.5, 0.8]
    assert thumbnails.choose(bouts, 9) == bouts


def test_each_behaviour_has_its_share() -> None:
    bouts = [bout(10 * i, 10 * i + 5, behavior=name) for i, name in enumerate(("a", "a", "a", "b"))]
    assert sorted(one.behavior for one in thumbnails.choose(bouts, 2)) == ["a", "a", "b"]


@pytest.mark.parametrize("fewer", range(6))
def test_a_smaller_choice_is_part_of_a_larger_one(fewer: int) -> None:
    bouts = [bout(10 * i, 10 * i + 5, 0.5 + i % 3 / 10) for i in range(6)]
    assert set(thumbnails.choose(bouts, fewer)) <= set(thumbnails.choose(bouts, fewer + 1))


def test_a_strip_holds_the_whole_frame_with_the_box_and_three_close_ups(tmp_path: Path) -> None:
    (path,) = thumbnails.write(video_result().info, result_with(bout(20, 121)), tmp_path, frames_from=Camera())
    assert path == thumbnails.file_of(tmp_path, bout(20, 121))
    strip = picture(path)
    assert strip.shape == (200, 267 + 3 * (filmstrip.SEPARATOR + 200), 3)
    middles = [strip[100, 267 + 104 + 204 * i, 0] for i in range(3)]
    assert np.allclose(middles, [20, 70, 120], atol=3)
    yellow = np.abs(strip[:, :267].astype(int) - filmstrip.BOX_RGB).sum(axis=2) < 120
    rows, columns = np.nonzero(yellow)
    # The bout's box with its margin, (92, 72) to (148, 128) of 320 x 240, at 200/240 of its size.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == pytest.approx((77, 123, 60, 107), abs=4)


def test_only_what_lies_near_the_bouts_is_decoded(tmp_path: Path) -> None:
    camera = Camera()
    result = result_with(bout(100, 110), bout(150, 160), bout(3000, 3010), seconds=200)
    thumbnails.write(result.info, result, tmp_path, frames_from=camera)
    assert camera.starts == [100, 3000]
    assert camera.decoded == [*range(100, 160), *range(3000, 3010)]
    assert camera.wanted == [100, 104, 109, 150, 154, 159, 3000, 3004, 3009]


def test_a_bout_of_one_frame_has_a_strip(tmp_path: Path) -> None:
    assert thumbnails.write(video_result().info, result_with(bout(7, 8)), tmp_path, frames_from=Camera())


def test_a_frame_that_cannot_be_decoded_leaves_its_place_grey(tmp_path: Path) -> None:
    camera = Camera(missing=frozenset({20}))
    (path,) = thumbnails.write(video_result().info, result_with(bout(20, 121)), tmp_path, frames_from=camera)
    assert np.allclose(picture(path)[100, 267 + 104], 200, atol=3)


def test_a_bout_of_which_nothing_can_be_decoded_has_no_picture(tmp_path: Path) -> None:
    camera = Camera(missing=frozenset(range(20, 121)))
    assert thumbnails.write(video_result().info, result_with(bout(20, 121)), tmp_path, frames_from=camera) == []


def test_without_a_box_the_whole_frame_stands_alone(tmp_path: Path) -> None:
    alone = dataclasses.replace(bout(20, 30), box_xyxy=None)
    (path,) = thumbnails.write(video_result().info, result_with(alone), tmp_path, frames_from=Camera())
    assert picture(path).shape == (200, 267, 3)


def test_the_crop_of_the_window_around_the_frame_is_what_is_drawn(tmp_path: Path) -> None:
    result = dataclasses.replace(video_result(seed=1), bouts=(bout(200, 230),))
    score = min(
        (score for score in result.scores if score.crop_xyxy),
        key=lambda score: abs(score.window.frames.start_frame + score.window.frames.end_frame - 2 * 214),
    )
    (path,) = thumbnails.write(result.info, result, tmp_path, frames_from=Camera())
    rows, columns = np.nonzero(np.abs(picture(path)[:, :267].astype(int) - filmstrip.BOX_RGB).sum(axis=2) < 120)
    x1, y1, x2, y2 = (edge * 200 / 240 for edge in score.crop_xyxy or ())
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == pytest.approx((x1, x2, y1, y2), abs=4)


def test_pictures_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / "00000001-00000002.jpg").write_bytes(b"old")
    (path,) = thumbnails.write(video_result().info, result_with(bout(20, 30)), tmp_path, frames_from=Camera())
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_without_bouts_is_not_opened(tmp_path: Path) -> None:
    camera = Camera()
    assert thumbnails.write(video_result().info, result_with(), tmp_path / "none", frames_from=camera) == []
    assert camera.starts == []
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        thumbnails.write(
            video_result().info, result_with(bout(20, 30)), tmp_path / "file" / "a.mp4", frames_from=Camera()
        )


def test_a_real_file_gives_its_pictures(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "a.mp4", size=(320, 240), num_frames=60))
    result = dataclasses.replace(result_with(bout(10, 30), bout(40, 60)), info=info)
    paths = thumbnails.write(info, result, tmp_path / "thumbnails")
    assert [path.name for path in paths] == ["00000010-00000030.jpg", "00000040-00000060.jpg"]
    assert all(picture(path).shape[0] == 200 for path in paths)
