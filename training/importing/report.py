"""An import told to a person: what was found, what would become of every row, and what to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from mousetal.formats.csv import safe, table_text
from training.importing.plan import LEFT_OUT, Fate, Plan
from training.importing.rows import Trouble
from training.importing.videos import Found, FoundVideo

SHOWN = 10  # troubles of one kind, unless all are asked for
FATE_COLUMNS = (
    "origin", "video_written", "video", "behavior", "start", "end", "unit", "start_frame", "end_frame", "count",
    "rater", "fate", "reason",
)  # fmt: skip


def text(found: Found, plan: Plan, *, is_full: bool) -> str:
    """The whole report. With ``is_full`` every trouble is listed, else the first of each kind."""
    parts = [videos_text(found), labels_text(plan), troubles_text(plan.troubles, None if is_full else SHOWN)]
    return "\n\n".join(part for part in parts if part)


def videos_text(found: Found) -> str:
    """One line per video: length, size, what the header claims, what it warns of."""
    others = f", {found.ignored} other files" if found.ignored else ""
    lines = [f"Videos: {len(found.videos)} read, {len(found.failed)} unreadable{others}"]
    lines += [f"  {_video_line(video)}" for video in found.videos]
    for video in found.videos:
        lines += [f"  {other}: the same content as {video.name}, taken once" for other in video.also]
    return "\n".join(lines)


def _video_line(video: FoundVideo) -> str:
    info = video.info
    frames = f"{info.num_frames} frames"
    if info.declared_frames not in (None, info.num_frames):
        frames += f" ({info.declared_frames} declared)"
    if video.decoded_frames is not None:
        frames += f" ({video.decoded_frames} decodable)"
    rate = f"{float(info.fps):.6g} fps" + (" (variable)" if info.is_variable_frame_rate else "")
    warned = "".join(f"; {warning}" for warning in video.warnings)
    return f"{video.name}: {info.duration_seconds:.2f} s, {frames}, {rate}, {info.width}x{info.height}{warned}"


def labels_text(plan: Plan) -> str:
    """Bouts and seconds per behaviour and rater, and the rows' fates in one line."""
    if not plan.fates:
        return "Labels: none"
    fates = Counter(fate.fate for fate in plan.fates)
    told = ", ".join(f"{count} {fate}" for fate, count in fates.items())
    lines = [f"Labels: {len(plan.fates)} bouts in the files ({told})"]
    bouts: Counter[tuple[str, str]] = Counter()
    frames: Counter[tuple[str, str]] = Counter()
    for video in plan.videos:
        for label in video.labels:
            bouts[label.behavior, label.rater] += 1
            frames[label.behavior, label.rater] += len(label.frames)
    videos = {key: sum(any((one.behavior, one.rater) == key for one in v.labels) for v in plan.videos) for key in bouts}
    for key in sorted(bouts):
        name, rater = key
        who = f" by {rater}" if rater else ""
        lines.append(f"  {name}{who}: {bouts[key]} bouts, {frames[key]} frames, in {videos[key]} videos")
    return "\n".join(lines)


def troubles_text(troubles: Sequence[Trouble], most: int | None) -> str:
    """Troubles by kind, those for which something is left out first."""
    by_kind: dict[tuple[bool, str], list[Trouble]] = {}
    for trouble in troubles:
        by_kind.setdefault((not trouble.is_loss, trouble.kind), []).append(trouble)
    lines = []
    for (is_note, kind), same in sorted(by_kind.items()):
        lines.append(f"{'note' if is_note else 'LEFT OUT'}: {kind} ({len(same)})")
        lines += [f"  {trouble.origin}: {trouble.message}" for trouble in same[:most]]
        if most is not None and len(same) > most:
            lines.append(f"  ... and {len(same) - most} more; --all shows them, --report FILE lists every row")
    return "\n".join(lines)


def fates_text(fates: Iterable[Fate], troubles: Iterable[Trouble]) -> str:
    """A csv of every row and what becomes of it, those that could not be read at all included."""
    rows: list[list[object]] = []
    told = set()
    for fate in fates:
        row, frames = fate.row, fate.frames
        told.add(row.origin)
        rows.append([
            safe(row.origin), safe(row.video), safe(fate.video), safe(row.behavior), row.start,
            "" if row.end is None else row.end, row.unit, frames.start_frame if frames else "",
            frames.end_frame if frames else "", row.count, safe(row.rater), fate.fate, safe(fate.reason),
        ])  # fmt: skip
    rows += [
        [safe(trouble.origin), *[""] * 10, LEFT_OUT, safe(f"{trouble.kind}: {trouble.message}")]
        for trouble in troubles
        if trouble.is_loss and trouble.origin not in told
    ]
    return table_text(FATE_COLUMNS, rows)
