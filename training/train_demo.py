"""The whole way from a lab's videos and spreadsheet to models in use, on drawn films: ``make train-demo``.

    python -m training.train_demo --size toy --work work/train-demo        # minutes; shows the way, not good models
    python -m training.train_demo --size full --work work/train-full       # hours on a CPU; what models/ ships

Every stage is the command that a lab would type; it is printed before it runs. Stopped at any moment, the same command
goes on. At the end the new models analyse films that none of the stages has seen.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mousetal import atomic
from mousetal.errors import ServiceError, SettingsError
from training import coco, exitcodes

CONFIGS = Path(__file__).parent / "configs" / "train-demo"
MAPPING = "mapping.toml"
SIZE_NAME = "size.txt"
AUTOLABEL = "training.autolabel"
REAL_SHARES = (0.75, 0.25)  # of drawn and real frames in what the detector learns from; by number it were 16 to 1
DEMO_SEED = 60_000  # films for the last stage
Stage = tuple[str, list[str | Path]]  # a heading and the command's words after ``python -m``


@dataclass(frozen=True)
class Size:
    """How much is drawn, and which configurations are used."""

    name: str
    animals: int
    films: int
    seconds: float
    real: tuple[Path, ...] = ()  # folders of boxed real frames, learned from by the detector where they are present


REAL = Path("../shared/data/real/permissive")
SIZES = {
    "toy": Size("toy", 8, 1, 12.0),
    "full": Size("full", 56, 8, 20.0, (REAL / "rat_action_clips", REAL / "openfield_m3v1")),
}


def stages(size: Size, work: Path, models: Path) -> list[Stage]:
    """What is run, in order."""
    lab, dataset, clips = work / "lab", work / "dataset", work / "clips"
    detector, classifier = models / f"{size.name}-detector", work / "mvd" / "best"
    config = CONFIGS / size.name
    real = [folder for folder in size.real if folder.exists()]
    boxes = [work / "boxes", work / "real"] if real else [work / "boxes"]
    shares = ["--shares", *map(str, REAL_SHARES)] if real else []
    checked: Stage = ("Boxes that people have checked", ["training.real_boxes", *real, "--out", work / "real"])
    drawn = ["--animals", str(size.animals), "--films", str(size.films), "--seconds", str(size.seconds)]
    return [
        ("What a lab brings: videos and a workbook", ["training.demo_data", "--out", lab, *drawn]),
        (
            "Guess which column of the workbook means what",
            ["training.import_videos", "--videos", lab / "videos", "--labels", lab / "scores.xlsx", "--guess",
             work / MAPPING],
        ),
        (
            "Import videos and scores",
            ["training.import_videos", "--videos", lab / "videos", "--labels", lab / "scores.xlsx", "--mapping",
             work / MAPPING, "--dataset", dataset, "--name", "films", "--storage", "reference", "--write"],
        ),
        (
            "Which animals are for training, validation and test",
            ["training.preprocess", "--dataset", dataset, "--split-only", "--config", f"{config}-preprocess.toml"],
        ),
        (
            "Boxes without a labeller",
            [AUTOLABEL, "--dataset", dataset, "--out", work / "boxes"],
        ),
        *([checked] if real else []),
        (
            "Train the detector",
            ["training.train_detector", "--config", f"{config}-detector.toml", "--data", *boxes, *shares, "--out",
             work / "detector", "--cache", work / "pictures", "--export", detector],
        ),
        (
            "Boxes, split, clips",
            ["training.preprocess", "--dataset", dataset, "--clips", clips, "--detector", detector, "--config",
             f"{config}-preprocess.toml"],
        ),
        (
            "Train the action model",
            ["training.finetune_mvd", "--config", f"{config}-mvd.toml", "--clips", clips, "--out", work / "mvd"],
        ),
        (
            "Choose bout rules on validation videos",
            # With the boxes that the driver will have: it looks at fewer frames than those that are stored.
            ["training.evaluate", "--dataset", dataset, "--tune", "--model-dir", classifier, "--detector-dir", detector,
             "--out", work / "validation"],
        ),
        (
            "Evaluate on test videos",
            ["training.evaluate", "--dataset", dataset, "--split", "test", "--model-dir", classifier, "--detector-dir",
             detector, "--out", work / "evaluation"],
        ),
        (
            "New videos come in",
            ["training.demo_data", "--out", work / "new", "--animals", "2", "--films", "1", "--seconds", "12", "--seed",
             str(DEMO_SEED)],
        ),
        (
            "The new models at work",
            ["inference_script", "--input", work / "new" / "videos", "--output", work / "output", "--model-dir",
             classifier, "--detector-dir", detector, "--device", "cpu"],
        ),
        (
            "... compared with the truth",
            ["training.evaluate", "--predictions", work / "output", "--truth", work / "new" / "videos"],
        ),
    ]  # fmt: skip


def claim(size: Size, work: Path) -> None:
    """Note in ``work`` how much is drawn: films and boxes that are there already are taken as they are.

    Raises SettingsError where a walk of another size was begun.
    """
    mark = work / SIZE_NAME
    drawn = f"{size.animals} animals, {size.films} films of {size.seconds:g} s of each"
    begun = mark.read_text("utf-8").strip() if mark.exists() else drawn
    if begun != drawn:
        raise SettingsError(f"{work}: here a walk with {begun} was begun, this one has {drawn}. Give another --work.")
    atomic.write_text(mark, drawn + "\n")


def run(size: Size, work: Path, models: Path) -> int:
    """Run all stages; raises ServiceError naming the one that failed, SettingsError in a walk of another size."""
    claim(size, work)
    begun, boxes = time.monotonic(), work / "boxes" / coco.BOXES_NAME
    for heading, words in stages(size, work, models):
        if "--guess" in words and (work / MAPPING).exists():
            continue  # guessed already; a person may have edited it
        if words[0] == AUTOLABEL and boxes.exists():
            continue  # written last, of films that stay as they are
        command = [sys.executable, "-m", *map(str, words)]
        print(
            f"\n=== {heading} ({time.monotonic() - begun:.0f} s)\npython -m {shlex.join(map(str, words))}", flush=True
        )
        done = subprocess.run(command, check=False)
        if words[0] == AUTOLABEL and done.returncode == exitcodes.FAILED and boxes.exists():
            print("Some videos were left out, see above. The rest are enough to learn from.")
        elif done.returncode != 0:
            raise ServiceError(
                f"{heading!r} ended with exit code {done.returncode}. Mend it and start again; the rest is kept."
            )
    print(f"\n=== done ({time.monotonic() - begun:.0f} s)")
    print(f"Open {work / 'evaluation' / 'evaluation.html'} and {work / 'output' / 'report.html'}.")
    return exitcodes.OK


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="toy")
    parser.add_argument("--work", type=Path, default=Path("work/train-demo"), help="data set, clips, runs, results")
    parser.add_argument("--models", type=Path, help="where the two model folders go (default: in the work folder)")
    given = parser.parse_args(arguments)
    models = given.models or given.work / "models"
    return exitcodes.guarded(lambda: run(SIZES[given.size], given.work, models))


if __name__ == "__main__":
    sys.exit(main())
