"""What a table says, row by row, before any video is looked at.

A `LabelRow` is one bout as written: the video's name, the behaviour by its own name, times. A `Trouble` is a place in
the table that is no bout though it should be one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SECONDS, FRAMES = "seconds", "frames"
FACTS = ("subject", "group", "phase", "session")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One bout as a table has it, half-open.

    ``start`` and ``end`` are seconds from the video's first frame or, with unit "frames", numbers of its frames from 0;
    ``end`` is None for an instant, which lasts one frame. ``confidence`` is how sure a program was, where it says so.
    """

    video: str
    behavior: str
    start: float
    end: float | None
    unit: str = SECONDS
    count: int = 1
    rater: str = ""
    origin: str = ""
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something a person should know. ``kind`` sorts; ``is_loss`` says that a row was left out for it."""

    kind: str
    origin: str
    message: str
    is_loss: bool = True


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What labels' files say of a video beside its labels, the first that says something counting."""

    subject: str = ""
    group: str = ""
    phase: str = ""
    session: str = ""

    def completed_by(self, other: VideoFacts) -> VideoFacts:
        return VideoFacts(
            self.subject or other.subject,
            self.group or other.group,
            self.phase or other.phase,
            self.session or other.session,
        )


def contradictions(video: str, known: VideoFacts, said: VideoFacts, origin: str) -> list[Trouble]:
    """A trouble for each fact of which ``said`` tells another thing than ``known``."""
    return [
        Trouble("contradiction", origin, f"{name} of {video} is {before!r} and here {now!r}; kept: the first", False)
        for name in FACTS
        if (before := getattr(known, name)) and (now := getattr(said, name)) and before != now
    ]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """All that one file of labels says.

    ``facts`` has every video that the file names, also those in which nothing was seen. ``scored`` has per video the
    parts that were scored, where the file tells them: none where it says that nobody looked. ``behaviors`` are those
    that the file declares, seen or not; ``looked_for`` those that were looked for, empty where it doesn't say, and
    ``looked_for_in`` the same for videos of which it says something else.
    """

    source: str
    rows: tuple[LabelRow, ...]
    facts: dict[str, VideoFacts] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()
    scored: dict[str, tuple[LabelRow, ...]] = field(default_factory=dict)
    behaviors: tuple[str, ...] = ()
    looked_for: tuple[str, ...] = ()
    looked_for_in: dict[str, tuple[str, ...]] = field(default_factory=dict)
