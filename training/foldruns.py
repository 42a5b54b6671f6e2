"""One fold of a cross-validation by the product's own stages: its clips, its trained model, what that says of a video.

fold = Fold(3, dataset, table, fold_of, work)
clips = fold.clips()                                     # a folder for training.finetune_mvd, linked, not copied
model = trained(knobs, clips, runs)                      # goes on where it stopped; done already: nothing to do
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import mousetal.mvd
from mousetal.dataset import Dataset, VideoEntry
from mousetal.types import Float64Array, VideoResult
from training import finetune_mvd, runlock
from training.clips import ARRAYS_NAME, TABLE_NAME, ClipTable, write_table
from training.evaluation.analysis import analyse_entry, computed_digest
from training.finetune_knobs import Knobs
from training.knobs import as_json


def fold_table(table: ClipTable, fold_of: Mapping[str, int], fold: int, folder: Path) -> ClipTable:
    """The clips as ``folder`` will hold them: those of the fold's sessions are to test on, all others to train on.

    Nothing is left to validate on: 250 clips are few, and the length of the run is settled beforehand.
    """
    return ClipTable(
        folder,
        table.classes,
        tuple(
            replace(
                clip,
                path=folder / clip.path.relative_to(table.folder),
                split="test" if fold_of[clip.session] == fold else "train",
            )
            for clip in table.clips
        ),
    )


def write_fold(table: ClipTable, fold_of: Mapping[str, int], fold: int, folder: Path) -> None:
    """A folder for `training.finetune_mvd`: a table of its own over links to the folders of clips."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted({clip.path.parent.name for clip in table.clips}):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to((table.folder / name).resolve())
    write_table(fold_table(table, fold_of, fold, folder))


@dataclass(frozen=True, slots=True)
class Model:
    """A fold's model folder, and where results of videos are kept beside it."""

    folder: Path
    results: Path


def trained(knobs: Knobs, clips: Path, runs: Path) -> Model:
    """The model that these settings make of these clips, trained now, further, or before. Raises MousetalError."""
    digest = hashlib.sha256(json.dumps(as_json(knobs)).encode())
    for name in (TABLE_NAME, ARRAYS_NAME):
        digest.update((clips / name).read_bytes())
    run = runs / f"{clips.name}-seed-{knobs.seed}-{digest.hexdigest()[:10]}"
    if not (run / "done").exists():
        with runlock.hold(run, rank=0, processes=1):
            finetune_mvd.finetune(knobs, clips, run)
            (run / "done").touch()
    return Model(run / "last", run / "results")


class Scorer:
    """What a model says of videos whose boxes the data set holds, through `mousetal.pipeline`; kept, not made twice."""

    def __init__(self, model: Model) -> None:
        self._classifier = mousetal.mvd.load(model.folder)
        precision = self._classifier.precision
        self._computed, self._results = computed_digest(model.folder, precision, precision), model.results

    def result(self, dataset: Dataset, entry: VideoEntry) -> VideoResult:
        """Of one video. Raises VideoError, RecordError."""
        return analyse_entry(dataset, entry, self._classifier, None, self._computed, self._results)


def probability(result: VideoResult, behavior: str) -> float:
    """The mean over the video's windows of their probability of ``behavior``; 0 where none was scored."""
    column = result.classifier.classes.index(behavior)
    scored: Float64Array = np.array([score.probabilities[column] for score in result.scores if score.is_scored])
    return float(scored.mean()) if len(scored) else 0.0
