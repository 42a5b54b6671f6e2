"""What a run of `training.preprocess` did: `preprocess.json` in the clips' folder, and the same for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from training.clipping import Loss
from training.clips import ClipTable
from training.splits import TEST, group_of

NAME = "preprocess.json"


@dataclass
class Report:
    """Filled while the run goes; videos are named by their paths in the data set."""

    boxes_found: list[str] = field(default_factory=list)
    boxes_kept: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    without_animal: int = 0
    notes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    loss: Loss = field(default_factory=Loss)

    def add_loss(self, loss: Loss) -> None:
        """Add what storing one video's clips cost."""
        self.loss.psnr += loss.psnr
        self.loss.bytes += loss.bytes
        self.loss.seconds += loss.seconds


def document(report: Report, table: ClipTable) -> dict[str, Any]:
    """`preprocess.json`."""
    loss = report.loss
    counts = {
        side: {name: sum(clip.behavior == name for clip in table.in_split(side)) for name in table.classes}
        for side in datasets.SPLITS
    }
    measured = {
        "psnr_db": round(float(np.mean(loss.psnr)), 2) if loss.psnr else None,
        "bytes_per_second": round(loss.bytes / loss.seconds) if loss.seconds else None,
    }
    return {**{k: v for k, v in asdict(report).items() if k != "loss"}, "clips": counts, "stored": measured}


def _troubles(report: Report) -> list[str]:
    lines = [f"failed {path}: {reason}" for path, reason in report.failed.items()]
    lines += [f"note: {note}" for note in report.notes]
    return lines + (
        [f"LEAK: {leak}" for leak in report.leaks] or ["no leak between train, validation and test was found"]
    )


def said_of_split(report: Report, dataset: Dataset) -> list[str]:
    """What went wrong or is odd, and how many videos and animals are on each side, in lines for people."""
    lines = _troubles(report)
    for side in datasets.SPLITS:
        mine = dataset.in_split(side)
        lines.append(f"{side}: {len(mine)} videos of {len({group_of(entry) for entry in mine})} animals or sessions")
    return lines


def said(report: Report, table: ClipTable) -> str:
    """The report for people."""
    told = document(report, table)
    lines = _troubles(report)
    lines += [f"{side}: " + ", ".join(f"{name} {n}" for name, n in counts.items()) + " clips"
              for side, counts in told["clips"].items() if side != TEST]  # fmt: skip
    lines.append(
        f"videos: {len(report.done)} cut, {len(report.reused)} reused, {len(report.removed)} removed, "
        f"{len(report.failed)} failed; boxes: {len(report.boxes_found)} found, {len(report.boxes_kept)} kept"
    )
    if report.without_animal:
        lines.append(f"{report.without_animal} clips left out: no animal was seen in them")
    if told["stored"]["psnr_db"] is not None:
        lines.append(
            f"stored at {told['stored']['psnr_db']} dB PSNR, "
            f"{told['stored']['bytes_per_second'] / 1e6:.2f} MB per second of clip"
        )
    return "\n".join(lines)
