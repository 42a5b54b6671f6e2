"""Bout rules and temperature, chosen on validation videos and stored in the model folder. Never on test videos.

Every behaviour's rule is the best of a grid: threshold, hysteresis, shortest bout, gap to bridge. Of rules that do
about equally well the one in the middle of them is taken: one at the edge of what works on these videos may not work on
others. A behaviour that hardly occurs in them keeps the rule it has, and where hardly anything does, the temperature
stays too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np

from mousetal.intervals import find_bouts, frame_posteriors
from mousetal.modelconfig import MvdConfig
from mousetal.types import Bout, BoutRule, ClassifierSpec, Float64Array
from training.evaluation import calibration, events, frames, rulewords
from training.evaluation.comparison import Comparison, with_bouts
from training.evaluation.share import Counts, total

FEWEST_BOUTS = 10
TOLERANCE = "250 ms"
LONG_S = 1.0  # bouts longer than that on average are also judged frame by frame
PLATEAU = 0.01  # rules whose merit is within this of the best count as equal

THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(2, 19))
LOW_SHARES = (0.5, 0.7, 0.85, 1.0)  # of the threshold
# Shortest bout and longest bridged gap, as shares of what is short for the behaviour: of the shortest bouts and gaps
# (the lowest tenth) that people saw, so that true ones are not lost.
SHORT_SHARES = (0.0, 0.3, 0.6)
SHORTEST = 0.1
MOST_BRIDGED_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """The rule chosen for a behaviour, how well it does and the old one did; ``reason`` says why the old one stays."""

    behavior: str
    rule: BoutRule
    num_bouts: int
    merit: float
    merit_before: float
    equals: int = 0
    reason: str = ""

    def __str__(self) -> str:
        bouts = f"{self.num_bouts} {'bout' if self.num_bouts == 1 else 'bouts'}"
        note = self.reason or f"merit {self.merit_before:.3f} -> {self.merit:.3f}"
        return f"{self.behavior}: {rulewords.words(self.rule)} ({bouts}; {note})"


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen; the model's temperature is multiplied by ``factor``.

    Losses are mean log losses of the true class per frame, None where there was no truth.
    ``reason`` says why the temperature stays, where it was not chosen.
    """

    factor: float
    loss_before: float | None
    loss_after: float | None
    choices: tuple[Choice, ...]
    reason: str = ""

    @property
    def temperature_told(self) -> str:
        """What became of the temperature, in words."""
        if self.reason:
            return f"temperature {self.reason}"
        losses = (self.loss_before, self.loss_after)
        before, after = ("NA" if loss is None else f"{loss:.4f}" for loss in losses)
        return f"temperature x {self.factor:.3f}, log loss {before} -> {after}"


def tune(comparisons: Sequence[Comparison], config: MvdConfig, spec: ClassifierSpec) -> tuple[MvdConfig, Tuning]:
    """The config with temperature and rules chosen on these videos; ``spec`` is of the model that made the results."""
    num_bouts = sum(len(one.truth[name]) for one in comparisons for name in one.behaviors if name in spec.classes)
    reason = _too_few(num_bouts)
    factor, before, after = (1.0, None, None) if reason else fit_temperature(comparisons, spec)
    mended = [retempered(one, factor) for one in comparisons] if factor != 1 else comparisons
    # What the old rules were worth is what they were at the old temperature.
    choices = tuple(
        replace(choice, merit_before=merit(_of_behavior(comparisons, choice.behavior), choice.behavior, spec))
        for choice in choose_rules(mended, spec)
    )
    rules = with_chosen(choices, config.classes, config.bouts)
    temperature = round(config.temperature * factor, 4)
    return replace(config, bouts=rules, temperature=temperature), Tuning(factor, before, after, choices, reason)


def with_chosen(choices: Iterable[Choice], classes: Sequence[str], rules: Sequence[BoutRule]) -> tuple[BoutRule, ...]:
    """The rules, in the order of the classes, with those that were chosen in their places."""
    by_name = {choice.behavior: choice.rule for choice in choices}
    return tuple(by_name.get(name, rule) for name, rule in zip(classes, rules, strict=True))


