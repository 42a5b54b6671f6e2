"""The videos that are measured: drawn, so that they can be made anywhere, and the same for the same size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.synthetic import TRUTH_SUFFIX, Film, write_video

SEED = 30_900  # of the films kept for measuring; nothing is trained on it


@dataclass(frozen=True, slots=True)
class FilmSize:
    """A film of ``seconds``, ``width`` x ``height`` pixels and ``fps`` whole frames per second."""

    seconds: float
    width: int = 640
    height: int = 480
    fps: int = 30

    def __str__(self) -> str:
        return f"{self.seconds:g} s of {self.width}x{self.height} at {self.fps} fps"


def write(size: FilmSize, folder: Path) -> Path:
    """The film in ``folder``, drawn unless it is there."""
    path = folder / f"film-{size.width}x{size.height}-{size.fps}-{size.seconds:g}s.mp4"
    if not path.with_suffix(TRUTH_SUFFIX).is_file():  # the truth is written last
        folder.mkdir(parents=True, exist_ok=True)
        film = Film(SEED, size.seconds, size=(size.width, size.height), fps=size.fps, cage="home cage", fur="black")
        write_video(film, path)
    return path
