"""All videos of a run, a few at a time: skip what is done, analyse the rest, keep going when one fails.

A video ends as `done`, `failed` (with the reason) or `skipped` (done by an earlier run). Two things stop a batch: a
service that stays away and an output that can't be written; the videos left over then say so.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from inference_script import outputs, thumbnails
from inference_script.fingerprint import ContentHashes, fingerprint
from inference_script.inputs import Inputs, InputVideo
from inference_script.models import Models
from inference_script.progress import Progress, stage_rates
from inference_script.video_job import Company, GaveUpError, analyse_video, plan_of
from mousetal import atomic, heap, records
from mousetal.errors import MousetalError, OutputError, RecordError, ServiceUnavailable, VideoError
from mousetal.formats.csv import VideoRow, interval_rows
from mousetal.meter import StageMeter
from mousetal.parts import PartFolder
from mousetal.settings import DriverSettings
from mousetal.sidebyside import finished
from mousetal.types import VideoResult
from mousetal.video import probe

log = logging.getLogger(__name__)

DONE, FAILED, SKIPPED = "done", "failed", "skipped"
MOST_GIVEN_UP = 2  # videos in a row at which a service gave out before the batch ends
DEFECT = "a defect of mousetal, not of the video"


@dataclass(frozen=True)
class Batch:
    """What all videos of a run share."""

    settings: DriverSettings
    inputs: Inputs
    models: Models
    hashes: ContentHashes
    is_forced: bool = False
    meter: StageMeter = field(default_factory=StageMeter)
    company: Company = field(default_factory=Company)

    def stop(self) -> None:
        """End the videos under way; what was found of them is kept."""
        self.company.is_over.set()
        self.models.stop()

    @property
    def foreign_folder(self) -> Path:
        """Where foreign formats go, in a folder that is named like the input, as the reference system has it."""
        return self.settings.output / self.inputs.name


@dataclass
class Outcome:
    """What became of the videos. ``stopped`` says why the batch ended early, ``defects`` holds tracebacks."""

    rows: list[VideoRow] = field(default_factory=list)
    intervals: list[list[object]] = field(default_factory=list)
    stopped: str = ""
    defects: list[str] = field(default_factory=list)


def run(batch: Batch, outcome: Outcome) -> None:
    """Work through the videos, filling ``outcome``; whatever ends the batch, every video has its row.

    Finished videos come first, so that the tables of a run that is cut short hold them too.
    """
    outcome.rows += [VideoRow(name, FAILED, reason) for name, reason in batch.inputs.unreadable]
    left = dict.fromkeys(batch.inputs.videos)
    try:
        for video in batch.inputs.videos:
            if _skip(batch, video, outcome):
                del left[video]
        _analyse_all(batch, left, outcome)
    except (ServiceUnavailable, OutputError) as error:
        outcome.stopped = str(error)
    except KeyboardInterrupt:
        outcome.stopped = "interrupted"
        raise
    finally:
        reason = f"not run: {outcome.stopped or 'the driver stopped'}"
        outcome.rows += [VideoRow(video.name, FAILED, reason) for video in left]
        outcome.rows.sort(key=lambda row: row.video)
        outcome.intervals.sort(key=lambda row: str(row[0]))


def results_of(batch: Batch, rows: list[VideoRow]) -> Iterator[VideoResult]:
    """The results behind the rows, read back one at a time, so that thousands of videos fit in memory."""
    for row in rows:
        if row.status != FAILED:
            yield records.read_video(batch.settings.output, row.video)


def _skip(batch: Batch, video: InputVideo, outcome: Outcome) -> bool:
    """Whether the video is finished; then its row and bouts are in ``outcome``."""
    output = batch.settings.output
    stored = None if batch.is_forced else records.read_fingerprint(output, video.name)
    try:
        # Only where there is something to compare with is the file read: a new one is read when its turn comes.
        if stored is None or stored != _key(batch, video):
            return False
        result = records.read_video(output, video.name)
    except (RecordError, VideoError) as error:
        log.warning("A stored result is of no use; the video is done again. video=%s %s", video.name, error)
        return False
    outputs.write_formats(batch.foreign_folder, video, result, batch.settings.formats, again=False)
    _add(outcome, VideoRow.of(result, SKIPPED, 0.0), interval_rows(result))
    return True


@dataclass(frozen=True)
class _Made:
    """What came of one video: its row with its bouts, or the error that it failed by."""

    row: VideoRow
    intervals: list[list[object]] = field(default_factory=list)
    error: Exception | None = None


def _analyse_all(batch: Batch, left: dict[InputVideo, None], outcome: Outcome) -> None:
    """Analyse the videos in ``left``, taking each out when it is through."""
    given_up = 0  # videos in a row at which a service gave out
    at_once = min(batch.settings.videos_at_once, max(1, len(left)))
    with Progress(len(left), sum(video.size for video in left), at_once) as progress:
        work = partial(_tried, batch, progress)
        with closing(finished(work, list(left), at_once, batch.stop)) as through:
            for video, made in through:
                _add(outcome, made.row, made.intervals, made.error)
                del left[video]
                progress.finish(video.name, video.size)
                heap.give_back()
                given_up = given_up + 1 if isinstance(made.error, GaveUpError) else 0
                if given_up == MOST_GIVEN_UP:
                    raise ServiceUnavailable(f"a service gave out on {given_up} videos in a row; see its log")


def _tried(batch: Batch, progress: Progress, video: InputVideo) -> _Made:
    """One video's analysis. Raises only what must end the batch."""
    started = time.monotonic()
    try:
        result = _one(batch, video, progress)
    except MousetalError as error:
        if isinstance(error, ServiceUnavailable) or not _is_writable(batch.settings.output):
            raise
        return _Made(VideoRow(video.name, FAILED, str(error), time.monotonic() - started), error=error)
    except Exception as error:  # noqa: BLE001  a defect met on one video must not cost the others; exit code 3
        reason = f"{DEFECT}: {error!r}"
        return _Made(VideoRow(video.name, FAILED, reason, time.monotonic() - started), error=error)
    return _Made(VideoRow.of(result, DONE, time.monotonic() - started), interval_rows(result))


