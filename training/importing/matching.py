"""Names of videos in a table to files: by path, name, stem; upper and lower case alike; never by a guess."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Matches:
    """``files`` maps a table's name to a file's path; ``unmatched`` maps one to what is wrong and the nearest files."""

    files: dict[str, str]
    unmatched: dict[str, str]


def match(names: Iterable[str], files: Sequence[str]) -> Matches:
    """The file that each name means. A name that fits several files is not matched: it is for a person to say which."""
    found: dict[str, str] = {}
    unmatched: dict[str, str] = {}
    for name in dict.fromkeys(names):
        fitting = _fitting(name, files)
        if len(fitting) == 1:
            found[name] = fitting[0]
        elif fitting:
            unmatched[name] = f"fits several videos: {', '.join(fitting[:4])}"
        else:
            stems = {PurePosixPath(file).stem: file for file in files}
            near = difflib.get_close_matches(PurePosixPath(name.replace("\\", "/")).stem, stems, 3, 0.5)
            unmatched[name] = "no such video" + (f"; nearest are {', '.join(stems[n] for n in near)}" if near else "")
    return Matches(found, unmatched)


def _tail(path: PurePosixPath, like: PurePosixPath) -> tuple[str, ...]:
    return path.parts[-len(like.parts) :]


def _fitting(name: str, files: Sequence[str]) -> list[str]:
    """Files that the name fits, by the strictest rule that any file passes."""
    wanted = PurePosixPath(name.replace("\\", "/").lower())
    rules = (
        lambda file: wanted in (file, file.with_suffix("")),
        lambda file: wanted.parts in (_tail(file, wanted), _tail(file.with_suffix(""), wanted)),
        lambda file: _tail(wanted, file) == file.parts,
        lambda file: file.name == wanted.name,
        lambda file: file.stem == wanted.name,
        lambda file: file.stem == wanted.stem,
    )
    for rule in rules:
        fitting = [file for file in files if rule(PurePosixPath(file.lower()))]
        if fitting:
            return fitting
    return []
