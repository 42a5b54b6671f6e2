"""Which file a label means, by what people write for it: a path on another computer, a name, a name without ending."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

PLAYER = re.compile(r"^player #\d+:\s*", re.IGNORECASE)  # how BORIS begins a source
SUGGESTIONS = 3
PROJECT_FOLDERS = ("datasets", "video")


@dataclass(frozen=True, slots=True)
class Match:
    """``video`` is the file meant, "" where there is none or more than one; ``candidates`` is what it might be then."""

    video: str
    candidates: tuple[str, ...] = ()
    is_ambiguous: bool = False


class Matcher:
    """Finds the one of ``videos`` (paths with forward slashes) that is meant; ``aliases`` lead from names to videos.

    Tried in turn: an alias; the path or its last parts; the name; the name without endings; then all that again with
    upper and lower case alike. The first that fits exactly one video counts, and what fits several is no match.
    """

    def __init__(self, videos: Sequence[str], aliases: Mapping[str, str]) -> None:
        self.aliases = aliases
        self.videos = tuple(videos)
        self.by_stem: dict[str, list[str]] = {}  # whatever fits has the same name but for endings
        for video in videos:
            self.by_stem.setdefault(PurePosixPath(_clean(video)).stem.casefold(), []).append(video)

    def find(self, written: str) -> Match:
        """The match for a name as it is written in a table."""
        name = _clean(self.aliases.get(written, self.aliases.get(written.strip(), written)))
        whole = PurePosixPath(name)
        alike = [video for stem in dict.fromkeys((whole.stem, whole.name))
                 for video in self.by_stem.get(stem.casefold(), ())]  # fmt: skip
        for same in (str, str.casefold):
            wanted = PurePosixPath(same(name))
            keyed = [(video, PurePosixPath(same(_clean(video)))) for video in alike]
            for fits in (_is_tail, _has_name, _has_stem):
                found = tuple(video for video, path in keyed if fits(wanted, path))
                if len(found) == 1:
                    return Match(found[0])
                if found:
                    return Match("", found, is_ambiguous=True)
        return Match("", self._similar(whole))

    def _similar(self, name: PurePosixPath) -> tuple[str, ...]:
        stems = difflib.get_close_matches(name.stem.casefold(), list(self.by_stem), SUGGESTIONS)
        return tuple(self.by_stem[stem][0] for stem in stems)


def _clean(text: str) -> str:
    """A path with forward slashes and one way of writing accents (macOS has another)."""
    return unicodedata.normalize("NFC", PLAYER.sub("", text.strip()).replace("\\", "/"))


def _is_tail(wanted: PurePosixPath, path: PurePosixPath) -> bool:
    """Whether one path ends with all of the other, counted in whole parts: at least a folder and a name, or equal.

    The folders that a Supervisely project puts between (``a/datasets/b/video/m1.mp4``) make no difference.
    """
    one, other = ([part for part in p.parts if part not in PROJECT_FOLDERS] for p in (wanted, path))
    shared = min(len(one), len(other))
    return wanted == path or (shared > 1 and one[-shared:] == other[-shared:])


def _has_name(wanted: PurePosixPath, path: PurePosixPath) -> bool:
    return wanted.name == path.name


def _has_stem(wanted: PurePosixPath, path: PurePosixPath) -> bool:
    """Also ``m1`` for ``m1.mp4`` and ``m1.avi`` for the converted ``m1.mp4``; ``m1.5`` is no ending."""
    return wanted.name == path.stem or (wanted.stem == path.stem and wanted.suffix[1:2].isalpha())
