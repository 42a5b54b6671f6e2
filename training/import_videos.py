"""A lab's videos and labels into a labelled data set. Nothing is written before --write.

    python -m training.import_videos --videos ~/cohort3 --labels scores.xlsx --guess          # writes mapping.toml
    python -m training.import_videos --videos ~/cohort3 --labels scores.xlsx --mapping mapping.toml --dataset dataset
    ... the same with --write                                                                  # when the report is good

Labels are tables (xlsx, csv), BORIS projects (.boris), our own intervals.csv, or a Supervisely project given as
--videos, whose tags are taken with it. The report goes through the labels row by row: unknown videos and behaviours,
ends before starts, times outside the video, overlaps, repeats. Importing again replaces what came from the same file.
Exit code 0: all is well; 1: some rows or files were left out (the report says which).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mousetal import atomic
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import SettingsError
from mousetal.formats import boris, supervisely
from mousetal.formats.csv import INTERVAL_COLUMNS
from mousetal.formats.sheets import read_sheets
from mousetal.types import FrameRange, Label
from training.exitcodes import guarded
from training.importing import mapping as mappings
from training.importing.labels import to_labels
from training.importing.mapping import TableMapping
from training.importing.matching import match
from training.importing.rows import LabelRow, Problem, read_label_table
from training.importing.store import KINDS, Found, Search, entry_of, keep, probe_notes, search

BEHAVIORS = ("Self-Grooming", "Head/Body TWITCH")
INTERVALS = TableMapping(
    columns={"video": "video", "behavior": "behavior", "start": "start_frame", "end": "end_frame", "count": "count"},
    unit="frame",
)


@dataclass
class Import:
    """All that an import would do: entries with labels, and what is to be said about it."""

    entries: list[VideoEntry] = field(default_factory=list)
    labels: dict[str, list[Label]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, Found] = field(default_factory=dict)


def read_rows(path: Path, mapping: TableMapping | None, behaviors: Sequence[str]) -> tuple[list[LabelRow], Import]:
    """The bouts of one label file, and what is odd about them."""
    said = Import()
    if path.suffix.lower() == ".boris":
        rows = []
        for one in boris.read_project(path):
            said.problems += [Problem(text.partition(": ")[0], text.partition(": ")[2]) for text in one.problems]
            rows += [
                LabelRow(one.media or one.name, _named(event.behavior, mapping), event.start_s, event.end_s, 1, "",
                         event.origin, facts={"subject": event.subject} if event.subject else {})
                for event in one.events
                if mapping is None or event.behavior not in mapping.ignore
            ]  # fmt: skip
        return rows, said
    if mapping is None:
        sheets = read_sheets(path)
        is_ours = any({*INTERVAL_COLUMNS[:4]} <= {*sheet.columns} for sheet in sheets)
        mapping = INTERVALS if is_ours else mappings.guess(sheets, behaviors)
    table = read_label_table(path, mapping)
    said.problems += table.problems
    said.notes += table.notes
    return list(table.rows), said


def _named(word: str, mapping: TableMapping | None) -> str:
    return mapping.behaviors.get(word, word) if mapping else word


def plan_import(
    found: Search, rows: Sequence[LabelRow], name: str, storage: str, behaviors: Sequence[str],
    pattern: re.Pattern[str] | None,
) -> Import:  # fmt: skip
    """Match rows with videos and turn them into labels; nothing is written."""
    made = Import()
    made.problems += [Problem(file, reason) for file, reason in found.bad.items()]
    made.notes += [f"{double}: the same content as {first}; left out" for double, first in found.doubles.items()]
    made.notes += probe_notes(found.videos)
    matches = match((row.video for row in rows), [one.name for one in found.videos])
    rows_of: dict[str, list[LabelRow]] = defaultdict(list)
    unknown: Counter[str] = Counter()
    for row in rows:
        if row.video in matches.files:
            rows_of[matches.files[row.video]].append(row)
        else:
            unknown[row.video] += 1
    made.problems += [
        Problem(f"video {video!r}", f"{matches.unmatched[video]} ({count} rows left out)")
        for video, count in unknown.items()
    ]
    for one in found.videos:
        mine = rows_of[one.name]
        labels, scored, problems = to_labels(mine, one.info, behaviors)
        entry = entry_of(one, name, storage, pattern)
        facts = {key: text for row in mine for key, text in row.facts.items()}
        entry = replace(entry, **facts, scored=tuple(scored) or None)
        made.entries.append(entry)
        made.labels[entry.path] = labels
        made.files[entry.path] = one
        made.problems += problems
    silent = [entry.path for entry in made.entries if not made.labels[entry.path]]
    made.notes += [f"{path}: no labels; it counts as watched and empty" for path in silent]
    never = [one for one in behaviors if not any(label.behavior == one for ls in made.labels.values() for label in ls)]
    if rows and never:
        made.problems.append(Problem("labels", f"no bout of {', '.join(never)} anywhere", is_dropped=False))
    return made


def from_project(folder: Path, found: Search, behaviors: Sequence[str]) -> list[LabelRow]:
    """The tags of a Supervisely project as rows; a tag's number is its count of repeats."""
    rows = []
    for one in found.videos:
        path = folder / datasets.sibling(one.name, "ann", ".json")
        if not path.exists():
            continue
        for number, tag in enumerate(supervisely.read_annotation(path).tags):
            if tag.name == supervisely.CONFIDENCE:
                continue
            frames = tag.frames or FrameRange(0, one.info.num_frames)
            count = int(tag.value) if isinstance(tag.value, int | float) and tag.value >= 1 else 1
            rows.append(
                LabelRow(one.name, tag.name, frames.start_frame, frames.end_frame, count, tag.rater,
                         f"{path.relative_to(folder).as_posix()}!tag {number}", is_frames=True)
            )  # fmt: skip
    return rows


