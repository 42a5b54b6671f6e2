"""What a lab would bring, drawn: a folder of videos by animal, and a workbook of scored bouts.

    python -m training.demo_data --out work/train-demo --animals 8 --films 2 --seconds 20

    work/train-demo/videos/mouse-01/day-1.mp4 ...     (and day-1.truth.json, which the stages never read)
    work/train-demo/scores.xlsx                       one row for every START and STOP, times as mm:ss

The workbook is in one of the shapes in which people score: two rows per bout, minutes and seconds as text. One animal
keeps its fur over its films.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import openpyxl

from mousetal import video
from mousetal.seconds import seconds_at
from training.synthetic import TRUTH_SUFFIX, Film, read_truth, write_videos
from training.synthetic.mouse import FURS

SEED = 40_000  # films from here on are training's; 30000 to 30999 are kept for measuring
COLUMNS = ("Video", "Animal", "Behaviour", "Event", "Time")
GROUPS = ("saline", "drug")


def film_of(animal: int, day: int, seed: int, seconds: float) -> Film:
    """Film ``day`` of an animal, both counted from 0."""
    fur = list(FURS)[animal % len(FURS)]
    return Film(seed + 100 * animal + day, seconds, fur=fur)


def mm_ss(seconds: float) -> str:
    """Minutes and seconds as people write them: 75.2 -> "01:15.200"."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 60_000:02}:{milliseconds % 60_000 / 1000:06.3f}"


def score(path: Path) -> list[tuple[float, str, str]]:
    """(seconds, behaviour, START or STOP) of every true bout in a rendered video, by its own time stamps, in order."""
    info = video.probe(path)
    events = []
    for bout in read_truth(path.with_suffix(TRUTH_SUFFIX))[2]:
        events.append((seconds_at(info, bout.start_frame), bout.behavior, "START"))
        events.append((seconds_at(info, bout.end_frame), bout.behavior, "STOP"))
    return sorted(events)


def write_workbook(videos: list[tuple[Path, str, str]], folder: Path, path: Path) -> None:
    """One sheet, two rows per bout. ``videos`` are (file, animal, group); names are relative to ``folder``."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None  # a new workbook has one
    sheet.title = "Scores"
    sheet.append([*COLUMNS, "Group"])
    for file, animal, group in videos:
        for seconds, behavior, event in score(file):
            sheet.append([file.relative_to(folder).as_posix(), animal, behavior, event, mm_ss(seconds), group])
    book.save(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for videos and workbook")
    parser.add_argument("--animals", type=int, default=8, help="how many animals")
    parser.add_argument("--films", type=int, default=2, help="films of each animal")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a film")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the first film")
    arguments = parser.parse_args()
    folder = arguments.out / "videos"
    made, films = [], []
    for animal in range(arguments.animals):
        name = f"mouse-{animal + 1:02}"
        for day in range(arguments.films):
            path = folder / name / f"day-{day + 1}.mp4"
            made.append((path, name, GROUPS[animal % len(GROUPS)]))
            films.append((partial(film_of, animal, day, arguments.seed, arguments.seconds), path))
    write_videos(films)
    write_workbook(made, folder, arguments.out / "scores.xlsx")
    return 0


if __name__ == "__main__":
    sys.exit(main())
