"""How well hard cuts are found: `python -m bench.cuts REAL [VIDEO...]`.

REAL is the folder of real data beside a checkout (../shared/data/real): its playlists are joined clips of 16 frames, so
every cut is known. Further videos are taken to have none. Printed are cuts, how many were found, what was found
elsewhere, and milliseconds a frame.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mousetal import video
from mousetal.scenes import CutFinder
from training.real_videos import gather

CLIP_FRAMES = 16


def found_in(path: Path) -> tuple[int, set[int], float]:
    """How many frames the video has, which of them begin a scene, and the seconds that it took to tell."""
    info, cuts, starts, seconds = video.probe(path), CutFinder(), set[int](), 0.0
    for frame in video.decode(info):
        begun = time.perf_counter()
        is_start = cuts.begins_scene(frame.rgb)
        seconds += time.perf_counter() - begun
        if is_start:
            starts.add(frame.index)
    return info.num_frames, starts, seconds


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("videos", type=Path, nargs="*", help="without cuts")
    given = parser.parse_args(argv)
    frames = known = hits = false = 0
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for path in [*gather(given.real, Path(folder)), *given.videos]:
            count, starts, taken = found_in(path)
            is_joined = path.suffix == ".mkv"
            cuts = set(range(CLIP_FRAMES, count, CLIP_FRAMES)) if is_joined else set()
            print(f"{path.name:40} {count:6} frames  cuts {len(cuts):3}  found {len(starts & cuts):3}  "
                  f"elsewhere {len(starts - cuts)}", flush=True)  # fmt: skip
            frames, seconds = frames + count, seconds + taken
            known, hits, false = known + len(cuts), hits + len(starts & cuts), false + len(starts - cuts)
    print(f"all: {hits} of {known} cuts found, {false} elsewhere; {1000 * seconds / max(1, frames):.2f} ms a frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
