"""The demo job over real videos, and how well the demo detector finds real animals: ``make demo-real``.

    python -m training.demo_real --real ../shared/data/real --output output/demo-real

Joins the short clips of one cage and session to videos (their streams are copied, not encoded again), runs the driver
over them and the other videos, compares grooming with the labels of the clips, and prints the detector's AP50 on boxed
frames: on those of sessions that it was not trained on, and on all. The classifier has never seen real behaviour:
expect little of the bouts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import mousetal.detector
from mousetal.errors import MousetalError
from training.boxscores import average_precision
from training.evaluation.tally import TOLERANCE_S, table, tally_results
from training.pictures import Images
from training.real_boxes import load_real
from training.real_videos import gather

BOXED = ("rat_action_clips", "openfield_m3v1")


def print_average_precision(real: Path, models: Path) -> None:
    """AP50 of the demo detector per folder of boxed frames."""
    detector = mousetal.detector.load(models / "demo-detector")
    for name in BOXED:
        split = [
            load_real(real / "permissive" / name, detector.spec.input_size, held_out) for held_out in (True, False)
        ]
        scores = [
            f"{which} {average_precision(detector.network, images):.3f} ({len(images.images)} frames)"
            for which, images in (("held out", split[0]), ("all", Images.together(split)))
        ]
        print(f"AP50 {name:18}{'  '.join(scores)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, default=Path("../shared/data/real"), help="folder of real data")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of demo-detector and demo-mvd")
    parser.add_argument("--work", type=Path, default=Path("work/demo-real"), help="folder for the joined videos")
    parser.add_argument("--output", type=Path, default=Path("output/demo-real"), help="folder for the results")
    arguments = parser.parse_args()
    if not arguments.real.is_dir():
        print(f"{arguments.real}: no such folder. The real videos are no part of this repository.", file=sys.stderr)
        return 1
    gather(arguments.real, arguments.work)
    command = [
        sys.executable, "-m", "inference_script", "--input", arguments.work, "--output", arguments.output,
        "--detector-dir", arguments.models / "demo-detector", "--model-dir", arguments.models / "demo-mvd",
    ]  # fmt: skip
    driver = subprocess.run(command, check=False)
    try:
        print(table(tally_results(arguments.output, arguments.work, TOLERANCE_S), TOLERANCE_S))
        print_average_precision(arguments.real, arguments.models)
    except MousetalError as error:
        print(error, file=sys.stderr)
        return 1
    return driver.returncode


if __name__ == "__main__":
    sys.exit(main())
