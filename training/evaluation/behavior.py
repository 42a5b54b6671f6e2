"""All numbers of one behaviour over some videos, ready for JSON, each with its interval over animals.

The same function serves a model beside a person and a person beside another: what differs is only who is called truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from training.evaluation import agreement, bootstrap, calibration, detection, events, frames, raters, segments
from training.evaluation.agreement import MEASURES
from training.evaluation.comparison import Comparison
from training.evaluation.share import Counts, Number, mean, ratio, total

Item = TypeVar("Item")
CURVE_POINTS = 200


def numbers(comparisons: Sequence[Comparison], behavior: str) -> dict[str, Any]:
    """Everything about one behaviour; videos in which nobody looked for it are left out."""
    videos = [one for one in comparisons if behavior in one.truth]
    sorted_by = videos if detection.has_order(videos, behavior) else []
    document = between_two(videos, behavior) | {
        "timing": timing(videos, behavior),
        "average_precision_at_tiou": {
            name: measured(
                [[detection.ranked(one, behavior, least) for least in thresholds] for one in sorted_by],
                [one.subject for one in sorted_by],
                _mean_precision,
            )
            for name, thresholds in detection.THRESHOLDS.items()
        },
        "split_and_merged": dict(zip(("split", "merged"), _split_and_merged(videos, behavior), strict=True)),
    }
    if known := [one for one in videos if behavior in one.posteriors]:
        document |= probabilities(known, behavior)
    return document


def between_two(comparisons: Sequence[Comparison], behavior: str) -> dict[str, Any]:
    """What can be said of any two scorers, also if neither gives confidences."""
    videos = [one for one in comparisons if behavior in one.truth]
    subjects = [one.subject for one in videos]
    tables = [raters.table(one, behavior) for one in videos]
    return {
        "support": support(videos, behavior),
        "frames": shares([frames.counts(one, behavior) for one in videos], subjects),
        "segments": {
            f"{100 * least:.0f}": shares([segments.counts(one, behavior, least) for one in videos], subjects)
            for least in segments.OVERLAPS
        },
        "onsets": {
            name: shares([events.counts(one, behavior, name) for one in videos], subjects)
            for name in events.TOLERANCES_S
        },
        "agreement": {measure: agreed(videos, behavior, measure) for measure in MEASURES},
        "beyond_chance": {
            "kappa": measured(tables, subjects, lambda some: raters.cohen_kappa(np.sum(some, axis=0))),
            "ac1": measured(tables, subjects, lambda some: raters.gwet_ac1(np.sum(some, axis=0))),
        },
    }


def support(videos: Sequence[Comparison], behavior: str) -> dict[str, Any]:
    """How much there is to judge by."""
    counts = total(frames.counts(one, behavior) for one in videos)
    seconds = [[agreement.values(one, behavior, "duration_s")[side] or 0.0 for one in videos] for side in (0, 1)]
    return {
        "videos": len(videos),
        "videos_with": sum(bool(one.truth[behavior]) for one in videos),
        "subjects": len({one.subject for one in videos}),
        "subjects_with": len({one.subject for one in videos if one.truth[behavior]}),
        "hours": sum(one.scored_seconds for one in videos) / 3600,
        "bouts": sum(len(one.truth[behavior]) for one in videos),
        "found_bouts": sum(len(one.found[behavior]) for one in videos),
        "frames": counts.support,
        "found_frames": counts.hits + counts.false,
        "seconds": sum(seconds[0]),
        "found_seconds": sum(seconds[1]),
    }


def shares(counts: Sequence[Counts], subjects: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of the sums, with their intervals, and the sums themselves."""
    return {
        "precision": measured(counts, subjects, lambda some: total(some).precision),
        "recall": measured(counts, subjects, lambda some: total(some).recall),
        "f1": measured(counts, subjects, lambda some: total(some).f1),
        **asdict(total(counts)),
    }


