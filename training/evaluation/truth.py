"""What people say happens in the videos of a data set or of a folder of synthetic films, rater by rater."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mousetal import dataset as datasets
from mousetal.dataset import SPLITS, Dataset, VideoEntry
from mousetal.errors import RecordError
from mousetal.types import FrameRange, Label
from training.synthetic import BEHAVIORS, TRUTH_SUFFIX, read_truth

ALL = "all"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A video of a data set and its labels by who made them ("" where that is not known)."""

    entry: VideoEntry
    behaviors: tuple[str, ...]
    by_rater: Mapping[str, tuple[Label, ...]]

    @property
    def subject(self) -> str:
        """The animal; the video itself where that is not known, which then counts as one of its own."""
        return self.entry.subject or self.entry.path


def read(dataset: Dataset, split: str) -> tuple[Labelled, ...]:
    """The videos of a split ("all": of all) of which someone looked at some frames. Raises RecordError without any."""
    entries = _entries(dataset, split)
    if not entries:
        sizes = ", ".join(f"{name} {len(dataset.in_split(name))}" for name in SPLITS)
        raise RecordError(
            f"{dataset.root}: no video in split {split!r} (there are: {sizes}). "
            "Split the data set with training.preprocess, or give --split all."
        )
    seen = [entry for entry in entries if entry.scored_ranges]
    if not seen:
        raise RecordError(f"{dataset.root}: nobody has looked at any of the {len(entries)} videos in split {split!r}.")
    return tuple(_labelled(dataset, entry) for entry in seen)


def unseen(dataset: Dataset, split: str) -> int:
    """How many videos of a split nobody has looked at: they say nothing, not that nothing happens."""
    return sum(not entry.scored_ranges for entry in _entries(dataset, split))


def leading(videos: Sequence[Labelled]) -> tuple[str, ...]:
    """All raters, who labelled most videos first: the first that labelled a video has the say there."""
    counts = Counter(rater for video in videos for rater in video.by_rater)
    return tuple(sorted(counts, key=lambda rater: (-counts[rater], rater)))


def chosen(video: Labelled, raters: Sequence[str]) -> tuple[Label, ...]:
    """The labels of the first of ``raters`` who labelled the video; none where nobody saw anything in it."""
    return next((video.by_rater[rater] for rater in raters if rater in video.by_rater), ())


def synthetic(folder: Path) -> list[tuple[str, tuple[Label, ...]]]:
    """Videos (paths below ``folder``) with truth files beside them, and their labels. Raises RecordError."""
    paths = sorted(folder.rglob("*" + TRUTH_SUFFIX))
    if not paths:
        raise RecordError(f"{folder}: no truth files (*{TRUTH_SUFFIX}) there")
    found = []
    for path in paths:
        name, _, truth = read_truth(path)
        labels = tuple(Label(one.behavior, FrameRange(one.start_frame, one.end_frame)) for one in truth)
        found.append(((path.parent / name).relative_to(folder).as_posix(), labels))
    return found


def synthetic_behaviors() -> tuple[str, ...]:
    """What there is to see in synthetic films."""
    return tuple(BEHAVIORS)


def _entries(dataset: Dataset, split: str) -> tuple[VideoEntry, ...]:
    return dataset.videos if split == ALL else dataset.in_split(split)


def _labelled(dataset: Dataset, entry: VideoEntry) -> Labelled:
    by_rater: dict[str, list[Label]] = {}
    for label in datasets.read_labels(dataset, entry):
        by_rater.setdefault(label.rater, []).append(label)
    behaviors = dataset.behaviors if entry.behaviors is None else entry.behaviors
    return Labelled(entry, behaviors, {rater: tuple(labels) for rater, labels in by_rater.items()})
