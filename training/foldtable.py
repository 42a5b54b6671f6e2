"""What a cross-validation comes to: numbers per fold and over all, their spread over seeds, and a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mousetal.intervals import BoolArray
from mousetal.types import Float64Array
from training.evaluation import frames, segments
from training.evaluation.comparison import Comparison
from training.evaluation.share import Number, mean, total
from training.ranking import Ranking, rank

MEASURES = ("auc", "ap", "accuracy")
OVERLAP = 0.25  # temporal IoU from which a bout counts as found


@dataclass(frozen=True, slots=True)
class Bouts:
    """Bouts of one behaviour, summed over playlists: frames, and bouts that overlap a true one enough."""

    frame_precision: Number
    frame_recall: Number
    frame_f1: Number
    frame_ap: Number
    true: int
    found: int
    hits: int
    bout_f1: Number


def bouts_of(comparisons: Sequence[Comparison], behavior: str) -> Bouts:
    """The findings of one seed's models beside the truth, each playlist by the model that has not seen its sessions."""
    by_frame = total(frames.counts(one, behavior) for one in comparisons)
    by_bout = total(segments.counts(one, behavior, OVERLAP) for one in comparisons)
    precision = frames.average_precision(frames.curve(*frames.pooled_scores(comparisons, behavior)))
    return Bouts(
        by_frame.precision, by_frame.recall, by_frame.f1, precision, by_bout.support, by_bout.hits + by_bout.false,
        by_bout.hits, by_bout.f1,
    )  # fmt: skip


def summarised(every: Sequence[Float64Array], is_true: BoolArray, folds: np.ndarray) -> dict[str, Any]:
    """Rankings of each seed's scores (n,): pooled over folds, the mean of folds, per fold; mean and spread of seeds."""
    pooled = [rank(one, is_true) for one in every]
    by_fold = {
        str(fold): [rank(one[folds == fold], is_true[folds == fold]) for one in every]
        for fold in sorted(set(folds.tolist()))
    }
    return {
        "pooled": _over_seeds(pooled),
        "mean_of_folds": {name: mean([_mean(many, name) for many in by_fold.values()]) for name in MEASURES},
        "folds": {fold: _over_seeds(many) for fold, many in by_fold.items()},
        "of_mean_score": asdict(rank(np.mean(every, axis=0), is_true)),
        "by_seed": [asdict(one) for one in pooled],
    }


def table_text(content: Mapping[str, Any]) -> str:
    """The result as a short Markdown table."""
    data, scores = content["data"], content["scores"]
    lines = [
        f"{data['clips']} clips ({data['self_grooming']} of them Self-Grooming), folds by session, "
        f"seeds {', '.join(map(str, content['seeds']))}",
        "",
        "| | AUC | AP | accuracy | AUC per fold |",
        "| --- | --- | --- | --- | --- |",
        _row("regression, as stated with the data", content["given_floor"], {}, ""),
    ]
    for name, one in scores.items():
        spread = {measure: one["pooled"][measure]["spread"] for measure in MEASURES}
        middle = {measure: one["pooled"][measure]["mean"] for measure in MEASURES}
        lines.append(_row(name, middle, spread, ", ".join(_shown(f["auc"]["mean"]) for f in one["folds"].values())))
    lines += ["", "| bouts | seed | frame P | frame R | frame F1 | frame AP | bouts true / found / right | bout F1 |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    judged = [
        (name, *both) for name, kept in content["bouts"].items() for both in zip(content["seeds"], kept, strict=True)
    ]
    for name, seed, one in judged:
        shown = [_shown(one[name]) for name in ("frame_precision", "frame_recall", "frame_f1", "frame_ap")]
        counts = f"{one['true']} / {one['found']} / {one['hits']}"
        lines.append(f"| {name} | {seed} | {' | '.join(shown)} | {counts} | {_shown(one['bout_f1'])} |")
    return "\n".join(lines)


def _row(name: str, middle: Mapping[str, Number], spread: Mapping[str, Number], per_fold: str) -> str:
    cells = [
        _shown(middle[measure]) + (f" ± {_shown(spread[measure])}" if spread.get(measure) is not None else "")
        for measure in MEASURES
    ]
    return f"| {name} | {' | '.join(cells)} | {per_fold} |"


def _over_seeds(rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Mean, standard deviation over seeds (None of a single one) and the values themselves, by measure."""
    return {
        name: {"mean": _mean(rankings, name), "spread": _spread(rankings, name), "values": _values(rankings, name)}
        for name in MEASURES
    }


def _values(rankings: Sequence[Ranking], name: str) -> list[Number]:
    return [getattr(one, name) for one in rankings]


def _mean(rankings: Sequence[Ranking], name: str) -> Number:
    return mean(_values(rankings, name))


def _spread(rankings: Sequence[Ranking], name: str) -> Number:
    defined = [value for value in _values(rankings, name) if value is not None]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else None


def _shown(value: Number) -> str:
    return "NA" if value is None else f"{value:.3f}"
