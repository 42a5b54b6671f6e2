"""evaluation.json: every number, how it is defined, on how much it rests and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mousetal import __version__
from training.evaluation import agreement, behavior, bootstrap, calibration, detection, events, frames, reference
from training.evaluation import segments as segment_scores
from training.evaluation.comparison import Comparison, behaviors_of
from training.evaluation.detector import Quality
from training.evaluation.share import Counts, Number, mean, ratio, total

FORMAT_VERSION = 1
FEW_BOUTS = 10
FEW_SUBJECTS = 5
MUCH_UNSCORED = 0.05
HEADLINE = "250 ms"

DEFINITIONS = {
    "frames": "Scored frames with the behaviour: precision TP/(TP+FP), recall TP/(TP+FN), F1 2TP/(2TP+FP+FN), summed "
    "over videos. Background is no behaviour. Frames without a model's answer count as frames without the behaviour.",
    "average_precision": "Area under precision over recall of the frames' probabilities, in steps, not interpolated.",
    "segments": "F1 of bouts at a temporal overlap of 10, 25 and 50 % (MS-TCN): each found bout claims the true bout "
    "that it overlaps most.",
    "onsets": "F1 of bouts whose starts lie within a tolerance, by the best one-to-one assignment.",
    "timing": "Seconds too late (negative: too early) of starts and ends of bouts whose starts match within 500 ms.",
    "average_precision_at_tiou": "ActivityNet's average precision at temporal overlaps, the mean over the thresholds. "
    "It sorts bouts by confidence: without confidences (people give none) it is not defined.",
    "edit": "100 * (1 - edits / longer sequence) on the order of bouts, background dropped; the mean over videos.",
    "split_and_merged": "True bouts that share frames with several found ones; found bouts that do with several true.",
    "agreement": "Per video: number of bouts, seconds in all, seconds from the first scored frame to the first bout. "
    "Bias is found minus true; limits are Bland and Altman's, bias +- 1.96 SD over videos; CCC is Lin's; ICC is "
    "ICC(2,1). Correlations grow with the range of the videos. Intervals are over animals, like all others.",
    "beyond_chance": "Cohen's kappa and Gwet's AC1 on scored frames, behaviour against rest; Krippendorff's alpha of "
    "all people at once, on the frames that two at least scored.",
    "calibration": "Expected calibration error: the mean gap between probability and share of true cases in ten bins. "
    f"A found bout is right when it overlaps a true one by at least {calibration.RIGHT_IOU:.0%}.",
    "interval": f"95 % percentile interval of {bootstrap.RESAMPLES} draws of subjects (animals) with replacement, seed "
    f"{bootstrap.SEED}; null with fewer than {bootstrap.FEWEST_SUBJECTS} subjects.",
    "null": "Not defined: there is nothing to divide by. It is not zero.",
    "reference": "As the system that published models come from computes them, oddities included: undefined counts as "
    f"0, bouts below a confidence of {reference.MIN_CONFIDENCE} are left out, ends are counted in for overlaps and out "
    "for frames. For comparison with its numbers only.",
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was evaluated and how it came about, beside the comparisons themselves.

    ``facts`` are for people (data, model, command); ``humans`` holds per pair of raters the videos that both labelled;
    ``model_raters`` per rater the model beside that rater, ``alpha`` per behaviour how far all people agree;
    ``skipped`` videos with the reason.
    """

    comparisons: Sequence[Comparison]
    background: str
    facts: Mapping[str, Any]
    humans: Mapping[str, Sequence[Comparison]] = field(default_factory=dict)
    model_raters: Mapping[str, Sequence[Comparison]] = field(default_factory=dict)
    alpha: Mapping[str, Number] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    detector: Quality | None = None
    notes: Sequence[str] = ()
    has_model: bool = True


def build(evaluated: Evaluated) -> dict[str, Any]:
    """The content of evaluation.json."""
    comparisons = evaluated.comparisons
    names = behaviors_of(comparisons)
    behaviors = {name: behavior.numbers(comparisons, name) for name in names}
    labels, table = frames.confusion(comparisons, evaluated.background)
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "version": f"mousetal {__version__}",
        "facts": dict(evaluated.facts),
        "definitions": DEFINITIONS,
        "warnings": [],
        "behaviors": behaviors,
        "overall": overall(comparisons),
        "confusion": {"labels": list(labels), "frames": table.tolist()},
        "videos": [one_video(one) for one in comparisons],
        "subjects": per_subject(comparisons),
        "detector": None if evaluated.detector is None else asdict(evaluated.detector),
        "raters": {
            "humans": {pair: rated(videos) for pair, videos in evaluated.humans.items()},
            "model": {rater: rated(videos) for rater, videos in evaluated.model_raters.items()},
            "krippendorff_alpha": dict(evaluated.alpha),
        },
        "reference": reference.of_comparisons(comparisons, names) if evaluated.has_model else None,
        "skipped": dict(evaluated.skipped),
    }
    document["warnings"] = [*evaluated.notes, *warnings(document, evaluated)]
    return document


