"""Whether memory grows with the length of a video, or with its size and frame rate.

    python -m bench.memory --minutes 60
    python -m bench.memory --size 3840x2160 --film-seconds 2 --first 0.25 --minutes 1

The driver, with both services as its children, analyses a video of ``--first`` minutes and one of ``--minutes`` (the
same drawn film over and over, joined without decoding). Printed is, for each of the three processes, the resident
memory at the end of either and at its highest, in MiB. The long run may end at most ``--allowed`` MiB above the short
one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

from bench import process
from training.real_videos import join_clips
from training.synthetic import Film

SAMPLE_EVERY_S = 0.5


def write_film(path: Path, seconds: float, size: tuple[int, int], fps: int) -> None:
    """One drawn film in which every frame follows the one before, so that copies can be joined."""
    film = Film(1, seconds, size=size, fps=fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=film.fps, options={"bf": "0", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, "yuv420p"
        for number in range(film.num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(film.frame(number)[0], format="rgb24")))
        container.mux(stream.encode())


def sampled(path: Path, output: Path, options: list[str]) -> dict[str, list[float]]:
    """Resident memory of the three processes over a run, by name; the start, while models load, is left out."""
    command = [sys.executable, "-m", "inference_script", "--input", str(path), "--output", str(output), *options]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples: dict[str, list[float]] = {"driver": [], "detector": [], "mvd": []}
    started = time.monotonic()
    while driver.poll() is None:
        for name, used in process.usages("driver", driver.pid).items():
            if used.resident_mib > 1:  # else it is ending
                samples[name].append(used.resident_mib)
        time.sleep(SAMPLE_EVERY_S)
    if driver.returncode != 0:
        raise SystemExit(f"the driver ended with {driver.returncode}; see {output}")
    print(f"  {time.monotonic() - started:.0f} s", file=sys.stderr)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the long video (default 60)")
    parser.add_argument("--first", type=float, default=1.0, help="minutes of the short one (default 1)")
    parser.add_argument("--size", default="320x240", help="pixels of the video (default 320x240)")
    parser.add_argument("--fps", type=int, default=30, help="frames per second (default 30)")
    parser.add_argument("--film-seconds", type=float, default=20.0, help="of the film that is repeated (default 20)")
    parser.add_argument("--allowed", type=float, default=50.0, help="MiB")
    parser.add_argument("options", nargs="*", help="further options for the driver, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        width, height = map(int, arguments.size.split("x"))
        write_film(film, arguments.film_seconds, (width, height), arguments.fps)
        ends = {}
        for minutes in (arguments.first, arguments.minutes):
            path = Path(folder) / f"{minutes:g}-minutes.mp4"
            join_clips([film] * round(minutes * 60 / arguments.film_seconds), path)
            print(f"{minutes:g} minutes of video", file=sys.stderr)
            samples = sampled(path, Path(folder) / f"output-{minutes:g}", arguments.options)
            ends[minutes] = samples
        first, last = (f"{minutes:g} min: end" for minutes in ends)
        print(f"{'process':10} {first:>13} {'peak':>7} {last:>13} {'peak':>7} {'more':>7}")
        worst = 0.0
        for name in ends[arguments.first]:
            short, long = ends[arguments.first][name], ends[arguments.minutes][name]
            more = long[-2] - short[-2]  # the last one may be of a process that is ending
            worst = max(worst, more)
            print(f"{name:10} {short[-2]:13.0f} {max(short):7.0f} {long[-2]:13.0f} {max(long):7.0f} {more:+7.0f}")
    is_kept = worst <= arguments.allowed
    print(f"within {arguments.allowed:g} MiB: {'yes' if is_kept else 'NO'}")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