def _add(outcome: Outcome, row: VideoRow, intervals: list[list[object]], error: Exception | None = None) -> None:
    outcome.rows.append(row)
    outcome.intervals += intervals
    if error is None:
        log.info(
            "Video %s. video=%s bouts=%d frames=%d seconds=%.1f warnings=%d",
            *(row.status, row.video, len(intervals), row.num_frames, row.seconds, len(row.warnings)),
        )
        return
    log.error("Video failed. video=%s reason=%s", row.video, row.reason)
    if not isinstance(error, MousetalError):
        outcome.defects.append("".join(traceback.format_exception(error)))


def _key(batch: Batch, video: InputVideo) -> str:
    models = batch.models
    return fingerprint(batch.hashes.of(video.path), models.detector, models.classifier, batch.settings)


def _one(batch: Batch, video: InputVideo, progress: Progress) -> VideoResult:
    """Analyse one video and write all that belongs to it; what says that it is finished comes last."""
    output = batch.settings.output
    key = _key(batch, video)
    parts = PartFolder(output, video.name, key)
    if batch.is_forced:
        parts.remove()
    result = _analyse(batch, video, parts, progress)
    _write_thumbnails(output, result)
    outputs.write_formats(batch.foreign_folder, video, result, batch.settings.formats, again=True)
    records.write_video(output, result, key)
    parts.remove()
    return result


def _analyse(batch: Batch, video: InputVideo, parts: PartFolder, progress: Progress) -> VideoResult:
    settings, meter = batch.settings, StageMeter()
    info = probe(video.path)
    plan = plan_of(info, batch.models, settings)
    try:
        with progress.video(video.name, info.num_frames, video.size, meter.snapshot) as reach:
            return analyse_video(video.name, plan, batch.models, parts, meter, reach, batch.company)
    finally:
        for stage, (items, seconds) in meter.snapshot().items():
            batch.meter.add(stage, items, seconds)
        log.debug("Stages. video=%s %s", video.name, stage_rates(meter.snapshot()))


def _write_thumbnails(output: Path, result: VideoResult) -> None:
    """Pictures of the bouts; without them a report is poorer, and a result is no worse."""
    try:
        thumbnails.write(result.info, result, records.thumbnails_path(output, result.video))
    except VideoError as error:
        log.warning("No thumbnails. video=%s %s", result.video, error)


def _is_writable(output: Path) -> bool:
    """Whether a little more can be written. If not, the batch had better end than work in vain."""
    path = output / f".probe-{threading.get_ident()}"
    try:
        atomic.write_bytes(path, bytes(1 << 16))
        path.unlink()
    except (OutputError, OSError):
        return False
    return True
