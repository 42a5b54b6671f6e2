"""A bout rule in plain words, for terminals and pages: ``starts at 0.55, ends below 0.385, at least 0.42 s, ...``."""

from __future__ import annotations

from collections.abc import Mapping

from mousetal.types import BoutRule


def words(rule: BoutRule) -> str:
    """What the rule takes for a bout: probabilities, then seconds."""
    shortest = f"at least {rule.min_duration_s:g} s" if rule.min_duration_s > 0 else "of any length"
    gaps = f"gaps up to {rule.bridge_gap_s:g} s bridged" if rule.bridge_gap_s > 0 else "no gaps bridged"
    return f"starts at {rule.threshold:g}, ends below {rule.low_threshold:g}, {shortest}, {gaps}"


def lines(fact: object) -> list[str]:
    """A fact of an evaluation as a page shows it: rules, as evaluation.json holds them, in words, one a line."""
    if not isinstance(fact, Mapping):
        return [str(fact)]
    return [f"{name}: {words(BoutRule(**rule)) if isinstance(rule, Mapping) else rule}" for name, rule in fact.items()]
