"""What an import does to the labels that a data set has already, told before it is done.

A label is known to be an earlier import's by the name of the file it was read from. So a corrected table replaces what
it said before; and so does another table of the same name, which a person has to see coming.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.types import Label
from training.importing.plan import UNNAMED, Plan, PlannedVideo
from training.importing.rows import Trouble


def source_of(label: Label, names: Iterable[str]) -> str:
    """The one of the files' ``names`` that a label was read from, "" for none of them."""
    return next((name for name in names if label.origin.startswith(f"{name}!")), "")


def same_names(sources: Sequence[Path]) -> list[Trouble]:
    """Files of labels that share a name: where a label was read would not be known for sure."""
    names = Counter(path.name for path in sources)
    why = (
        "several files are called so: no label would tell which it is from, and each replaces the others'; rename them"
    )
    return [Trouble("files of one name", name, why, is_loss=False) for name, times in names.items() if times > 1]


def tell(plan: Plan, dataset: Dataset, sources: Sequence[Path]) -> None:
    """Add to the plan's troubles which labels of the data set would go, and which stay unexpectedly.

    A video that has been looked at is no longer one without labels because this import's files do not name it.
    """
    known = {entry.sha256: entry for entry in dataset.videos}
    read_now = {path.name for path in sources}
    scored = set()
    for planned in plan.videos:
        entry = known.get(planned.found.sha256)
        if entry is None:
            continue
        before = datasets.read_labels(dataset, entry)
        if entry.scored != ():
            scored.add(planned.found.name)
        plan.troubles += _going(planned, before)
        plan.troubles += _staying(planned, before, read_now)
    plan.troubles = [one for one in plan.troubles if one.kind != UNNAMED or one.origin not in scored]


def _going(planned: PlannedVideo, before: Sequence[Label]) -> list[Trouble]:
    now = {(label.behavior, label.frames, label.rater) for label in planned.labels}
    return [
        Trouble(
            "label that goes",
            label.origin,
            f"{label.behavior} of {planned.found.name}, frames {label.frames.start_frame} to {label.frames.end_frame}: "
            f"was read from a file called {source_of(label, planned.sources)} before and is not in it now",
            is_loss=False,
        )
        for label in before
        if source_of(label, planned.sources) and (label.behavior, label.frames, label.rater) not in now
    ]


def _staying(planned: PlannedVideo, before: Sequence[Label], read_now: set[str]) -> list[Trouble]:
    left = Counter(source for label in before if (source := source_of(label, read_now - planned.sources)))
    return [
        Trouble(
            "labels that stay",
            planned.found.name,
            f"{count} bout{'s'[: count != 1]} read from {source} before, which does not name this video now; a row "
            "with the video's name alone takes them away",
            is_loss=False,
        )
        for source, count in left.items()
    ]
