"""The few counts that the demo prints: frames, and bouts by their starts, of the synthetic films' two behaviours.

Frame scores count the frames that were scored. A true bout is found when one of its class starts within the tolerance
of its start, one to one; a bout that is left over is false. A number that is undefined (no such bouts) is shown as NA.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mousetal import records
from mousetal.errors import RecordError
from mousetal.intervals import match
from mousetal.types import Bout, FrameRange, VideoResult
from training.evaluation.share import ratio
from training.synthetic import BEHAVIORS, TRUTH_SUFFIX, Truth, read_truth

TOLERANCE_S = 0.25
MIN_IOU = 0.5


@dataclass(frozen=True)
class Tally:
    """Counts for one class; they add up over videos. ``overlapping`` are true bouts met with IoU >= 0.5."""

    true_frames: int = 0
    found_frames: int = 0
    shared_frames: int = 0
    true_bouts: int = 0
    found_bouts: int = 0
    matched: int = 0
    overlapping: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def precision(self) -> float | None:
        return ratio(self.shared_frames, self.found_frames)

    @property
    def recall(self) -> float | None:
        return ratio(self.shared_frames, self.true_frames)

    @property
    def f1(self) -> float | None:
        return ratio(2 * self.shared_frames, self.true_frames + self.found_frames)

    @property
    def false_bouts(self) -> int:
        return self.found_bouts - self.matched


def tally(truth: Sequence[Truth], found: Sequence[Bout], is_scored: npt.NDArray[np.bool_], fps: Fraction,
          tolerance_s: float) -> dict[str, Tally]:  # fmt: skip
    """Counts per class for one video; ``is_scored`` is bool (num_frames,)."""
    tallies = {}
    for behavior in BEHAVIORS:
        true = sorted((t.start_frame, t.end_frame) for t in truth if t.behavior == behavior)
        seen = sorted((b.start_frame, b.end_frame) for b in found if b.behavior == behavior)
        true_mask, seen_mask = (_mask(ranges, len(is_scored)) & is_scored for ranges in (true, seen))
        tolerance = float(tolerance_s * fps)
        overlapping = match([FrameRange(*r) for r in seen], [FrameRange(*r) for r in true], MIN_IOU)
        tallies[behavior] = Tally(
            true_frames=int(true_mask.sum()),
            found_frames=int(seen_mask.sum()),
            shared_frames=int((true_mask & seen_mask).sum()),
            true_bouts=len(true),
            found_bouts=len(seen),
            matched=matched_within([start for start, _ in true], [start for start, _ in seen], tolerance),
            overlapping=len(overlapping),
        )
    return tallies


def _mask(ranges: Iterable[tuple[int, int]], num_frames: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(num_frames, np.bool_)
    for start, end in ranges:
        mask[start:end] = True
    return mask


def matched_within(true: Sequence[float], found: Sequence[float], tolerance: float) -> int:
    """The most pairs, one to one, that are at most ``tolerance`` apart; both sequences sorted."""
    i = j = pairs = 0
    while i < len(true) and j < len(found):
        if abs(true[i] - found[j]) <= tolerance:
            i, j, pairs = i + 1, j + 1, pairs + 1
        elif true[i] < found[j]:
            i += 1
        else:
            j += 1
    return pairs


def tally_results(output: Path, truth_folder: Path, tolerance_s: float) -> dict[str, Tally]:
    """Counts over all videos that have a truth file in ``truth_folder``, from the results in ``output``."""
    paths = sorted(truth_folder.rglob("*" + TRUTH_SUFFIX))
    if not paths:
        raise RecordError(f"{truth_folder}: no truth files (*{TRUTH_SUFFIX}) there")
    total = dict.fromkeys(BEHAVIORS, Tally())
    for path in paths:
        name, _, truth = read_truth(path)
        result = records.read_video(output, (path.parent / name).relative_to(truth_folder).as_posix())
        total = add(total, tally_video(result, truth, tolerance_s))
    return total


def tally_video(result: VideoResult, truth: Sequence[Truth], tolerance_s: float) -> dict[str, Tally]:
    """Counts for one analysed video."""
    is_scored = np.asarray(np.isfinite(result.posteriors).all(axis=1))
    return tally(truth, result.bouts, is_scored, result.info.fps, tolerance_s)


def add(a: dict[str, Tally], b: dict[str, Tally]) -> dict[str, Tally]:
    return {behavior: a[behavior] + b[behavior] for behavior in a}


def summary(tallies: dict[str, Tally]) -> str:
    """One line for one video."""
    return "  ".join(
        f"{b}: F1 {shown(t.f1)}, {t.matched}/{t.true_bouts} found, {t.false_bouts} false" for b, t in tallies.items()
    )


def table(tallies: dict[str, Tally], tolerance_s: float) -> str:
    """The result for people."""
    lines = [
        f"{'':18}|         frames          |              bouts",
        f"{'behavior':18}| precision  recall    F1 | true  found ±{tolerance_s:g} s  false  overlap >= {MIN_IOU:g}",
    ]
    for behavior, t in tallies.items():
        lines.append(
            f"{behavior:18}|{shown(t.precision):>10}{shown(t.recall):>8}{shown(t.f1):>6} |"
            f"{t.true_bouts:>5}{t.matched:>6} ({shown(ratio(t.matched, t.true_bouts))})"
            f"{t.false_bouts:>5} ({shown(ratio(t.false_bouts, t.found_bouts))}){t.overlapping:>6}"
        )
    return "\n".join(lines)


def shown(value: float | None) -> str:
    return "NA" if value is None else f"{value:.2f}"
