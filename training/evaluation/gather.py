"""Puts truth and findings together: a model on a data set, a driver's results on films, people beside each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mousetal import records
from mousetal.dataset import BACKGROUND, Dataset, VideoEntry
from mousetal.errors import RecordError, VideoError
from mousetal.formats import supervisely
from mousetal.intervals import frame_edges
from mousetal.types import FrameBox, Int64Array, Label, VideoResult
from mousetal.video import probe
from training.evaluation import detector, raters, ratertable, truth
from training.evaluation.boutfile import BoutFile
from training.evaluation.comparison import Comparison, of_labels, of_result, scored_mask, with_bouts
from training.evaluation.document import Evaluated
from training.evaluation.ratertable import RaterTable
from training.evaluation.share import Number
from training.evaluation.truth import Labelled

STORED = "stored boxes"
DRAWN = "frames of these videos on which a person drew the box"
MOST_NOTES = 10  # about a table of labels
ResultOf = Callable[[VideoEntry], VideoResult]
Compared = Callable[[Labelled, Sequence[Label]], Comparison]
Item = TypeVar("Item")


def of_dataset(
    dataset: Dataset, split: str, result_of: ResultOf, facts: dict[str, Any], rater: str | None = None
) -> Evaluated:
    """A model beside the people who labelled a split. A video that cannot be had is skipped, and says why."""
    videos = truth.read(dataset, split)
    results, skipped = _each(dataset, videos, result_of)

    def compared(video: Labelled, labels: Sequence[Label]) -> Comparison:
        result = results[video.entry.path]
        return of_result(result, labels, video.behaviors, video.subject, video.entry.scored)

    evaluated = _beside_people(dataset, split, [video for video in videos if video.entry.path in results], compared,
                               facts, rater)  # fmt: skip
    quality = _detector_quality(dataset, [video for video in videos if video.entry.path in results], results)
    return replace(evaluated, skipped=skipped, detector=quality)


def of_bouts(
    dataset: Dataset, split: str, found: BoutFile, facts: dict[str, Any], rater: str | None = None
) -> Evaluated:
    """Bouts of a file, whatever found them, beside the people who labelled a split."""
    videos = truth.read(dataset, split)
    infos, skipped = _each(dataset, videos, lambda entry: probe(dataset.video_path(entry)))

    def compared(video: Labelled, labels: Sequence[Label]) -> Comparison:
        info = infos[video.entry.path]
        edges = frame_edges(info.pts_seconds)
        one = of_labels(video.entry.path, video.subject, edges, video.behaviors, labels, (), video.entry.scored)
        return with_bouts(one, found.bouts(video.entry.path, info))

    done = [video for video in videos if video.entry.path in infos]
    evaluated = _beside_people(dataset, split, done, compared, facts, rater)
    notes = [*evaluated.notes, *_first_of(found.notes, "")]
    unnamed = [video.entry.path for video in done if video.entry.path not in found.rows]
    if unnamed:
        notes.append(f"The file does not name {len(unnamed)} of {len(done)} videos, {unnamed[0]} for one: in these "
                     "nothing counts as found.")  # fmt: skip
    looked_for = {name for video in done for name in video.behaviors}
    notes += [
        f"Nobody looked for {name} in these videos: the {count} bouts in the file are not judged."
        for name, count in found.behaviors().items()
        if name not in looked_for
    ]
    return replace(evaluated, skipped=skipped, notes=notes)


def of_films(output: Path, folder: Path, facts: dict[str, Any]) -> Evaluated:
    """A driver's results beside the truth files of synthetic films; every film is an animal of its own."""
    behaviors = truth.synthetic_behaviors()
    films = truth.synthetic(folder)
    results = [records.read_video(output, video) for video, _ in films]
    comparisons = [of_result(result, labels, behaviors) for result, (_, labels) in zip(results, films, strict=True)]
    return Evaluated(comparisons, BACKGROUND, facts, detector=detector.quality(results, [()] * len(results)))


def of_raters(table: RaterTable, behaviors: Sequence[str], facts: dict[str, Any]) -> Evaluated:
    """People beside each other. The page's main part shows the first pair; all pairs are in the part on people."""
    names = table.raters
    if len(names) < 2:
        raise RecordError(f"labels of two people at least are needed, there are those of {', '.join(names)}.")
    pairs = {f"{a} · {b}": ratertable.compare(table, a, b, behaviors) for a, b in combinations(names, 2)}
    pairs = {name: videos for name, videos in pairs.items() if videos}
    if not pairs:
        raise RecordError("no video was labelled by two people.")
    first = next(iter(pairs))
    notes = [f"There is no model here: two people are compared, and of {first} the first is called the truth."]
    if table.unusable:
        notes.append(f"{len(table.unusable)} rows could not be used. The first: {table.unusable[0]}.")
    notes += _first_of(table.notes, "; training.import_videos --all lists every one")
    return Evaluated(pairs[first], BACKGROUND, facts, humans=pairs, notes=notes, has_model=False,
                     alpha={name: ratertable.alpha(table, name) for name in behaviors})  # fmt: skip


def data_digest(dataset: Dataset, split: str) -> str:
    """Digest of the videos and labels of a split."""
    digest = hashlib.sha256()
    for video in truth.read(dataset, split):
        entry = video.entry
        digest.update(repr((entry.path, entry.sha256, entry.scored, video.behaviors, video.by_rater)).encode())
    return digest.hexdigest()


