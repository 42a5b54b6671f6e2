"""Which animals train, which choose, which test: whole groups, never single clips of one.

Neighbouring clips of one animal are near copies of each other. A model judged on clips of animals that it was trained
on looks better than it is, so an animal (else a session, else a file) is on one side only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mousetal.dataset import VideoEntry
from training.recordings import Same

MOST_TEST_VIDEOS = 10
TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True, slots=True)
class Split:
    """``of`` maps a video's path to its side; ``notes`` say what could not be had."""

    of: dict[str, str]
    notes: tuple[str, ...] = ()


def group_of(entry: VideoEntry) -> str:
    """What must stay together: the animal, else the session, else the file."""
    if entry.subject:
        return f"animal {entry.subject}"
    return f"session {entry.session}" if entry.session else f"file {entry.path}"


def assign(
    entries: Sequence[VideoEntry],
    seconds: Mapping[str, Sequence[float]],
    test_share: float = 0.2,
    validation_share: float = 0.15,
    seed: int = 0,
    same: Sequence[Same] = (),
) -> Split:
    """A side for every video; those that have one keep it, and take their group along, as do the ``same`` recordings.

    ``seconds`` gives per video the time of each behaviour. About ``test_share`` of the videos, at most ten, are for
    testing; a share of 0 leaves a side empty. Groups are dealt out one by one, those with the most of a rare behaviour
    first, each to the side that is furthest behind its share of videos and of every behaviour's time. Videos that
    nobody has scored would tell nothing in a test: they count as none, and groups of such alone are for training.
    """
    counted = {one.path for one in entries if one.scored_ranges} or {one.path for one in entries}
    groups: dict[str, list[VideoEntry]] = {}
    for entry in entries:
        groups.setdefault(group_of(entry), []).append(entry)
    _join_copies(groups, same)
    sides = {name: next((one.split for one in members if one.split), "") for name, members in groups.items()}
    notes = [
        f"{name} is on several sides already ({', '.join(sorted(found))}); its new videos go to {sides[name]}"
        for name, members in groups.items()
        if len(found := {one.split for one in members if one.split}) > 1
    ]
    for name, members in groups.items():
        if not counted & {one.path for one in members}:
            sides[name] = sides[name] or TRAIN
    num_groups = sum(bool(counted & {one.path for one in members}) for members in groups.values())
    if num_groups < 3:
        what = "one animal" if num_groups == 1 else f"{num_groups} animals"
        notes.append(
            f"{what} only (or none named): a split by animal into train, validation and test needs three. "
            f"Numbers will say how the model does on these animals, not on others."
        )
    weights = np.array([_weight(members, seconds, counted) for members in groups.values()])
    totals = np.where(weights.sum(axis=0) > 0, weights.sum(axis=0), 1)
    weights = weights / totals
    most = min(test_share, MOST_TEST_VIDEOS / max(1, len(counted)))
    wanted = {TRAIN: 1 - most - validation_share, VALIDATION: validation_share, TEST: most}
    if num_groups == 1:
        wanted = {TRAIN: 1.0}
    elif num_groups == 2:
        wanted = {TRAIN: 1 - validation_share, VALIDATION: validation_share}
    wanted = {side: share for side, share in wanted.items() if share > 0}
    names = list(groups)
    have = {side: np.zeros(weights.shape[1]) for side in wanted}
    for name, weight in zip(names, weights, strict=True):
        if sides[name] in have:
            have[sides[name]] += weight
    jitter = np.random.default_rng(seed).uniform(0, 1e-3, len(names))
    open_groups = [i for i in np.argsort(-(weights.max(axis=1) + jitter)) if not sides[names[i]]]
    for place, i in enumerate(open_groups):
        empty = [side for side in wanted if not have[side].any()]
        choices = empty if len(open_groups) - place <= len(empty) else list(wanted)
        # A side short of a fifth of what it wants is further behind than one short of a tenth, whatever its size.
        sides[names[i]] = max(choices, key=lambda side: (1 - have[side] / wanted[side]).mean())
        have[sides[names[i]]] += weights[i]
    return Split(
        {one.path: one.split or sides[name] for name, members in groups.items() for one in members}, tuple(notes)
    )


def _join_copies(groups: dict[str, list[VideoEntry]], same: Sequence[Same]) -> None:
    """Put groups that hold the same file or the same recording together, whatever the animals are said to be."""
    first: dict[str, str] = {}
    for name in list(groups):
        for other in {first[one.sha256] for one in groups[name] if one.sha256 in first} - {name}:
            groups[name] += groups.pop(other)
        first |= {one.sha256: name for one in groups[name]}
    for pair in same:
        a, b = (next(n for n, members in groups.items() if path in {one.path for one in members})
                for path in (pair.a, pair.b))  # fmt: skip
        if a != b:
            groups[a] += groups.pop(b)


def _weight(members: Sequence[VideoEntry], seconds: Mapping[str, Sequence[float]], counted: set[str]) -> list[float]:
    """Number of videos that are counted, then seconds of each behaviour."""
    videos = sum(one.path in counted for one in members)
    return [float(videos), *np.sum([seconds[one.path] for one in members], axis=0).tolist()]


def matters(a: VideoEntry, b: VideoEntry) -> bool:
    """Whether it would change or tell anything that two videos hold the same recording; one file twice is known."""
    if a.sha256 == b.sha256 or (a.split and a.split == b.split):
        return False
    return group_of(a) != group_of(b) or bool(a.split and b.split)


def leaks(entries: Sequence[VideoEntry], same: Sequence[Same] = ()) -> list[str]:
    """What is on two sides at once: an animal, a session, the same file, or the ``same`` recording in two files.

    A session counts where no animal is named. Else it may be a day on which every animal was filmed, see `shared_days`.
    """
    found = []
    for what, name_of in (("animal", _subject), ("session", _session), ("content", _content)):
        sides: dict[str, dict[str, str]] = {}
        for entry in entries:
            if entry.split and name_of(entry):
                sides.setdefault(name_of(entry), {})[entry.split] = entry.path
        found += [
            f"{what} {name} is in {' and in '.join(f'{side} ({path})' for side, path in sorted(where.items()))}"
            for name, where in sides.items()
            if len(where) > 1
        ]
    side_of = {entry.path: entry.split for entry in entries}
    found += [
        f"{one.a} ({side_of[one.a]}) and {one.b} ({side_of[one.b]}) hold the same recording: {one}"
        for one in same
        if side_of[one.a] and side_of[one.b] and side_of[one.a] != side_of[one.b]
    ]
    return found


def shared_days(entries: Sequence[VideoEntry]) -> list[str]:
    """A note on sessions of named animals that are on several sides, for people to judge; none without such."""
    sides: dict[str, set[str]] = {}
    for entry in entries:
        if entry.split and entry.session and entry.subject:
            sides.setdefault(entry.session, set()).add(entry.split)
    shared = [name for name, where in sides.items() if len(where) > 1]
    if not shared:
        return []
    return [
        f"of different animals on several sides: session {', '.join(shared[:3])}{', ...' if len(shared) > 3 else ''}. "
        "That is right where a session is a day; where it is one recording, give its videos one subject."
    ]


def _subject(entry: VideoEntry) -> str:
    return entry.subject


def _session(entry: VideoEntry) -> str:
    return "" if entry.subject else entry.session


def _content(entry: VideoEntry) -> str:
    return entry.sha256[:12]
