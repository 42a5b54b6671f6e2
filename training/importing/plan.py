"""What an import would do: every row's fate, every video's labels. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mousetal.dataset import BACKGROUND
from mousetal.types import FrameRange, Label
from training.importing.frames import label_of, place
from training.importing.match import Match, Matcher
from training.importing.rows import FRAMES, LabelRow, LabelTable, Trouble, VideoFacts, contradictions
from training.importing.videos import Found, FoundVideo

TAKEN, CHANGED, LEFT_OUT = "taken", "changed", "left out"
UNNAMED = "video without labels"  # the kind of trouble


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one row: "taken", "changed" (cut at the video's end) or "left out", and why."""

    row: LabelRow
    video: str
    frames: FrameRange | None
    fate: str
    reason: str = ""


@dataclass(slots=True)
class PlannedVideo:
    """A video and all that is to be known about it.

    ``scored`` None: all frames; (): nobody looked at it. ``looked_for`` None: all behaviours. ``sources`` are the files
    that speak of it; what earlier imports took from these gives way.
    """

    found: FoundVideo
    labels: list[Label] = field(default_factory=list)
    facts: VideoFacts = field(default_factory=VideoFacts)
    scored: tuple[FrameRange, ...] | None = ()
    looked_for: frozenset[str] | None = frozenset()
    sources: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Plan:
    """The whole import. ``behaviors`` are those with labels, in the order in which the files name them."""

    videos: list[PlannedVideo]
    fates: list[Fate]
    troubles: list[Trouble]
    behaviors: tuple[str, ...]

    @property
    def has_losses(self) -> bool:
        return any(trouble.is_loss for trouble in self.troubles)


def make_plan(
    found: Found,
    tables: Sequence[LabelTable],
    aliases: Mapping[str, str],
    beyond: str = "clip",
    *,
    unnamed_are_scored: bool = False,
) -> Plan:
    """Match the tables' videos to files and their times to frames; ``beyond`` is "clip" or "drop".

    A video that no table names counts as one that nobody looked at or, with ``unnamed_are_scored``, in which nothing
    was seen.
    """
    plan = Plan([PlannedVideo(video) for video in found.videos], [], [], ())
    videos = {name: one for one in plan.videos for name in (one.found.name, *one.found.also)}
    matcher = Matcher(list(videos), aliases)
    plan.troubles += [Trouble("unreadable video", name, why) for name, why in found.failed]
    for table in tables:
        plan.troubles += table.troubles
        matches = {name: _find(name, videos, matcher) for name in _named(table)}
        for name, one in matches.items():
            if not one.video:
                plan.troubles.append(_unmatched(table, name, one))
                continue
            _tell(plan, videos[one.video], table, name)
        for row in table.rows:
            one = matches[row.video]
            plan.fates.append(_fate(row, videos[one.video], beyond) if one.video else _lost(row, one))
    if unnamed_are_scored and tables:
        for video in plan.videos:
            if not video.sources:
                video.scored, video.looked_for, video.sources = None, None, {table.source for table in tables}
    _drop_duplicates(plan)
    for fate in plan.fates:
        if fate.frames is not None and fate.fate != LEFT_OUT:
            videos[fate.video].labels.append(label_of(fate.row, fate.frames))
    _check(plan)
    named = [name for table in tables for name in (*table.behaviors, *(row.behavior for row in table.rows))]
    seen = {label.behavior for video in plan.videos for label in video.labels}
    plan.behaviors = tuple(name for name in dict.fromkeys(named) if name in seen)
    return plan


def _named(table: LabelTable) -> list[str]:
    return list(dict.fromkeys([*table.facts, *(row.video for row in table.rows)]))


def _find(name: str, videos: Mapping[str, PlannedVideo], matcher: Matcher) -> Match:
    """The match; where it is ambiguous only between files of one content, the first of them."""
    found = matcher.find(name)
    same = {id(videos[one]) for one in found.candidates} if found.is_ambiguous else set()
    return Match(found.candidates[0]) if len(same) == 1 else found


def _unmatched(table: LabelTable, name: str, found: Match) -> Trouble:
    rows = [row for row in table.rows if row.video == name]
    origin = rows[0].origin if rows else table.source
    lost = f"; {len(rows)} bout{'s'[: len(rows) != 1]} left out" if rows else ""
    if found.is_ambiguous:
        return Trouble("ambiguous video", origin, f"{name!r} may be {' or '.join(found.candidates)}{lost}")
    hint = f"; do you mean {' or '.join(found.candidates)}?" if found.candidates else ""
    return Trouble("unmatched video", origin, f"no video {name!r}{lost}{hint}")