def choose_rules(comparisons: Sequence[Comparison], spec: ClassifierSpec) -> tuple[Choice, ...]:
    """One choice per behaviour of the model, each with those before it in force."""
    rules, choices = list(spec.rules), []
    for label, behavior in enumerate(spec.classes):
        if label != spec.background:
            choice = choose_rule(comparisons, replace(spec, rules=tuple(rules)), behavior)
            rules[label] = choice.rule
            choices.append(choice)
            log.info("bout rule behavior=%s: %s", behavior, rulewords.words(choice.rule))
    return tuple(choices)


def choose_rule(comparisons: Sequence[Comparison], spec: ClassifierSpec, behavior: str) -> Choice:
    """The rule of one behaviour that does best, in the middle of those that do about as well."""
    videos = _of_behavior(comparisons, behavior)
    label = spec.classes.index(behavior)
    old = spec.rules[label]
    num_bouts = sum(len(one.truth[behavior]) for one in videos)
    merit_before = merit(videos, behavior, spec)
    if reason := _too_few(num_bouts):
        return Choice(behavior, old, num_bouts, merit_before, merit_before, reason=reason)
    grid = candidates(videos, behavior)
    merits = np.array([merit(videos, behavior, _with_rule(spec, label, rule)) for rule in grid])
    plateau = np.flatnonzero(merits >= merits.max() - PLATEAU)
    best = int(plateau[_middle(np.array([_coordinates(grid[place], grid) for place in plateau]))])
    if merits[best] <= merit_before - PLATEAU:
        reason = "kept: no rule of the grid does better"
        return Choice(behavior, old, num_bouts, merit_before, merit_before, reason=reason)
    return Choice(behavior, grid[best], num_bouts, float(merits[best]), merit_before, len(plateau))


def candidates(comparisons: Iterable[Comparison], behavior: str) -> list[BoutRule]:
    """The grid, with seconds that suit the behaviour."""
    durations, gaps = [], []
    for one in comparisons:
        spans = [one.seconds(frames) for frames in one.truth[behavior]]
        durations += [end - start for start, end in spans]
        gaps += [b[0] - a[1] for a, b in pairwise(spans)]
    shortest = float(np.quantile(durations, SHORTEST)) if durations else 0.0
    usual = float(np.median(durations)) if durations else 0.0  # a gap longer than a bout is no gap within one
    nearest = min(float(np.quantile(gaps, SHORTEST)), usual, MOST_BRIDGED_S) if gaps else 0.0
    minima, bridges = (sorted({round(share * short, 2) for share in SHORT_SHARES}) for short in (shortest, nearest))
    return [
        BoutRule(threshold, round(threshold * share, 3), minimum_s, bridge_s)
        for threshold, share, minimum_s, bridge_s in product(THRESHOLDS, LOW_SHARES, minima, bridges)
    ]


def merit(comparisons: Sequence[Comparison], behavior: str, spec: ClassifierSpec) -> float:
    """The worse of two shares: true bouts that were found in time, found bouts that are true.

    Where bouts are long, half of it is F1 over frames. ``comparisons`` are of this behaviour alone.
    """
    found = [with_bouts(one, _bouts(one, spec)) for one in comparisons]
    onsets = total(events.counts(one, behavior, TOLERANCE) for one in found)
    worse = min(onsets.precision or 0.0, onsets.recall or 0.0)
    if not _are_long(comparisons, behavior):
        return worse
    shared: Counts = total(frames.counts(one, behavior) for one in found)
    return (worse + (shared.f1 or 0.0)) / 2


def fit_temperature(
    comparisons: Sequence[Comparison], spec: ClassifierSpec
) -> tuple[float, float | None, float | None]:
    """By how much the model's temperature is to be multiplied; the losses before and after."""
    videos = [(one.stored.scores, targets(one, spec)) for one in comparisons if one.stored is not None]
    return calibration.fit_temperature(videos, spec.is_multi_label)


