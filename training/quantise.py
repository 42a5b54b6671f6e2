"""The networks in int8, calibrated on videos, for CPUs: faster with PRECISION=int8.

    python -m training.quantise --videos recordings --detector-dir models/mine-detector --model-dir models/mine-mvd

Puts a folder ``int8`` into each model folder, beside weights that stay what they are (`mousetal.int8`). A quarter of
the videos, one at least, has no part in the calibration: on pictures and clips from these an int8 graph has to say what
the network says in float32, within --logits and --boxes and with the same class on 99.5 %, or it is not kept. Some are
stored for the same check at every start of a service. Ends with 1 when a network was refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import mousetal.detector
import mousetal.mvd
from mousetal import video
from mousetal.acceptance import Tolerances
from mousetal.errors import SettingsError, VideoError
from mousetal.types import VideoInfo
from mousetal.videofiles import find_files
from training import calibration, quantising
from training.exitcodes import FAILED, OK, USAGE, guarded

NETWORKS = ("detector", "mvd")
COUNT = 160  # pictures and clips to calibrate on; with three times as many the demo models came out no better
HELD_OUT = 48
# A score may move by more than in bf16: where the box lies is what the crop depends on.
DETECTOR_ALLOWED = Tolerances(logits=1.0, boxes=0.01)
MVD_ALLOWED = Tolerances(logits=1.0)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.quantise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--videos", type=Path, required=True, nargs="+", help="two video files at least, or folders of them")
    add("--detector-dir", type=Path, required=True, help="the detector's model folder")
    add("--model-dir", type=Path, required=True, help="the action model's folder")
    add("--only", choices=NETWORKS, help="this network alone (default: both)")
    add("--count", type=int, default=COUNT, help=f"pictures and clips to calibrate on (default {COUNT})")
    add("--logits", type=float, help=f"largest difference of a logit (default {DETECTOR_ALLOWED.logits:g})")
    add("--boxes", type=float, help=f"... of a box, in shares of the image (default {DETECTOR_ALLOWED.boxes:g})")
    given = parser.parse_args(argv)
    return guarded(lambda: quantise(given))


def quantise(given: argparse.Namespace) -> int:
    if given.count < quantising.LEAST:
        print(f"error: --count: at least {quantising.LEAST} expected, got {given.count}.", file=sys.stderr)
        return USAGE
    used, held_out = share_out(find_videos(given.videos))
    detector = mousetal.detector.load(given.detector_dir, backend="auto")
    classifier = mousetal.mvd.load(given.model_dir, backend="auto")
    print(f"{given.count} pictures and clips from {len(used)} videos, {HELD_OUT} from {len(held_out)} others")
    inputs = calibration.gather(used, detector, classifier, given.count)
    checks = calibration.gather(held_out, detector, classifier, HELD_OUT)
    is_good = True
    if given.only != "mvd":
        part = quantising.detector_part(given.detector_dir, _allowed(DETECTOR_ALLOWED, given))
        is_good &= quantising.make(part, inputs.images, checks.images)
    if given.only != "detector":
        part = quantising.mvd_part(given.model_dir, _allowed(MVD_ALLOWED, given))
        is_good &= quantising.make(part, inputs.clips, checks.clips)
    return OK if is_good else FAILED


def find_videos(paths: Iterable[Path]) -> list[VideoInfo]:
    """All videos among files and in folders, in order. One that cannot be read is named and left out.

    Raises SettingsError when fewer than two are left.
    """
    found = []
    for path in paths:
        for file in find_files(path, lambda folder: False, _tell) if path.is_dir() else [path]:
            try:
                if file is path or video.is_video(file):
                    found.append(video.probe(file))
            except VideoError as error:
                _tell(error)
    if len(found) < 2:
        raise SettingsError(
            f"--videos: two videos at least expected, one to calibrate on and one to check on; found {len(found)} in "
            f"{', '.join(map(str, paths))}. Give more, of the kind that will be analysed."
        )
    return found


def _tell(error: Exception) -> None:
    print(f"left out: {error}", file=sys.stderr)


def share_out(videos: Sequence[VideoInfo]) -> tuple[list[VideoInfo], list[VideoInfo]]:
    """Those to calibrate on and every fourth, or the last one, to check on."""
    held_out = list(videos[3::4]) or [videos[-1]]
    return [one for one in videos if one not in held_out], held_out


def _allowed(default: Tolerances, given: argparse.Namespace) -> Tolerances:
    asked = {name: value for name in ("logits", "boxes") if (value := getattr(given, name)) is not None}
    return replace(default, **asked)


if __name__ == "__main__":
    sys.exit(main())
