"""Labels from whatever holds them: a table, a BORIS project, a Supervisely project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mousetal import atomic
from mousetal import dataset as datasets
from mousetal.dataset import VideoEntry
from mousetal.errors import RecordError, SettingsError
from mousetal.formats import boris, supervisely
from mousetal.formats.tables import read_tables
from training.importing.known import left_out, recognise
from training.importing.labeltable import read_label_table
from training.importing.mapping import Mapping
from training.importing.reading import Names
from training.importing.rows import FACTS, FRAMES, SECONDS, LabelRow, LabelTable, Trouble, VideoFacts, contradictions


def read_source(path: Path, mapping: Mapping | None, rater: str = "") -> LabelTable:
    """What one file (or project folder) says; raises RecordError, or SettingsError where a table needs a mapping.

    ``rater`` is who scored where the file doesn't say it. Of a project only [behaviors] of the mapping is used.
    """
    rules = mapping or Mapping()
    if rater:
        rules = replace(rules, rater=rater)
    if path.is_dir():
        if not supervisely.is_project(path):
            raise RecordError(f"{path}: expected a file of labels or a Supervisely project, got another folder.")
        return read_supervisely(path, rules)
    if path.suffix.lower() == ".boris":
        return read_boris(path, rules)
    if mapping is None:
        file = read_tables(path)
        known = recognise(file)
        if known is None:
            raise SettingsError(
                f"{path}: a table that needs a mapping, which training.import_videos --guess writes for you to edit."
            )
        table = read_label_table(path, replace(known, rater=rater))
        return replace(table, troubles=(*left_out(file, known), *table.troubles))
    return read_label_table(path, rules)


def read_boris(path: Path, mapping: Mapping) -> LabelTable:
    """The bouts of a BORIS project."""
    project = boris.read_project(path)
    troubles = [Trouble("unpaired event", where, why) for where, why in project.troubles]
    troubles += [Trouble("observation left out", where, why) for where, why in project.left_out]
    troubles += [Trouble("about the file", where, note, is_loss=False) for where, note in project.notes]
    written = [
        LabelRow(
            one.media, one.behavior, one.start_s, one.end_s, SECONDS, one.count, one.rater or mapping.rater, one.origin
        )
        for one in project.bouts
    ]
    facts = {
        video: VideoFacts(**{fact: project.variables[video].get(fact, "") for fact in FACTS}) for video in project.media
    }
    for bout in project.bouts:
        said = VideoFacts(subject=bout.subject)
        troubles += contradictions(bout.media, facts[bout.media], said, bout.origin)
        facts[bout.media] = facts[bout.media].completed_by(said)
    return _table(path, written, facts, troubles, mapping, project.behaviors)


def read_supervisely(folder: Path, mapping: Mapping) -> LabelTable:
    """The tags of a project's videos, its ranges half-open; a number on a tag is its count of repeats.

    The reference system's `confidence` tags, and tags on whole videos, which describe the video, are no bouts. In a
    data set of ours the manifest says what was scored, and which animal a video shows.
    """
    known = {entry.path: entry for entry in _manifest(folder)}
    scored: dict[str, tuple[LabelRow, ...]] = {}
    looked_for: dict[str, tuple[str, ...]] = {}
    rows: list[LabelRow] = []
    troubles: list[Trouble] = []
    facts: dict[str, VideoFacts] = {}
    for video, path in annotated_videos(folder):
        try:
            tags = supervisely.read_annotation(path).tags
        except RecordError as error:  # this video is not known to be looked at; the others are no worse for it
            troubles.append(Trouble("unreadable annotation", f"{folder.name}!{video}", f"{error}"))
            continue
        facts[video] = VideoFacts()
        if (entry := known.get(video)) is not None:
            facts[video] = VideoFacts(**{fact: getattr(entry, fact) for fact in FACTS})
            if entry.scored is not None:
                scored[video] = tuple(LabelRow(video, "", r.start_frame, r.end_frame, FRAMES) for r in entry.scored)
            if entry.behaviors is not None:
                looked_for[video] = entry.behaviors
        for number, tag in enumerate(tags):
            origin = f"{folder.name}!{video}!tag {tag.key or number}"
            if tag.frames is None:
                why = f"the tag {tag.name!r} is on the whole video"
                troubles.append(Trouble("no behaviour", origin, why, is_loss=False))
            elif tag.name != supervisely.CONFIDENCE:
                count = int(tag.value) if isinstance(tag.value, int | float) and tag.value >= 1 else 1
                start, end = tag.frames.start_frame, tag.frames.end_frame
                rows.append(LabelRow(video, tag.name, start, end, FRAMES, count, tag.rater or mapping.rater, origin))
    return replace(_table(folder, rows, facts, troubles, mapping, ()), scored=scored, looked_for_in=looked_for)


def _manifest(folder: Path) -> tuple[VideoEntry, ...]:
    """The videos of a project that is a data set of ours; empty for any other. Raises RecordError for a broken one."""
    path = folder / datasets.MANIFEST_NAME
    if not path.exists():
        return ()
    document = atomic.read_json(path)
    return datasets.read(folder).videos if isinstance(document, dict) and "format_version" in document else ()


def annotated_videos(project: Path) -> Iterator[tuple[str, Path]]:
    """Every annotated video of a project by its path (``parent/datasets/day 1/video/m1.mp4``), and its annotation."""
    for dataset in supervisely.datasets(project):
        for path in sorted((project / dataset / "ann").glob("*.json")):
            yield f"{dataset}/video/{path.name.removesuffix('.json')}", path


def _table(
    path: Path,
    written: list[LabelRow],
    facts: dict[str, VideoFacts],
    troubles: list[Trouble],
    mapping: Mapping,
    declared: tuple[str, ...],
) -> LabelTable:
    """The rows with the behaviours' own names."""
    names = Names(mapping.behaviors)
    rows = []
    for row in written:
        try:
            name = names.of(row.behavior)
        except KeyError:
            why = f"{row.behavior!r} is none of {', '.join(mapping.behaviors.names)}"
            troubles.append(Trouble("unmatched behaviour", row.origin, why))
            continue
        if name is not None:
            rows.append(replace(row, behavior=name))
    behaviors = tuple(mapping.behaviors.names) or declared
    seen = {row.behavior for row in rows}
    troubles += [
        Trouble("class never seen", path.name, f"{name}: no bout of it", is_loss=False)
        for name in behaviors
        if name not in seen
    ]
    looked_for = mapping.behaviors.looked_for
    return LabelTable(path.name, tuple(rows), facts, tuple(troubles), {}, behaviors, looked_for)