def targets(comparison: Comparison, spec: ClassifierSpec) -> Float64Array:
    """(frames, classes) 1 for what a frame truly is, 0 for what it is not, NaN where nobody knows.

    Where behaviours exclude each other, a frame of two is of neither; one of none is background only if a person looked
    for all that the model knows.
    """
    truth = np.zeros((comparison.num_frames, len(spec.classes)))
    unknown = []
    for label, name in enumerate(spec.classes):
        if name in comparison.truth:
            truth[:, label] = comparison.true_mask(name)
        elif label != spec.background:
            unknown.append(label)
    if spec.background is not None:
        truth[:, spec.background] = truth.sum(axis=1) == 0
    if spec.is_multi_label:
        truth[:, unknown] = np.nan
    else:
        rest = truth.sum(axis=1) != 1
        if unknown and spec.background is not None:
            rest |= truth[:, spec.background] == 1
        truth[rest] = np.nan
    truth[~comparison.is_scored] = np.nan
    return truth


def retempered(comparison: Comparison, factor: float) -> Comparison:
    """The same video, had the model's temperature been ``factor`` times what it is. Bouts stay as they are."""
    stored = comparison.stored
    if stored is None:
        return comparison
    scores = calibration.tempered_scores(stored.scores, factor, stored.classifier.is_multi_label)
    posteriors = frame_posteriors(scores, comparison.num_frames, len(stored.classifier.classes))
    posteriors[np.isnan(stored.posteriors)] = np.nan
    classes = stored.classifier.classes
    columns = {name: posteriors[:, classes.index(name)] for name in comparison.posteriors}
    return replace(comparison, posteriors=columns, stored=replace(stored, scores=scores, posteriors=posteriors))


def provenance(tuning: Tuning, data_sha256: str, split: str, videos: int) -> dict[str, Any]:
    """What the model folder says of how it was tuned."""
    return {
        "data_sha256": data_sha256,
        "split": split,
        "videos": videos,
        "temperature_factor": round(tuning.factor, 4),
        "temperature_note": tuning.reason,
        "log_loss": [None if loss is None else round(loss, 5) for loss in (tuning.loss_before, tuning.loss_after)],
        "rules": {
            choice.behavior: {
                "bouts": choice.num_bouts,
                "merit": round(choice.merit, 4),
                "merit_before": round(choice.merit_before, 4),
                "note": choice.reason or f"middle of {choice.equals} rules that do about as well",
            }
            for choice in tuning.choices
        },
    }


def _too_few(num_bouts: int) -> str:
    """Why nothing is chosen by so many bouts, "" where they are enough."""
    if num_bouts >= FEWEST_BOUTS:
        return ""
    return f"kept: {num_bouts} {'bout' if num_bouts == 1 else 'bouts'} to choose by, at least {FEWEST_BOUTS} are needed"


def _of_behavior(comparisons: Iterable[Comparison], behavior: str) -> list[Comparison]:
    """The analysed videos in which it was looked for, with no other behaviour in them."""
    return [
        replace(one, truth={behavior: one.truth[behavior]})
        for one in comparisons
        if behavior in one.truth and one.stored is not None
    ]


def _bouts(comparison: Comparison, spec: ClassifierSpec) -> tuple[Bout, ...]:
    assert comparison.stored is not None
    return find_bouts(comparison.stored.posteriors, spec, comparison.stored.info.pts_seconds)


def _with_rule(spec: ClassifierSpec, label: int, rule: BoutRule) -> ClassifierSpec:
    return replace(spec, rules=(*spec.rules[:label], rule, *spec.rules[label + 1 :]))


def _are_long(comparisons: Sequence[Comparison], behavior: str) -> bool:
    spans = [one.seconds(frames) for one in comparisons for frames in one.truth[behavior]]
    return bool(spans) and sum(end - start for start, end in spans) / len(spans) > LONG_S


def _coordinates(rule: BoutRule, grid: Sequence[BoutRule]) -> list[float]:
    """Where a rule lies in the grid, each side of which is 1 long."""
    most = [max(getattr(one, name) for one in grid) or 1.0 for name in ("min_duration_s", "bridge_gap_s")]
    share = rule.low_threshold / rule.threshold
    return [
        (rule.threshold - THRESHOLDS[0]) / (THRESHOLDS[-1] - THRESHOLDS[0]),
        (share - LOW_SHARES[0]) / (LOW_SHARES[-1] - LOW_SHARES[0]),
        rule.min_duration_s / most[0],
        rule.bridge_gap_s / most[1],
    ]


def _middle(points: Float64Array) -> int:
    """The place of the point with the least distance to all others (the medoid)."""
    return int(np.abs(points[:, None] - points[None]).sum(axis=(1, 2)).argmin())
