"""Writes the three films that ship in ``videos/``, with their truth: ``python -m training.demo_videos``.

Their seeds are used for nothing else; sizes, frame rates, cages and furs differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training.synthetic import Film, write_video


def demo_films() -> dict[str, Film]:
    """The films by the stem of their files."""
    return {
        "demo-1": Film(90_002, 24, size=(640, 480), fps=30, cage="home cage", fur="black"),
        "demo-2": Film(90_017, 24, size=(480, 360), fps=25, cage="bowl", fur="white"),
        "demo-3": Film(90_021, 20, size=(416, 416), fps=60, cage="box", fur="agouti"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("videos"), help="folder to write to")
    folder = parser.parse_args().out
    for stem, film in demo_films().items():
        write_video(film, folder / f"{stem}.mp4")


if __name__ == "__main__":
    main()
