"""Folds for cross-validation in which a recording session is never split.

Sessions are dealt out by how many clips they hold, the largest first, each to the fold that holds the fewest so far;
equals go by name and to the first such fold. There is nothing random in it, so everybody who deals the same clips gets
the same folds (it is the rule of scikit-learn's GroupKFold).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mousetal.errors import SettingsError


def deal(sessions: Iterable[str], num_folds: int) -> dict[str, int]:
    """The fold (0 to ``num_folds`` - 1) of every session; ``sessions`` names one per clip.

    Raises SettingsError with fewer sessions than folds.
    """
    counts = Counter(sessions)
    if num_folds < 2 or len(counts) < num_folds:
        raise SettingsError(f"{num_folds} folds need as many sessions and are at least 2; there are {len(counts)}")
    held = [0] * num_folds
    fold_of = {}
    for session, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
        fold_of[session] = held.index(min(held))
        held[fold_of[session]] += count
    return fold_of
