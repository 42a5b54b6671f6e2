"""What people call columns: names to roles and units, and which rows are the header.

"Start_time [s]"  ->  role start, unit seconds           "onset (ms)"  ->  role start, unit milliseconds
"StartFrame"      ->  role start, unit frame             "Grooming End"  ->  the end of Grooming
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from mousetal.formats.tables import Cell, DayTime, Sheet
from training.importing.grid import plain

# What columns are called, the surest word first. The order of the roles decides who gets a column that fits two.
WORDS: dict[str, tuple[str, ...]] = {
    "video": ("video", "video file", "video id", "file", "filename", "media file", "recording", "movie", "clip",
              "datei", "videodatei", "film"),
    "event": ("event type", "start/stop", "status", "behavior type", "event"),
    "start": ("start", "from", "onset", "begin", "beginning", "von", "beginn", "anfang"),
    "end": ("end", "stop", "to", "offset", "finish", "bis", "ende", "stopp"),
    "duration": ("duration", "length", "dauer"),
    "behavior": ("behavior", "behaviour", "behaviors", "behaviours", "action", "label", "annotation", "type",
                 "verhalten", "code", "event"),
    "time": ("time", "timestamp", "time stamp", "seconds", "frame", "frame number", "zeit", "zeitpunkt"),
    "count": ("count", "counts", "repeats", "number", "n", "anzahl"),
    "rater": ("rater", "observer", "experimenter", "scorer", "annotator", "coder", "scored by"),
    "subject": ("subject", "animal", "animal id", "mouse", "mouse id", "rat", "id", "tier"),
    "group": ("group", "treatment", "genotype", "condition", "gruppe"),
    "phase": ("phase", "trial phase"),
    "session": ("session", "day", "date"),
}  # fmt: skip
REMARKS = ("comment", "comments", "note", "notes", "remark", "remarks", "kommentar", "bemerkung", "bemerkungen")
UNITS = {
    "s": "seconds", "sec": "seconds", "secs": "seconds", "second": "seconds", "seconds": "seconds", "sek": "seconds",
    "ms": "milliseconds", "msec": "milliseconds", "milliseconds": "milliseconds",
    "frame": "frame", "frames": "frame", "fr": "frame",
    "mm:ss": "mm:ss", "m:ss": "mm:ss", "min:sec": "mm:ss", "min:s": "mm:ss", "minutes:seconds": "mm:ss",
    "hh:mm:ss": "hh:mm:ss", "h:mm:ss": "hh:mm:ss", "h:m:s": "hh:mm:ss",
}  # fmt: skip
MINUTES = ("min", "mins", "minute", "minutes")  # no unit of ours, and never to be taken for seconds
EMPTY_WORDS = ("time", "name", "zeit", "number", "nr", "no")  # "start time" is a start
HEADER_ROWS = 30
BRACKETS = re.compile(r"[(\[]([^)\]]*)[)\]]")
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
KNOWN = {word for all_ in WORDS.values() for word in all_}


def forms(name: str) -> tuple[str, ...]:
    """A column's name as it may be among WORDS: as it is, without unit, without words that say nothing."""
    whole = " ".join(_words(BRACKETS.sub(" ", name)))
    words = whole.split()
    without_unit = _stripped(words, {*UNITS, *MINUTES})
    return tuple(dict.fromkeys((plain(name), whole, " ".join(without_unit),
                                " ".join(_stripped(without_unit, set(EMPTY_WORDS))))))  # fmt: skip


def unit_of(name: str) -> str:
    """The unit that a column's name tells, one of UNITS' or "minutes", else ""."""
    inside = [text for found in BRACKETS.findall(name) for text in (plain(found), *plain(found).split())]
    words = _words(BRACKETS.sub(" ", name))
    for text in (*inside, *words[1:], *(words if len(words) == 1 else ())):
        stem = text.partition(".")[0]  # mm:ss.f
        if stem in UNITS:
            return UNITS[stem]
        if stem in MINUTES:
            return "minutes"
    return "frame" if "frame" in words else ""


def is_called(name: str, role: str) -> bool:
    return any(form in WORDS[role] for form in forms(name))


def is_remark(name: str) -> bool:
    return any(form in REMARKS for form in forms(name))


def named(role: str, names: Sequence[str], unit: str = "") -> str:
    """The one of ``names`` that fits a role best, "" where none does.

    Those in ``unit`` come before others; without one, seconds before frames, whose last one may count in or not.
    """
    fitting = [
        (unit_of(name) != unit if unit else unit_of(name) == "frame", WORDS[role].index(form), number, name)
        for number, name in enumerate(names)
        for form in forms(name)
        if form in WORDS[role]
    ]
    return min(fitting)[3] if fitting else ""


def side_of(name: str) -> tuple[str, str]:
    """What a column holds the start or end of, and which: "Grooming_End (s)" -> Grooming, end; else "", ""."""
    words = BRACKETS.sub(" ", CAMEL.sub(" ", name)).replace("_", " ").split()
    words = _stripped(words, {*UNITS, *EMPTY_WORDS})
    for stem, word in ((words[:-1], words[-1:]), (words[1:], words[:1])):
        for role in ("start", "end"):
            if stem and plain(word[0]) in WORDS[role]:
                return " ".join(stem), role
    return "", ""


def header_rows(sheet: Sheet) -> tuple[int, ...]:
    """The rows (from 1) of the header, two where behaviours stand above start and end; none where there is no header.

    It is the row with most names that are known or, where none is, the first that is not empty, unless times are in it.
    """
    scores = Counter({
        number: sum(any(form in KNOWN for form in forms(cell.text)) for cell in row if not cell.is_empty)
        for number, row in enumerate(sheet.rows[:HEADER_ROWS], 1)
    })  # fmt: skip
    best = max(scores, key=lambda number: (scores[number], -number), default=0)
    if not best or not scores[best]:
        best = next(number for number, row in enumerate(sheet.rows, 1) if not all(cell.is_empty for cell in row))
        return () if any(_is_number(cell) for cell in sheet.rows[best - 1]) else (best,)
    texts = [plain(cell.text) for cell in sheet.rows[best - 1] if not cell.is_empty]
    above = sheet.rows[best - 2] if best > 1 else ()
    is_repeated = len(set(texts)) < len(texts)
    return (best - 1, best) if is_repeated and len({cell.text for cell in above} - {""}) > 1 else (best,)


def _words(text: str) -> list[str]:
    return plain(re.sub(r"[_.\s]+", " ", CAMEL.sub(" ", text))).split()


def _stripped(words: list[str], which: set[str]) -> list[str]:
    """The words without ``which``; all of them where nothing else is there."""
    return [word for word in words if plain(word) not in which] or words


def _is_number(cell: Cell) -> bool:
    if isinstance(cell.value, float | DayTime):
        return True
    return bool(re.fullmatch(r"[\d:]+(?:[.,]\d+)?", cell.text))