def overall(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Means over behaviours, each of the same weight however often it occurs; those without a value are left out."""
    names, subjects = behaviors_of(comparisons), [one.subject for one in comparisons]
    items = [{name: frames.counts(one, name) for name in one.behaviors} for one in comparisons]
    onsets = [{name: events.counts(one, name, HEADLINE) for name in one.behaviors} for one in comparisons]
    edits = [segment_scores.edit_score(one) for one in comparisons]
    precisions = [
        frames.average_precision(frames.curve(*frames.pooled_scores(comparisons, name)))
        for name in names
        if any(one.posteriors for one in comparisons)
    ]
    return {
        "behaviors": len(names),
        "frame_f1": behavior.measured(items, subjects, _macro),
        f"onset_f1 {HEADLINE}": behavior.measured(onsets, subjects, _macro),
        "edit": behavior.measured(edits, subjects, mean),
        "frame_map": mean(precisions),
        "map_at_tiou": {
            name: detection.mean_average_precision(comparisons, thresholds)
            for name, thresholds in detection.THRESHOLDS.items()
        },
    }


def one_video(comparison: Comparison) -> dict[str, Any]:
    """The row of one video."""
    return {
        "video": comparison.video,
        "subject": comparison.subject,
        "scored_s": comparison.scored_seconds,
        "unscored_by_model": unscored(comparison),
        "edit": segment_scores.edit_score(comparison),
        "behaviors": {name: _row([comparison], name) for name in comparison.behaviors},
    }


def per_subject(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One row per animal, in order of name."""
    rows = []
    for subject in sorted({one.subject for one in comparisons}):
        videos = [one for one in comparisons if one.subject == subject]
        rows.append({
            "subject": subject,
            "videos": len(videos),
            "scored_s": sum(one.scored_seconds for one in videos),
            "behaviors": {name: _row(videos, name) for name in behaviors_of(videos)},
        })  # fmt: skip
    return rows


def rated(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Per behaviour the numbers by which pairs of raters are set beside each other."""
    return {name: behavior.between_two(comparisons, name) for name in behaviors_of(comparisons)}


def unscored(comparison: Comparison) -> float | None:
    """The share of scored frames on which the model said nothing."""
    if not comparison.posteriors or comparison.stored is None:
        return None
    silent = ~np.isfinite(comparison.stored.posteriors).all(axis=1)
    return ratio(int((silent & comparison.is_scored).sum()), int(comparison.is_scored.sum()))


def warnings(document: Mapping[str, Any], evaluated: Evaluated) -> list[str]:
    """What a reader should know before believing a number."""
    texts = []
    subjects = len({one.subject for one in evaluated.comparisons})
    if subjects < bootstrap.FEWEST_SUBJECTS:
        texts.append(
            f"Only {subjects} {'animal' if subjects == 1 else 'animals'}: no intervals can be given, and nothing is "
            "known about how the numbers would be on others."
        )
    elif subjects < FEW_SUBJECTS:
        texts.append(f"Only {subjects} animals: the intervals are rough, and the truth may well lie outside them.")
    for name, numbers in document["behaviors"].items():
        bouts = numbers["support"]["bouts"]
        if bouts == 0:
            texts.append(f"{name} never occurs in these videos: whether it would be found is not known.")
        elif bouts < FEW_BOUTS:
            often = "once" if bouts == 1 else f"{bouts} times"
            texts.append(f"{name} occurs only {often} in these videos: its numbers may be luck.")
    texts += _classes_apart(evaluated.comparisons)
    texts += [
        f"{one['video']}: the model said nothing on {one['unscored_by_model']:.0%} of the frames (no animal in sight, "
        "or damaged); what happens there counts as missed."
        for one in document["videos"]
        if (one["unscored_by_model"] or 0) > MUCH_UNSCORED
    ]
    if evaluated.skipped:
        texts.append(f"{len(evaluated.skipped)} of the videos could not be evaluated, see the end of the page.")
    return texts


def _classes_apart(comparisons: Sequence[Comparison]) -> list[str]:
    """What people looked for and the model does not know, and what it knows and nobody looked for."""
    results = [one.stored for one in comparisons if one.stored is not None]
    if not results:
        return []
    names = behaviors_of(comparisons)
    known = dict.fromkeys(
        name for one in results for i, name in enumerate(one.classifier.classes) if i != one.classifier.background
    )
    texts = [
        f"{name} is no class of the model, which knows {', '.join(known)}: every bout of it counts as missed."
        for name in names
        if name not in known
    ]
    for name in known:
        if name not in names:
            bouts = sum(bout.behavior == name for one in results for bout in one.bouts)
            texts.append(f"Nobody looked for {name} in these videos: the {bouts} bouts that were found are not judged.")
    return texts


def _row(videos: Sequence[Comparison], name: str) -> dict[str, Any]:
    videos = [one for one in videos if name in one.truth]
    counts = total(frames.counts(one, name) for one in videos)
    onsets = total(events.counts(one, name, HEADLINE) for one in videos)
    sides = [[agreement.values(one, name, "duration_s")[side] or 0.0 for one in videos] for side in (0, 1)]
    return {
        "bouts": onsets.support,
        "found_bouts": onsets.hits + onsets.false,
        "seconds": sum(sides[0]),
        "found_seconds": sum(sides[1]),
        "frame_f1": counts.f1,
        "onset_f1": onsets.f1,
        "found_in_time": onsets.hits,
    }


def _macro(items: Sequence[Mapping[str, Counts]]) -> float | None:
    names = dict.fromkeys(name for item in items for name in item)
    return mean(total(item[name] for item in items if name in item).f1 for name in names)
