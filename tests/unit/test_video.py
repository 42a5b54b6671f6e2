"""Video: one contract over every kind of sound file, its colours, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from mousetal.types import Frame, VideoInfo
from mousetal.video import decode, is_video, probe
from tests.fixtures import videos
from tests.fixtures.videos import SAMPLES, Sample, burnt_in_number, same

SHARED_VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"
REAL_VIDEOS = (
    "permissive/deepof_overlay/test2DLC_video_circular_arena.mp4",
    "permissive/openfield_m3v1/m3v1mp4.mp4",
    "copyleft/eztrack_no_animal/Freezing_calibration.wmv",
    "copyleft/bsoid_bottom_view/itch_hstacked.mp4",
    "restricted/sleap_homecage_1/minimal_side.mp4",
    "restricted/sleap_homecage_2/min_session_mid.mp4",
)
ENOUGH_FRAMES = 60  # of a real video


@dataclass(frozen=True)
class Known:
    """A written sample with what was read from it."""

    sample: Sample
    info: VideoInfo
    frames: list[Frame]


Samples = Callable[[str], Known]


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    folder = tmp_path_factory.mktemp("videos")

    @cache
    def read(name: str) -> Known:
        sample = next(sample for sample in SAMPLES if sample.name == name)
        info = probe(sample.write(folder))
        return Known(sample, info, list(decode(info)))

    return read


@pytest.fixture(params=[sample.name for sample in SAMPLES])
def known(request: pytest.FixtureRequest, samples: Samples) -> Known:
    return samples(request.param)


def test_every_frame_is_the_one_that_its_number_says(known: Known) -> None:
    assert [burnt_in_number(frame.rgb) for frame in known.frames] == list(known.sample.numbers)
    assert [frame.index for frame in known.frames] == list(range(len(known.sample.numbers)))


def test_seconds_are_those_of_the_file(known: Known) -> None:
    assert [frame.pts_seconds for frame in known.frames] == pytest.approx(
        known.sample.seconds, abs=known.sample.tolerance
    )
    assert [frame.pts_seconds for frame in known.frames] == known.info.pts_seconds.tolist()


def test_frames_are_upright_rgb_of_the_size_that_probe_says(known: Known) -> None:
    size = known.sample.settings.get("size", videos.TINY)

    assert (known.info.width, known.info.height) == size
    assert {(frame.width, frame.height) for frame in known.frames} == {size}
    assert np.abs(videos.patch_colours(known.frames[-1].rgb) - videos.PATCHES).max() < 20


def test_probe_counts_what_decode_delivers(known: Known) -> None:
    assert known.info.num_frames == len(known.frames)
    assert known.info.is_variable_frame_rate == known.sample.name.startswith("variable")
    assert is_video(known.info.path)


def test_frames_that_are_not_wanted_come_without_pixels(known: Known) -> None:
    wanted = np.arange(1, known.info.num_frames, 3)
    found = list(decode(known.info, wanted=wanted))
    assert [(one.index, one.pts_seconds) for one in found] == [(one.index, one.pts_seconds) for one in known.frames]
    for one, frame in zip(found, known.frames, strict=True):
        np.testing.assert_array_equal(one.rgb, frame.rgb if frame.index in wanted else np.empty((0, 0, 3), np.uint8))


def test_starting_late_gives_the_same_frames_as_skipping(known: Known) -> None:
    for start in {round(place * len(known.frames)) for place in (0.02, 0.33, 0.6, 0.98, 1.0)}:
        late = list(decode(known.info, start))

        assert len(late) == len(known.frames) - start
        assert all(same(frame, other) for frame, other in zip(late, known.frames[start:], strict=True))


def test_reading_twice_gives_the_same(known: Known) -> None:
    again = list(decode(probe(known.info.path)))

    assert all(same(frame, other) for frame, other in zip(again, known.frames, strict=True))


@pytest.mark.parametrize("name", REAL_VIDEOS)
def test_the_contract_holds_for_real_recordings(name: str, shared: Path) -> None:
    info = probe(SHARED_VIDEOS / name)
    start = min(info.num_frames // 2, ENOUGH_FRAMES)
    frames = [frame for frame, _ in zip(decode(info), range(start + 20), strict=False)]

    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert (np.diff([frame.pts_seconds for frame in frames]) > 0).all()
    assert {frame.rgb.shape for frame in frames} == {(info.height, info.width, 3)}
    late = decode(info, start)
    assert all(same(frame, next(late)) for frame in frames[start:])


def test_a_late_start_on_key_frames_that_are_no_idr_pictures_gives_the_same_frames(shared: Path) -> None:
    info = probe(shared / "data" / "real" / "permissive" / "openfield_m3v1" / "m3v1mp4.mp4")
    late = islice(decode(info, 356), 5)
    assert all(same(ours, other) for ours, other in zip(late, islice(decode(info), 356, 361), strict=True))


@pytest.mark.parametrize("name", REAL_VIDEOS)
def test_colours_of_real_recordings_are_those_of_opencv(name: str, shared: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    reader = cv2.VideoCapture(str(SHARED_VIDEOS / name))

    for frame, _ in zip(decode(probe(SHARED_VIDEOS / name)), range(4), strict=False):
        found, bgr = reader.read()
        assert found
        np.testing.assert_array_equal(frame.rgb, bgr[..., ::-1])


# Y, Cb, Cr of pure colours, by the definitions of the standards rather than by any program.
BT601_RED, BT709_RED = (0.299, 0.114), (0.2126, 0.0722)


@pytest.mark.parametrize(
    ("weights", "space", "value_range"),
    [(BT601_RED, 5, 1), (BT709_RED, 1, 1), (BT601_RED, 5, 2), (BT709_RED, 1, 2)],
    ids=["bt601 limited", "bt709 limited", "bt601 full", "bt709 full"],
)
def test_colours_follow_the_matrix_and_range_that_the_file_declares(
    tmp_path: Path, weights: tuple[float, float], space: int, value_range: int
) -> None:
    colours = np.array(videos.PATCHES, float)
    path = tmp_path / "patches.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 16, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, value_range
        planes = np.repeat(np.repeat(_ycbcr(colours, weights, value_range).T[:, None], 16, axis=1), 16, axis=2)
        frame = av.VideoFrame.from_ndarray(planes, "yuv444p")
        frame.colorspace, frame.color_range = space, value_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode())

    (read,) = decode(probe(path))

    assert np.abs(read.rgb[8, 8::16] - colours).max() <= 2


def _ycbcr(rgb: np.ndarray, weights: tuple[float, float], value_range: int) -> np.ndarray:
    red, blue = weights
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    cb, cr = (rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)
    if value_range == 1:
        luma, cb, cr = 16 + luma * 219 / 255, cb * 224 / 255, cr * 224 / 255
    return np.stack([luma, cb + 128, cr + 128], axis=1).round().astype(np.uint8)


def test_probe_tells_what_kind_of_video_it_is(samples: Samples) -> None:
    assert samples("plain_h264").info.fps == 30
    assert samples("ntsc_rate").info.fps == Fraction(30000, 1001)
    assert samples("plain_h264").info.duration_seconds == pytest.approx(40 / 30)
    assert samples("full_range_yuvj420p").info.pixel_format == "yuvj420p"
    assert samples("hevc_b_frames").info.codec == "hevc"
    assert [samples(f"rotated_{angle}").info.rotation_degrees for angle in (90, 180, 270)] == [90, 180, 270]


def test_the_mean_rate_of_a_variable_video_is_that_of_its_times(samples: Samples) -> None:
    seconds = videos.UNEVEN_MS[-1] / 1000

    assert float(samples("variable_frame_rate").info.fps) == pytest.approx(39 / seconds, rel=0.01)


def test_hidden_frames_are_told(samples: Samples) -> None:
    info = samples("edit_list_hides_the_start").info

    assert (info.num_frames, info.declared_frames) == (28, 40)
    assert info.warnings == ("an edit list hides 12 of 40 frames",)


def test_a_file_without_times_says_so(samples: Samples) -> None:
    (warning,) = samples("raw_h264").info.warnings

    assert "no reliable frame times" in warning
    assert samples("plain_h264").info.warnings == ()


def test_starting_outside_the_video_is_refused_at_once(samples: Samples) -> None:
    with pytest.raises(ValueError, match=r"0\.\.40, got 41"):
        decode(samples("plain_h264").info, 41)
