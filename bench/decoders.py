"""Which video decoder is right: the evidence behind `mousetal.video`.

    python bench/decoders.py write FOLDER                      make the files (needs the test fixtures and PyAV)
    python bench/decoders.py read DECODER FOLDER               one row per file: mousetal, pyav, cv2 or decord
    python bench/decoders.py memory DECODER FOLDER             RSS while reading a 60-minute file

Every picture carries its number in its pixels, so "right" means: all pictures, each once, in order, at their times.
decord and decord2 are both imported as `decord`: run "read decord" with the interpreter of an environment that has one
of them, numpy and psutil. Each file is read in a process of its own with a time limit, since decoders crash and hang.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TIMEOUT_SECONDS = 60
MINUTES, FPS = 60, 30
BITS, BLOCK = 11, 8  # as in tests/fixtures/videos.py, which an environment without PyAV can't import


class Picture(NamedTuple):
    seconds: float | None
    rgb: np.ndarray


# --- the decoders: declared count first, then pictures in the order in which they come ------------------------------


def read_mousetal(path: str) -> Iterator[int | Picture | None]:
    from mousetal.video import decode, probe

    info = probe(Path(path))
    yield info.num_frames
    for frame in decode(info):
        yield Picture(frame.pts_seconds, frame.rgb)


def read_pyav(path: str) -> Iterator[int | Picture | None]:
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        yield stream.frames or None
        first = None
        for frame in container.decode(stream):
            first = frame.time if first is None else first
            seconds = None if frame.time is None or first is None else frame.time - first
            yield Picture(seconds, frame.to_ndarray(format="rgb24"))


def read_cv2(path: str) -> Iterator[int | Picture | None]:
    import cv2

    reader = cv2.VideoCapture(path)
    if not reader.isOpened():
        raise OSError("not opened")
    yield int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    while True:
        found, bgr = reader.read()
        if not found:
            return
        yield Picture(reader.get(cv2.CAP_PROP_POS_MSEC) / 1000, bgr[..., ::-1])


def read_decord(path: str) -> Iterator[int | Picture | None]:
    import decord

    reader = decord.VideoReader(path, num_threads=1)
    yield len(reader)
    for index in range(len(reader)):
        pixels = reader.next().asnumpy()
        yield Picture(float(reader.get_frame_timestamp(index)[0]), pixels)


READERS = {"mousetal": read_mousetal, "pyav": read_pyav, "cv2": read_cv2, "decord": read_decord}


# --- right or wrong --------------------------------------------------------------------------------------------------


def burnt_in_number(rgb: np.ndarray) -> int:
    blocks = rgb[2 : BLOCK - 2, : BITS * BLOCK].mean(axis=(0, 2)).reshape(BITS, BLOCK)[:, 2:-2].mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(blocks) if level > 127)


def read_one(decoder: str, path: str) -> dict[str, object]:
    pictures = READERS[decoder](path)
    row: dict[str, object] = {"declared": next(pictures), "numbers": [], "seconds": [], "size": None, "error": None}
    numbers: list[int] = []
    seconds: list[float | None] = []
    try:
        for picture in pictures:
            assert isinstance(picture, Picture)
            numbers.append(burnt_in_number(picture.rgb))
            seconds.append(picture.seconds)
            row["size"] = picture.rgb.shape[1::-1]
    except Exception as error:  # noqa: BLE001  whatever a decoder raises is the finding
        row["error"] = type(error).__name__
    return row | {"numbers": numbers, "seconds": seconds}


def verdict(row: dict[str, object], expected: dict[str, object]) -> str:
    """One cell: "right", or what is wrong, as "count 28/40, numbers, times (0.4 s), size"."""
    numbers, wanted = list(row["numbers"]), list(expected["numbers"])  # type: ignore[call-overload]
    faults = [f"{row['error']} raised"] if row["error"] else []
    if len(numbers) != len(wanted):
        faults.append(f"{len(numbers)} of {len(wanted)} frames")
    wrong = sum(got != want for got, want in zip(numbers, wanted, strict=False))
    if wrong:
        faults.append(f"{wrong} wrong or misplaced")
    pairs = zip(row["seconds"], expected["seconds"], strict=False)  # type: ignore[call-overload]
    errors = [abs(got - want) if got is not None else np.inf for got, want in pairs]
    if errors and max(errors) > 0.002:
        faults.append("no times" if max(errors) == np.inf else f"times off by up to {max(errors):.2f} s")
    if row["size"] is not None and list(row["size"]) != expected["size"]:  # type: ignore[call-overload]
        faults.append("not upright" if sorted(row["size"]) == sorted(expected["size"]) else f"size {row['size']}")  # type: ignore[call-overload]
    return ", ".join(faults) or "right"


def read_all(decoder: str, folder: Path) -> None:
    for expected in json.loads((folder / "expected.json").read_text()):
        command = [sys.executable, __file__, "one", decoder, str(folder / expected["file"])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            outcome = f"hangs (more than {TIMEOUT_SECONDS} s)"
        else:
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            if done.returncode < 0:
                outcome = f"crashes the process (signal {-done.returncode})"
            elif lines and "numbers" in expected:
                row = json.loads(lines[-1])
                outcome = f"{verdict(row, expected)}; says {row['declared']}"
            elif lines:
                row = json.loads(lines[-1])
                outcome = f"{len(row['numbers'])} frames, says {row['declared']}, error {row['error']}"
            else:
                outcome = "refused: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:110]
        print(f"{expected['file']:45s} {outcome}", flush=True)


# --- the files -------------------------------------------------------------------------------------------------------


def write_files(folder: Path) -> None:
    from tests.fixtures import videos

    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for sample in videos.SAMPLES:
        path = sample.write(folder)
        size = sample.settings.get("size", videos.TINY)
        rows.append({"file": path.name, "numbers": sample.numbers, "seconds": sample.seconds, "size": size})
    for suffix, codec in ((".mp4", "libx264"), (".mkv", "libx264"), (".avi", "mpeg4")):
        path = videos.cut_in_the_middle(folder, suffix, codec=codec)
        rows.append({"file": path.name})
    damaged = videos.write_video(folder / "one_damaged_packet.mp4", options=videos.X264)
    videos.overwrite_packets(damaged, [17], keep=0.3)
    others = [make(folder) for make in (*videos.NOT_VIDEOS, videos.no_frames, videos.not_one_frame_decodes)]
    rows += [{"file": path.name} for path in (damaged, *others)]
    (folder / "expected.json").write_text(json.dumps(rows))
    long = folder / "sixty_minutes.mp4"
    if not long.exists():
        settings: dict[str, Any] = {"options": {"preset": "ultrafast", "g": "300"}, "size": (320, 240)}
        videos.write_video(long, num_frames=MINUTES * 60 * FPS, fps=FPS, **settings)


def measure_memory(decoder: str, folder: Path) -> None:
    import psutil

    process, started = psutil.Process(), time.perf_counter()
    pictures = READERS[decoder](str(folder / "sixty_minutes.mp4"))
    next(pictures)
    print(f"{decoder}: opened after {time.perf_counter() - started:.1f} s, {process.memory_info().rss >> 20} MiB")
    for number, _picture in enumerate(pictures, 1):
        if number in (60 * FPS, 10 * 60 * FPS, 30 * 60 * FPS, MINUTES * 60 * FPS):
            rate = number / (time.perf_counter() - started)
            print(f"{decoder}: {number} frames, {process.memory_info().rss >> 20} MiB, {rate:.0f} frames/s", flush=True)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["write", folder]:
            write_files(Path(folder))
        case ["read", decoder, folder]:
            read_all(decoder, Path(folder))
        case ["memory", decoder, folder]:
            measure_memory(decoder, Path(folder))
        case ["one", decoder, path]:
            print(json.dumps(read_one(decoder, path)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
