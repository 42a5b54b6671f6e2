"""Videos and the labels people keep of them, into a data set.

    python -m training.import_videos --videos V --labels scores.xlsx --guess mapping.toml    # look, then edit
    python -m training.import_videos --videos V --labels scores.xlsx --mapping mapping.toml  # what would happen
    python -m training.import_videos ... --dataset dataset --name cohort3 --write            # do it

Labels: xlsx and csv in most shapes (see the mapping), BORIS projects and tables, Supervisely projects, our own
intervals.csv; the last three need no mapping. Nothing is written before --write. Run again, it takes over what changed:
labels once read from a file of the same name give way (the report lists them), all others stay.

Exit codes: 0 all well, 1 something was left out or failed (the report says what), 2 wrong usage or mapping, 3 a defect
of ours, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mousetal import atomic
from mousetal.errors import SettingsError
from mousetal.formats import supervisely
from training import datasetlock
from training.exitcodes import FAILED, OK, guarded
from training.importing import earlier, guess, report
from training.importing.mapping import Mapping, read_mapping
from training.importing.plan import Plan, make_plan
from training.importing.rows import Trouble, VideoFacts
from training.importing.sources import read_source
from training.importing.store import STORAGES, Stored, open_dataset, store
from training.importing.videos import Found, checked_pattern, facts_by_pattern, find_videos, stored_videos


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return guarded(lambda: _import(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.import_videos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--videos", type=Path, help="a folder of videos (with subfolders), a Supervisely project, or one video; "
        "without it the labels are for videos that the data set has already")  # fmt: skip
    add(
        "--labels", type=Path, nargs="*", default=[], metavar="FILE", help="xlsx, csv, .boris, or a Supervisely project"
    )
    add("--mapping", type=Path, help="mapping.toml: what the columns of the tables mean")
    add("--guess", type=Path, metavar="FILE", help="write a mapping for the first table here, to look at and to edit")
    add("--dataset", type=Path, default=Path("dataset"), help="folder of the data set (default: dataset)")
    add("--name", default="videos", help="what this set of videos is called in it (default: videos)")
    add("--storage", choices=STORAGES, default="copy", help="how videos are kept (default: copy)")
    add("--rater", default="", help="who scored, where the labels don't say it")
    add("--subject-pattern", default="", metavar="REGEX",
        help="finds subject, group, phase, session in a video's path by named groups, or just the subject")  # fmt: skip
    add("--unnamed", choices=("unscored", "scored"), default="unscored",
        help="a video that no table names: nobody looked at it (unscored), or nothing was seen (scored)")  # fmt: skip
    add("--check-frames", action="store_true", help="decode every frame to count those that can be (slow)")
    add("--report", type=Path, metavar="FILE", help="write what becomes of every row to this csv")
    add("--all", action="store_true", help="show every trouble, not the first ones of each kind")
    add("--write", action="store_true", help="do it; without, only the report is made")
    return parser


def _import(arguments: argparse.Namespace) -> int:
    if not arguments.name or "/" in arguments.name or arguments.name.startswith("."):
        raise SettingsError(f"--name: expected the plain name of a folder, got {arguments.name!r}.")
    if arguments.guess:
        return _guess(arguments)
    found, plan = _plan(arguments)
    _tell("")
    print(report.text(found, plan, is_full=arguments.all))
    if arguments.report:
        atomic.write_text(arguments.report, report.fates_text(plan.fates, plan.troubles))
    failed = plan.has_losses
    if arguments.write:
        with datasetlock.hold(arguments.dataset):
            stored = store(
                plan, open_dataset(arguments.dataset), arguments.name, arguments.storage,
                is_project=found.is_project, tell=_tell,
            )  # fmt: skip
        print(_stored_text(stored))
        failed = failed or bool(stored.failed)
    else:
        print("\nNothing was written. If this is right, run it again with --write.")
    return FAILED if failed else OK


def _guess(arguments: argparse.Namespace) -> int:
    if not arguments.labels:
        raise SettingsError("--guess: expected --labels with the table to guess from.")
    first = arguments.labels[0]
    if first.is_dir() or first.suffix.lower() == ".boris":
        raise SettingsError(f"--guess: {first} is a project, which needs no mapping; leave --guess out.")
    names = [video.name for video in _find(arguments).videos] if arguments.videos else []
    text, remarks = guess.guess(first, names)
    if arguments.guess.exists():
        raise SettingsError(f"{arguments.guess}: exists already; it may hold your edits. Name another file.")
    atomic.write_text(arguments.guess, text)
    print("\n".join([*remarks, f"{arguments.guess} written. Look at it, edit it, then use it with --mapping."]))
    return OK


def _find(arguments: argparse.Namespace) -> Found:
    if arguments.videos is None:
        return stored_videos(open_dataset(arguments.dataset), arguments.name, _tell)
    return find_videos(arguments.videos, arguments.dataset, count_decodable=arguments.check_frames, tell=_tell)


def _plan(arguments: argparse.Namespace) -> tuple[Found, Plan]:
    pattern = checked_pattern(arguments.subject_pattern) if arguments.subject_pattern else ""
    mapping = read_mapping(arguments.mapping) if arguments.mapping else None
    sources = list(arguments.labels)
    if arguments.videos and arguments.videos.is_dir() and supervisely.is_project(arguments.videos):
        sources.insert(0, arguments.videos)
    tables = [read_source(path, mapping, arguments.rater) for path in sources]
    found = _find(arguments)
    rules = mapping or Mapping()
    plan = make_plan(
        found, tables, rules.video.aliases, rules.time.beyond, unnamed_are_scored=arguments.unnamed == "scored"
    )
    plan.troubles += earlier.same_names(sources)
    earlier.tell(plan, open_dataset(arguments.dataset), sources)
    if pattern:
        for video in plan.videos:
            found_facts = facts_by_pattern(pattern, video.found.name)
            if found_facts == VideoFacts():
                why = f"--subject-pattern {pattern!r} finds nothing in its path"
                plan.troubles.append(Trouble("pattern that does not fit", video.found.name, why, is_loss=False))
            video.facts = video.facts.completed_by(found_facts)
    return found, plan


def _tell(name: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{name}", end="\r", file=sys.stderr, flush=True)


def _stored_text(stored: Stored) -> str:
    lines = [f"\n{stored.dataset.root}: {len(stored.new)} videos added, {len(stored.known)} were there already"]
    lines += [f"  FAILED {name}: {why}" for name, why in stored.failed]
    lines.append(f"  behaviours: {', '.join(stored.dataset.behaviors) or 'none yet'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