def write_import(made: Import, root: Path, behaviors: Sequence[str], storage: str, sources: Sequence[str]) -> Dataset:
    """Put videos, labels and manifest into ``root``; labels that came from another file than ``sources`` stay."""
    exists = (root / datasets.MANIFEST_NAME).exists()
    dataset = datasets.read(root) if exists else Dataset(root, tuple(behaviors))
    if dataset.behaviors != tuple(behaviors):
        raise SettingsError(
            f"{root}: holds the behaviours {', '.join(dataset.behaviors)}, not {', '.join(behaviors)}. "
            "Give the same --behaviors, or import into another --dataset."
        )
    for entry in made.entries:
        known = next((one for one in dataset.videos if one.path == entry.path), None)
        if known is not None:
            entry = replace(entry, split=known.split, provenance=known.provenance)
        kept = datasets.read_labels(dataset, entry)
        kept = tuple(label for label in kept if label.origin and label.origin.split("!")[0] not in sources)
        keep(made.files[entry.path], dataset.video_path(entry), storage)
        dataset = dataset.with_entry(datasets.write_labels(dataset, entry, (*kept, *made.labels[entry.path])))
    datasets.write(dataset)
    return dataset


def report(made: Import, behaviors: Sequence[str]) -> str:
    """What an import would do, for people."""
    dropped = [problem for problem in made.problems if problem.is_dropped]
    lines = [f"{problem.origin}: {problem.text}" for problem in made.problems] + made.notes
    lines += ["", f"{len(made.entries)} videos, {sum(entry.duration_s for entry in made.entries) / 60:.1f} minutes"]
    for behavior in behaviors:
        mine = [label for labels in made.labels.values() for label in labels if label.behavior == behavior]
        frames = sum(len(label.frames) for label in mine)
        lines.append(f"  {behavior}: {len(mine)} bouts, {frames} frames, {sum(label.count for label in mine)} repeats")
    subjects = sorted({entry.subject for entry in made.entries} - {""})
    shown = ", ".join(subjects[:8]) + (" ..." if len(subjects) > 8 else "")
    lines.append(f"  animals: {len(subjects)} ({shown or 'none named: give a column or --subject-pattern'})")
    lines.append(f"{len(dropped)} rows or files left out, {len(made.problems) - len(dropped)} to look at")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, help="folder of videos, or a Supervisely video project")
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="tables or BORIS projects")
    parser.add_argument("--mapping", type=Path, help="which column means what; see --guess")
    parser.add_argument("--guess", action="store_true", help="write a mapping for the first label file, and stop")
    parser.add_argument("--dataset", type=Path, default=Path("dataset"), help="the data set's folder")
    parser.add_argument("--name", default="videos", help="name of this batch of videos within the data set")
    parser.add_argument(
        "--behaviors", default=",".join(BEHAVIORS), help="the classes, in order, without the background"
    )
    parser.add_argument("--storage", choices=tuple(KINDS), default="copy", help="how videos are kept")
    parser.add_argument("--subject-pattern", help="regular expression on a video's path with a group named subject "
                        "(also group, phase, session), as in '(?P<subject>m[0-9]+)'")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="do it; without, only the report is made")
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> int:
    behaviors = tuple(name.strip() for name in arguments.behaviors.split(",") if name.strip())
    if arguments.guess:
        if not arguments.labels:
            raise SettingsError("--guess: a table to guess from expected, give it with --labels.")
        sheets = read_sheets(arguments.labels[0])
        target = arguments.mapping or Path("mapping.toml")
        if target.exists():
            raise SettingsError(f"{target}: is there already; remove it, or name another with --mapping.")
        atomic.write_text(target, mappings.to_toml(mappings.guess(sheets, behaviors), sheets))
        print(f"wrote {target}: look through it, then import with --mapping {target}")
        return 0
    try:
        pattern = re.compile(arguments.subject_pattern) if arguments.subject_pattern else None
    except re.error as error:
        raise SettingsError(f"--subject-pattern: a regular expression expected ({error})") from error
    mapping = mappings.read(arguments.mapping) if arguments.mapping else None
    found = search(arguments.videos)
    rows: list[LabelRow] = []
    said = Import()
    if arguments.videos.is_dir() and supervisely.is_project(arguments.videos):
        rows += from_project(arguments.videos, found, behaviors)
    for path in arguments.labels:
        more, about = read_rows(path, mapping, behaviors)
        rows += more
        said.problems += about.problems
        said.notes += about.notes
    made = plan_import(found, rows, arguments.name, arguments.storage, behaviors, pattern)
    made.problems = [*said.problems, *made.problems]
    made.notes = [*said.notes, *made.notes]
    print(report(made, behaviors))
    if not found.videos:
        raise SettingsError(f"--videos: no video in {arguments.videos}.")
    if arguments.write:
        sources = {row.origin.split("!")[0] for row in rows}
        write_import(made, arguments.dataset, behaviors, arguments.storage, sorted(sources))
        print(f"written to {arguments.dataset}")
    else:
        print("nothing is written yet; run it again with --write")
    return 1 if any(problem.is_dropped for problem in made.problems) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    return guarded(lambda: run(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