def _tell(plan: Plan, video: PlannedVideo, table: LabelTable, name: str) -> None:
    """Add what a table says of a video beside its bouts."""
    said = table.facts.get(name, VideoFacts())
    plan.troubles += contradictions(video.found.name, video.facts, said, table.source)
    video.facts = video.facts.completed_by(said)
    parts = table.scored.get(name)
    if parts == ():
        return  # nobody looked at it: what other files say of it counts
    looked_for = table.looked_for_in.get(name, table.looked_for)
    if not looked_for:
        video.looked_for = None
    elif video.looked_for is not None:
        video.looked_for |= set(looked_for)
    placed = [one.frames for part in parts or () if (one := place(part, video.found.info)) is not None]
    if not placed:
        video.scored = None
    elif video.scored == ():
        video.scored = tuple(placed)
    video.sources.add(table.source)


def _lost(row: LabelRow, found: Match) -> Fate:
    return Fate(row, "", None, LEFT_OUT, "ambiguous video" if found.is_ambiguous else "unmatched video")


def _fate(row: LabelRow, video: PlannedVideo, beyond: str) -> Fate:
    name = video.found.name
    if row.behavior == BACKGROUND:
        return Fate(row, name, None, LEFT_OUT, "background")
    placed = place(row, video.found.info)
    if placed is None:
        return Fate(row, name, None, LEFT_OUT, "beyond the video")
    if not placed.clipped:
        return Fate(row, name, placed.frames, TAKEN)
    if beyond == "drop":
        return Fate(row, name, None, LEFT_OUT, "beyond the video")
    return Fate(row, name, placed.frames, CHANGED, "cut at the video's end")


def _drop_duplicates(plan: Plan) -> None:
    """Of bouts alike in video, behaviour, frames and rater the first stays."""
    first: dict[tuple[str, str, FrameRange, str], LabelRow] = {}
    for number, fate in enumerate(plan.fates):
        if fate.frames is None:
            continue
        key = (fate.video, fate.row.behavior, fate.frames, fate.row.rater)
        known = first.setdefault(key, fate.row)
        if known is not fate.row:
            plan.fates[number] = replace(fate, fate=LEFT_OUT, reason=f"the same as {known.origin}")


def _check(plan: Plan) -> None:
    """Say what became of rows, which bouts overlap, and which videos nobody speaks of."""
    for fate in plan.fates:
        row, unit = fate.row, "" if fate.row.unit == FRAMES else " s"
        where = f"{row.behavior} of {fate.video} from {row.start:g}{unit}"
        until = "" if row.end is None else f" to {row.end:g}{unit}"
        if fate.reason == "beyond the video":
            plan.troubles.append(Trouble(fate.reason, row.origin, f"{where}{until} lies beyond the video's end"))
        elif fate.fate == CHANGED:
            plan.troubles.append(Trouble(fate.reason, row.origin, f"{where}{until}", is_loss=False))
        elif fate.reason.startswith("the same as"):
            plan.troubles.append(Trouble("duplicate", row.origin, f"{where}{until}: {fate.reason}", is_loss=False))
        elif fate.reason == "background":
            plan.troubles.append(Trouble(fate.reason, row.origin, f"{where}{until} is no behaviour", is_loss=False))
    for video in plan.videos:
        video.labels.sort(key=lambda label: (label.frames.start_frame, label.frames.end_frame, label.behavior))
        plan.troubles += _overlaps(video)
        if not video.sources:
            why = "nothing says that it was scored, so its frames are neither behaviour nor background (see --unnamed)"
            plan.troubles.append(Trouble(UNNAMED, video.found.name, why, is_loss=False))


def _overlaps(video: PlannedVideo) -> list[Trouble]:
    """Neighbours of one behaviour and rater that share frames; both are kept."""
    troubles = []
    last: dict[tuple[str, str], Label] = {}
    for label in video.labels:
        before = last.get((label.behavior, label.rater))
        if before is not None and label.frames.start_frame < before.frames.end_frame:
            why = f"{label.behavior} of {video.found.name}: shares frames with {before.origin}"
            troubles.append(Trouble("overlap", label.origin, why, is_loss=False))
        if before is None or label.frames.end_frame > before.frames.end_frame:
            last[label.behavior, label.rater] = label
    return troubles
