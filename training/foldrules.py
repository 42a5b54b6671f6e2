"""Bout rules for a fold's model, chosen where it costs nothing: on what the other folds' models found.

With so few sessions none is spared for validation. Every playlist is judged by a model that has not seen it; what the
models of the other folds said of *their* playlists is as good as validation, so a fold's rules are chosen there. (Those
models did see this fold's sessions in training, but no rule is chosen by looking at this fold's playlists.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from training.evaluation.analysis import with_rules
from training.evaluation.comparison import Comparison, with_bouts
from training.evaluation.tuning import choose_rules, with_chosen

ByFold = Mapping[int, Sequence[Comparison]]


def with_chosen_rules(by_fold: ByFold) -> list[Comparison]:
    """All playlists with the bouts that rules chosen on the other folds make; as they are where there is no other."""
    found: list[Comparison] = []
    for fold, mine in by_fold.items():
        others = [one for other, many in by_fold.items() if other != fold for one in many]
        stored = next((one.stored for one in others if one.stored is not None), None)
        if stored is None:
            found += mine
            continue
        spec = stored.classifier
        rules = with_chosen(choose_rules(others, spec), spec.classes, spec.rules)
        for one in mine:
            assert one.stored is not None  # all comparisons here are of results
            result = with_rules(one.stored, replace(one.stored.classifier, rules=rules))
            found.append(with_bouts(one, result.bouts))
    return found