def measured(items: Sequence[Item], subjects: Sequence[str], statistic: Callable[[list[Item]], Number]) -> Any:
    """A number and its interval over subjects."""
    value = statistic(list(items)) if items else None
    interval = bootstrap.interval(items, subjects, statistic) if value is not None else None
    return {"value": value, "interval": interval}


def timing(videos: Sequence[Comparison], behavior: str) -> dict[str, Any]:
    """How much too late bouts begin and end, in seconds, of those found within half a second."""
    found = [events.errors(one, behavior) for one in videos]
    document: dict[str, Any] = {"pairs": sum(len(one.onsets_s) for one in found)}
    for name in ("onsets_s", "offsets_s"):
        late = np.concatenate([getattr(one, name) for one in found]) if found else np.zeros(0)
        document[name] = {
            "median": float(np.median(late)) if len(late) else None,
            "mean_absolute": float(np.abs(late).mean()) if len(late) else None,
            "middle_half": [float(q) for q in np.quantile(late, (0.25, 0.75))] if len(late) else None,
        }
    return document


def agreed(videos: Sequence[Comparison], behavior: str, measure: str) -> dict[str, Any]:
    """`agreement.Agreement` of the videos' values, and the values themselves."""
    pairs = [agreement.values(one, behavior, measure) for one in videos]
    return asdict(agreement.agree(pairs, [one.subject for one in videos])) | {"values": pairs}


def probabilities(videos: Sequence[Comparison], behavior: str) -> dict[str, Any]:
    """What needs a model's probabilities: the curve, its area, calibration of frames and of bouts."""
    subjects = [one.subject for one in videos]
    posterior, is_true = frames.pooled_scores(videos, behavior)
    points = frames.curve(posterior, is_true)
    sides = [frames.histogram(one, behavior) for one in videos]
    spread = bootstrap.interval(sides, subjects, lambda some: frames.histogram_precision(np.sum(some, axis=0)))
    judged = [calibration.judged_bouts(one, behavior) for one in videos]
    confidences, is_right = (np.concatenate([one[side] for one in judged]) for side in (0, 1))
    return {
        "average_precision": {"value": frames.average_precision(points), "interval": spread},
        "curve": _thinned(points),
        "calibration": {
            "frames": _calibrated(posterior, is_true),
            "bouts": _calibrated(confidences, is_right.astype(np.bool_)),
        },
        "risk_coverage": _risk(confidences, is_right.astype(np.bool_)),
    }


def _calibrated(p: Any, is_true: Any) -> dict[str, Any]:
    bins = calibration.reliability(p, is_true)
    return {"n": len(p), "ece": calibration.expected_calibration_error(bins), "bins": [asdict(one) for one in bins]}


def _risk(confidences: Any, is_right: Any) -> dict[str, list[float]]:
    coverage, risk = calibration.risk_coverage(confidences, is_right)
    chosen = _evenly(len(coverage))
    return {"coverage": coverage[chosen].tolist(), "risk": risk[chosen].tolist()}


def _thinned(points: frames.Curve | None) -> dict[str, list[float]] | None:
    if points is None:
        return None
    chosen = _evenly(len(points.recall))
    return {name: getattr(points, name)[chosen].round(5).tolist() for name in ("thresholds", "precision", "recall")}


def _evenly(n: int) -> list[int]:
    return np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).astype(np.int64)).tolist() if n else []


def _mean_precision(videos: list[list[detection.Ranked]]) -> Number:
    return mean(detection.average_precision(list(one)) for one in zip(*videos, strict=True))


def _split_and_merged(videos: Sequence[Comparison], behavior: str) -> tuple[int, int]:
    found = [segments.split_and_merged(one.truth[behavior], one.found_ranges(behavior)) for one in videos]
    return sum(split for split, _ in found), sum(merged for _, merged in found)


def false_per_hour(document: dict[str, Any], tolerance: str) -> Number:
    """False onsets per scored hour."""
    return ratio(document["onsets"][tolerance]["false"], document["support"]["hours"])
