"""The tables: every bout (`intervals.csv`), every input file (`videos.csv`), every box of one video (`boxes/*.csv`).

UTF-8, comma, decimal point, half-open frame ranges, seconds from the first frame. There is no byte order mark: with
one, R and Python's csv would read the first column's name as "\\ufeffvideo". Excel shows names beyond ASCII rightly
when the file is opened by Data > From Text/CSV.

Text that a spreadsheet would run as a formula (it begins with = + - @) gets a leading apostrophe; the JSON has it
as it is.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mousetal.errors import RecordError
from mousetal.seconds import bout_seconds, seconds_at
from mousetal.types import Bout, FrameBox, VideoResult

INTERVAL_COLUMNS = (
    "video", "behavior", "start_frame", "end_frame", "start_s", "end_s", "duration_s", "count", "confidence",
    "mean_probability", "box_x1", "box_y1", "box_x2", "box_y2", "source", "model", "flags",
)  # fmt: skip
VIDEO_COLUMNS = (
    "video", "status", "reason", "bouts", "frames", "decoded_frames", "duration_s", "fps", "width", "height",
    "not_scored_s", "seconds", "warnings",
)  # fmt: skip
BOX_COLUMNS = ("frame", "time_s", "x1", "y1", "x2", "y2", "score", "source")

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
TIME_DIGITS = 6  # a microsecond, finer than any container's clock that a camera writes


@dataclass(frozen=True, slots=True)
class VideoRow:
    """What became of one input file, light enough to keep one for each of thousands.

    ``status`` is "done", "failed" or "skipped" (finished by an earlier run); ``seconds`` is the time this run spent.
    ``bouts`` counts per behaviour. The facts of a file that failed are zero.
    """

    video: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    bouts: Mapping[str, int] = field(default_factory=dict)
    num_frames: int = 0
    decoded_frames: int = 0
    duration_s: float = 0.0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    not_scored_s: float = 0.0
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: VideoResult, status: str, seconds: float) -> VideoRow:
        """The row of a video that has results."""
        info, background = result.info, result.classifier.background
        names = [name for number, name in enumerate(result.classifier.classes) if number != background]
        found = Counter(bout.behavior for bout in result.bouts)
        return cls(
            video=result.video,
            status=status,
            seconds=seconds,
            bouts={name: found[name] for name in names},
            num_frames=info.num_frames,
            decoded_frames=result.decoded_frames,
            duration_s=info.duration_seconds,
            fps=float(info.fps),
            width=info.width,
            height=info.height,
            not_scored_s=sum(
                seconds_at(info, gap.frames.end_frame) - seconds_at(info, gap.frames.start_frame)
                for gap in result.not_scored
            ),
            warnings=result.warnings,
        )


def intervals_text(rows: Iterable[Sequence[object]]) -> str:
    """One row per bout over all videos, as `interval_rows` makes them."""
    return table_text(INTERVAL_COLUMNS, rows)


def interval_rows(result: VideoResult) -> list[list[object]]:
    """One row per bout of a video, in order of time."""
    return [_interval_row(result, bout) for bout in result.bouts]


def videos_text(rows: Iterable[VideoRow]) -> str:
    """One row per input file: done, failed (with the reason) or skipped."""
    return table_text(VIDEO_COLUMNS, (_video_row(row) for row in rows))


def boxes_text(result: VideoResult) -> str:
    """One row per sampled frame on which the animal's place is known, in pixels of the video as displayed."""
    return box_table(result.boxes, lambda frame: seconds_at(result.info, frame))


def box_table(boxes: Iterable[FrameBox], seconds_of: Callable[[int], float]) -> str:
    """One row per box; ``seconds_of`` tells when a frame is shown."""
    rows = (
        [
            box.frame_index,
            round(seconds_of(box.frame_index), TIME_DIGITS),
            *(round(side, 2) for side in box.box_xyxy),
            round(box.score, 4),
            box.source,
        ]
        for box in boxes
    )
    return table_text(BOX_COLUMNS, rows)


def read_boxes(path: Path) -> tuple[FrameBox, ...]:
    """The rows of a table that `box_table` wrote; raises RecordError naming the line that is wrong."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            return tuple(
                FrameBox(
                    int(row["frame"]),
                    (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"])),
                    float(row["score"]),
                    row["source"],
                )
                for row in rows
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{path}: expected a table of boxes with columns {', '.join(BOX_COLUMNS)} ({error})."
        ) from error


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ",") -> str:
    """A CSV table with a header."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def safe(text: str) -> str:
    """``text`` as a spreadsheet shows it and never runs it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _interval_row(result: VideoResult, bout: Bout) -> list[object]:
    """One bout. ``count`` is 1: the model counts a bout as one occurrence, a person may count repeats within it."""
    start, end = bout_seconds(result.info, bout)
    return [
        safe(result.video),
        safe(bout.behavior),
        bout.start_frame,
        bout.end_frame,
        round(start, TIME_DIGITS),
        round(end, TIME_DIGITS),
        round(end - start, TIME_DIGITS),
        1,
        round(bout.confidence, 6),
        round(bout.mean_probability, 6),
        *(bout.box_xyxy or ("", "", "", "")),
        "model",
        safe(f"{result.classifier.name}@{result.classifier.sha256[:12]}"),
        safe(";".join(bout.flags)),
    ]


def _video_row(row: VideoRow) -> list[object]:
    facts: list[object] = [
        sum(row.bouts.values()),
        row.num_frames,
        row.decoded_frames,
        round(row.duration_s, TIME_DIGITS),
        round(row.fps, 4),
        row.width,
        row.height,
        round(row.not_scored_s, TIME_DIGITS),
    ]
    return [
        safe(row.video),
        row.status,
        safe(row.reason),
        *(facts if row.status != "failed" else [""] * len(facts)),
        round(row.seconds, 2),
        safe("; ".join(row.warnings)),
    ]