def _each(
    dataset: Dataset, videos: Sequence[Labelled], of: Callable[[VideoEntry], Item]
) -> tuple[dict[str, Item], dict[str, str]]:
    """Something of each video by its path, and of those that cannot be had why not; raises RecordError if none can."""
    items: dict[str, Item] = {}
    skipped: dict[str, str] = {}
    for video in videos:
        try:
            items[video.entry.path] = of(video.entry)
        except (VideoError, RecordError) as error:
            skipped[video.entry.path] = str(error)
    if not items:
        reason = next(iter(skipped.values()))
        raise RecordError(f"{dataset.root}: none of {len(videos)} videos could be evaluated. The first: {reason}")
    return items, skipped


def _beside_people(
    dataset: Dataset,
    split: str,
    videos: Sequence[Labelled],
    compared: Compared,
    facts: dict[str, Any],
    rater: str | None,
) -> Evaluated:
    """What was found beside the truth, and beside each of several people."""
    every = truth.leading(videos)
    if rater is not None and rater not in every:
        raise RecordError(f"{dataset.root}: nobody called {rater!r} labelled these videos. Labels are by {every}.")
    order = every if rater is None else (rater, *(one for one in every if one != rater))
    humans, by_rater = _between_people(videos, compared)
    return Evaluated(
        comparisons=[compared(video, truth.chosen(video, order)) for video in videos],
        background=dataset.background,
        facts=facts,
        humans=humans,
        model_raters=by_rater,
        alpha=_alpha(videos),
        notes=_notes(dataset, videos, order, split),
    )


def _between_people(
    videos: Sequence[Labelled], compared: Compared
) -> tuple[dict[str, list[Comparison]], dict[str, list[Comparison]]]:
    """Pairs of people, and what was found beside each of them, on the videos that two at least labelled."""
    humans: dict[str, list[Comparison]] = {}
    by_rater: dict[str, list[Comparison]] = {}
    for video in (one for one in videos if len(one.by_rater) > 1):
        for rater, labels in sorted(video.by_rater.items()):
            by_rater.setdefault(rater, []).append(compared(video, labels))
        edges = by_rater[min(video.by_rater)][-1].edges_seconds
        for a, b in combinations(sorted(video.by_rater), 2):
            pair = of_labels(video.entry.path, video.subject, edges, video.behaviors, video.by_rater[a],
                             video.by_rater[b], video.entry.scored)  # fmt: skip
            humans.setdefault(f"{a} · {b}", []).append(pair)
    return humans, by_rater


def _alpha(videos: Sequence[Labelled]) -> dict[str, Number]:
    """Krippendorff's alpha per behaviour that two people at least looked for, on the videos that they labelled."""
    several = [video for video in videos if len(video.by_rater) > 1]
    people = sorted({rater for video in several for rater in video.by_rater})
    parts: dict[str, list[Int64Array]] = {}
    for video in several:
        is_scored = scored_mask(video.entry.scored, video.entry.num_frames)
        for name in video.behaviors:
            parts.setdefault(name, []).append(raters.ratings(video.by_rater, people, name, is_scored))
    return {name: raters.krippendorff_alpha(np.concatenate(some, axis=1)) for name, some in parts.items()}


def _detector_quality(
    dataset: Dataset, videos: Sequence[Labelled], results: dict[str, VideoResult]
) -> detector.Quality:
    """Of stored boxes there is no average precision: what people drew may be among them."""
    found = [results[video.entry.path] for video in videos]
    drawn = [
        [] if result.detector.name == STORED else _drawn_boxes(dataset, video.entry)
        for video, result in zip(videos, found, strict=True)
    ]
    return detector.quality(found, drawn, DRAWN)


def _drawn_boxes(dataset: Dataset, entry: VideoEntry) -> list[FrameBox]:
    """What people drew, the first rectangle of each frame.

    None of a video whose boxes a program found (``boxes_by``): rectangles may come from there, by way of an export.
    """
    path = dataset.annotation_path(entry)
    if entry.boxes_by or not path.exists():
        return []
    figures = supervisely.read_annotation(path).figures
    first = {figure.frame_index: figure.box_xyxy for figure in reversed(figures)}
    return [
        FrameBox(frame, (float(x1), float(y1), float(x2), float(y2)), 1.0, "detected")
        for frame, (x1, y1, x2, y2) in sorted(first.items())
    ]


def _first_of(notes: Sequence[str], more: str) -> list[str]:
    """As many as one reads."""
    left = len(notes) - MOST_NOTES
    return [*notes[:MOST_NOTES], *([f"{left} more such notes{more}."] if left > 0 else [])]


def _notes(dataset: Dataset, videos: Sequence[Labelled], people: Sequence[str], split: str) -> list[str]:
    notes = []
    if idle := truth.unseen(dataset, split):
        notes.append(f"Left out, since nobody has looked at any of their frames: {idle} of the split's videos.")
    if split != "test":
        notes.append(
            f"These are videos of the split {split!r}. A model looks better on videos that it was trained or tuned on "
            "than on others: for honest numbers use the test videos."
        )
    if len(people) > 1:
        notes.append(f"Several people labelled these videos; the truth is what {people[0]} says, where there is such.")
    unknown = sum(not video.entry.subject for video in videos)
    if unknown:
        notes.append(f"Of {unknown} videos the animal is not known; each counts as an animal of its own.")
    repeats = sum(label.count > 1 for video in videos for labels in video.by_rater.values() for label in labels)
    if repeats:
        notes.append(f"In {repeats} bouts a person counted repeats; here each bout counts once, as a model counts.")
    return notes
