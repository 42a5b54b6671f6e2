"""One video from file to result: partial results on the way, and going on after a service went away."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from inference_script.models import Models
from mousetal.closing import close
from mousetal.errors import OutputError, ServiceError, ServiceUnavailable, VideoError
from mousetal.meter import StageMeter
from mousetal.packed import Packed, packed_results
from mousetal.parts import PartFolder
from mousetal.pipeline import analyse, finish
from mousetal.plan import Plan, WindowResult, resume_frame
from mousetal.settings import DriverSettings
from mousetal.types import VideoInfo, VideoResult
from mousetal.video import decode

log = logging.getLogger(__name__)

PART_EVERY_S = 20.0  # what a crash may cost
MOST_RETRIES = 3  # in a row, without a single window in between
# Before the second retry in a row, and twice as long before each further one. A service that dies again at once may be
# short of memory that is free again in a moment.
FIRST_PAUSE_S = 1.0

Reach = Callable[[int], None]


class Company:
    """What videos that are worked on side by side must know of each other.

    ``is_over`` is set when the run ends early. ``trouble`` is held by a video at which a service went away, until it is
    through: such videos go on one at a time, so that one that kills the service every time is not taken for another.
    """

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.trouble = threading.Lock()


class GaveUpError(ServiceError):
    """The services came back every time, and one went away again at the same place of the video."""


def analyse_video(
    name: str,
    plan: Plan,
    models: Models,
    parts: PartFolder,
    meter: StageMeter,
    reach: Reach,
    company: Company | None = None,
) -> VideoResult:
    """Everything about one video, going on from its parts if it has any; the parts stay, the caller removes them.

    ``reach`` is told the number of frames that are finished; ``company`` are the videos beside it. Raises VideoError,
    OutputError, ServiceError, GaveUpError when it is this video that a service can't stand, or ServiceUnavailable when
    one stays away or the run is over.
    """
    company = company or Company()
    results = packed_results(parts.load())
    if results:
        log.info("Going on from where it stopped. video=%s frame=%d", name, resume_frame(results, plan))
    retries = 0
    with contextlib.ExitStack() as turn:
        while True:
            known = len(results)
            try:
                _go_on(results, plan, models, parts, meter, reach, company)
                return _finished(name, results, plan)
            except ServiceUnavailable as error:
                if retries == 0:
                    turn.enter_context(company.trouble)
                if company.is_over.is_set():
                    raise
                retries = 1 if len(results) > known else retries + 1
                if retries > MOST_RETRIES:
                    told = f"{name}: a service went away {retries} times at the same place. {error}"
                    raise GaveUpError(told) from error
                log.warning(
                    "A service went away; waiting for it. video=%s try=%d of %d %s", name, retries, MOST_RETRIES, error
                )
                if company.is_over.wait(pause_s(retries)):
                    raise
                models.recover()


def pause_s(retries: int) -> float:
    """How long to wait before this retry in a row (from 1); the first is tried at once."""
    return FIRST_PAUSE_S * 2 ** (retries - 2) if retries > 1 else 0.0


def _go_on(
    results: Packed[WindowResult],
    plan: Plan,
    models: Models,
    parts: PartFolder,
    meter: StageMeter,
    reach: Reach,
    company: Company,
) -> None:
    """Append to ``results`` all windows that are not there yet, writing a part every now and then and when it stops."""
    frames = decode(plan.info, resume_frame(results, plan), plan.sampled_frames)
    stored, last_part = len(results), time.monotonic()
    stream = analyse(frames, models.detect, models.classify, plan, done=tuple(results), meter=meter)
    try:
        for result in stream:
            results.append(result)
            reach(result.score.window.frames.end_frame)
            if company.is_over.is_set():
                raise ServiceUnavailable("the run is over")
            if time.monotonic() - last_part >= PART_EVERY_S:
                parts.append(results[stored:])
                stored, last_part = len(results), time.monotonic()
    except BaseException:
        with contextlib.suppress(OutputError):  # what stopped us matters more; a full disk is met again soon enough
            parts.append(results[stored:])
        raise
    finally:
        close(stream)


def _finished(name: str, results: Packed[WindowResult], plan: Plan) -> VideoResult:
    found = finish(name, results, plan)
    if found.decoded_frames == 0:
        raise VideoError(
            f"{plan.info.path}: none of its {plan.info.num_frames} frames can be decoded. Export it again."
        )
    return found


def plan_of(info: VideoInfo, models: Models, settings: DriverSettings) -> Plan:
    """The plan for one video with these models."""
    return Plan(
        info,
        models.detector,
        models.classifier,
        reference_compat=settings.reference_compat,
        max_gap_s=settings.max_gap_s,
        detect_every=settings.detect_every,
    )
