"""The same recording in two files is found, however it was cut and encoded; two films of one arena are not."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mousetal.dataset import VideoEntry
from training import recordings
from training.recordings import Same, find
from training.synthetic import Film
from training.synthetic.arena import CAGES
from training.synthetic.motion import perform

SIZE, SECONDS = (160, 120), 14.0


@dataclass(frozen=True)
class Stored:
    """Videos with their boxes, as a data set has them."""

    folder: Path
    entries: list[VideoEntry]
    tables: dict[str, np.ndarray]

    def add(self, name: str, frames: list[np.ndarray], boxes: np.ndarray, fps: int, size: tuple[int, int]) -> None:
        """Encode frames, scaled to ``size``, and note their ``boxes`` (n, 4), which are in SIZE's pixels."""
        with av.open(str(self.folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "32", "preset": "veryfast"})
            (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
            stream.codec_context.thread_count = 1
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(cv2.resize(frame, size), format="rgb24")))
            container.mux(stream.encode())
        self.entries.append(VideoEntry(name, name, len(frames), Fraction(fps), *size, len(frames) / fps, subject=name))
        self.tables[name] = boxes * size[0] / SIZE[0]

    def found(self, *names: str) -> list[Same]:
        entries = [entry for entry in self.entries if entry.path in names]
        return find(entries, lambda one: self.tables[one.path], lambda one: self.folder / one.path, lambda *_: True)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A film; a part of it at another rate, size and quality, with boxes that tremble; another animal's way through
    the same arena."""
    made = Stored(tmp_path_factory.mktemp("recordings"), [], {})
    film, other = (Film(60, SECONDS, size=SIZE, fps=25) for _ in range(2))
    other.performance = perform(np.random.default_rng(900), SECONDS, *other.floor_size(), CAGES[other.arena.cage][2])
    for name, one in (("film.mp4", film), ("other.mp4", other)):
        frames, boxes = zip(*(one.frame(number) for number in range(one.num_frames)), strict=True)
        made.add(name, list(frames), np.array(boxes, np.float64), 25, SIZE)
        if one is film:
            at = [round((3.37 + i / 20) * 25) for i in range(8 * 20)]
            shaken = np.array(boxes, np.float64)[at] + np.random.default_rng(0).normal(0, 1, (len(at), 4))
            made.add("part.mp4", [frames[i] for i in at], shaken, 20, (200, 150))
    return made


def test_a_part_that_was_cut_out_and_encoded_anew_is_found_with_its_place(stored: Stored) -> None:
    (same,) = stored.found("film.mp4", "part.mp4")
    assert (same.a, same.b) == ("film.mp4", "part.mp4")
    for in_film, in_part in same.moments:
        assert in_film - in_part == pytest.approx(3.37, abs=0.1)
    assert str(same).startswith("film.mp4 at 3.")


def test_two_films_of_one_arena_are_not_the_same_recording(stored: Stored) -> None:
    assert stored.found("film.mp4", "other.mp4") == []
    assert stored.found("other.mp4", "part.mp4") == []


def test_one_way_in_two_recordings_is_told_apart_by_how_the_animals_look(stored: Stored) -> None:
    """As on a wheel or in a narrow run: the places agree, the pictures do not."""
    lying = Stored(stored.folder, stored.entries, {**stored.tables, "other.mp4": stored.tables["film.mp4"]})
    assert lying.found("film.mp4", "other.mp4") == []


def test_a_video_that_cannot_be_read_is_never_found_alike(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "part.mp4").write_bytes(b"no video")
    (tmp_path / "film.mp4").write_bytes((stored.folder / "film.mp4").read_bytes())
    assert Stored(tmp_path, stored.entries, stored.tables).found("film.mp4", "part.mp4") == []


def ways(seed: int, seconds: float) -> np.ndarray:
    """Boxes (n, 4) at 25 frames per second, in a picture of 100 pixels, of an animal that walks and rests."""
    rng = np.random.default_rng(seed)
    stops = rng.uniform(10, 90, (int(seconds) + 2, 2))
    stops[2::3] = stops[1:-1:3]  # rests
    times = np.arange(int(seconds * 25)) / 25
    middles = np.stack([np.interp(times, np.arange(len(stops)), axis) for axis in stops.T], axis=1)
    return np.concatenate([middles - 8, middles + 8], axis=1)


def test_half_a_minute_in_common_is_found_in_long_videos_and_chance_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the places alone. Two of eight videos share a part; the boxes of one are missing in between."""
    monkeypatch.setattr(recordings, "_look_alike", lambda *_: True)
    tables = {f"{n}.mp4": ways(n, 200.0) for n in range(8)}
    tables["1.mp4"][1000:1750] = tables["0.mp4"][3000:3750]
    tables["1.mp4"][1300:1340] = np.nan
    entries = [VideoEntry(name, name, 5000, Fraction(25), 100, 100, 200.0) for name in tables]
    found = find(entries, lambda one: tables[one.path], lambda one: Path(one.path), lambda *_: True)
    assert [(one.a, one.b) for one in found] == [("0.mp4", "1.mp4")]
    assert found[0].moments[0][0] - found[0].moments[0][1] == pytest.approx(80.0, abs=0.1)


def test_an_animal_that_never_moves_proves_nothing() -> None:
    table = np.tile([40.0, 40.0, 60.0, 60.0], (500, 1))
    entries = [VideoEntry(name, name, 500, Fraction(25), 100, 100, 20.0) for name in ("a.mp4", "b.mp4")]
    assert find(entries, lambda _: table, lambda one: Path(one.path), lambda *_: True) == []
    nowhere = np.full((500, 4), np.nan)
    assert find(entries, lambda _: nowhere, lambda one: Path(one.path), lambda *_: True) == []
