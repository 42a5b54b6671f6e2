"""Videos in, behaviour bouts out: `python -m inference_script --input videos --output output`.

Exit codes: 0 all well, 1 some or all videos failed (the table says which) or a model or service could not be used,
2 wrong usage or settings, 3 a defect of ours (a report is left for a bug ticket), 130 interrupted (run it again to go
on).
"""

from __future__ import annotations

import argparse
import logging
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

from inference_script import batch, inputs, models, outputs, table
from inference_script.fingerprint import ContentHashes
from inference_script.report import write_report
from mousetal import __version__, atomic, heap, lock, settings
from mousetal.errors import MousetalError, OutputError, SettingsError
from mousetal.settings import DriverSettings

log = logging.getLogger("inference_script")

OK, FAILED, USAGE, DEFECT, INTERRUPTED = 0, 1, 2, 3, 130
Connect = Callable[[DriverSettings], AbstractContextManager[models.Models]]


def main(argv: Sequence[str] | None = None, connect: Connect = models.connect) -> int:
    """Run the driver and return its exit code. ``connect`` gives the models; a test gives its own."""
    output: Path | None = None
    try:
        arguments = _parser().parse_args(argv)
        config = settings.read_driver(arguments)
        output = config.output
        logging.basicConfig(
            level=config.log_level,
            stream=sys.stderr,
            format="%(asctime)s %(levelname)s %(message)s",
            datefmt="%H:%M:%S",
        )
        for note in config.notes:
            log.warning(note)
        return _run(config, connect, is_forced=arguments.force)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except MousetalError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept; run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    except Exception:  # noqa: BLE001  the last door: whatever is left is ours, and ends in one line and a report
        return _confess([traceback.format_exc()], output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference_script",
        description="Find bouts of behaviour in videos. A flag beats the environment, which beats .env.",
    )
    parser.add_argument("--force", action="store_true", help="do videos again that are finished already")
    parser.add_argument("--version", action="version", version=f"mousetal {__version__}")
    return settings.add_flags(parser, "driver")


def _run(config: DriverSettings, connect: Connect, is_forced: bool) -> int:
    started_at = outputs.now()
    found = inputs.find(config.input, config.output, config.input_name)
    log.info("Input. path=%s videos=%d other_files=%d", config.input, len(found.videos), found.ignored)
    held = lock.hold(config.output, "another driver", "choose another OUTPUT")
    with held, connect(config) as both:
        outcome = batch.Outcome()
        job = batch.Batch(config, found, both, ContentHashes(config.output), is_forced)
        try:
            batch.run(job, outcome)
        except KeyboardInterrupt:
            _write_down(job, outcome, started_at, with_report=False)
            raise
        _write_down(job, outcome, started_at, with_report=True)
    return _conclude(outcome, config)


def _write_down(job: batch.Batch, outcome: batch.Outcome, started_at: str, *, with_report: bool) -> None:
    """What a run leaves over all its videos. An output that can't be written ends up in ``outcome.stopped``."""
    config, specs = job.settings, (job.models.detector, job.models.classifier)
    run = outputs.run_document(config, specs, outcome.rows, job.meter.snapshot(), started_at)
    try:
        outputs.write_tables(config.output, outcome.rows, outcome.intervals)
        atomic.write_json(config.output / "run.json", run)
        if "supervisely" in config.formats:
            compat = config.reference_compat
            outputs.write_project(job.foreign_folder, job.inputs.videos, *specs, reference_compat=compat)
        job.hashes.save()
        if with_report:
            write_report(config.output, batch.results_of(job, outcome.rows), outcome.rows, run)
    except OutputError as error:
        outcome.stopped = outcome.stopped or str(error)


def _conclude(outcome: batch.Outcome, config: DriverSettings) -> int:
    """Tell the user what became of the run; returns the exit code."""
    print(table.text(outcome.rows))
    if outcome.stopped:
        print(f"error: {outcome.stopped}", file=sys.stderr)
    if outcome.defects:
        return _confess(outcome.defects, config.output)
    has_failed = outcome.stopped or any(row.status == batch.FAILED for row in outcome.rows)
    return FAILED if has_failed else OK


def _confess(tracebacks: Sequence[str], output: Path | None) -> int:
    """One line for the user, a file fit for a bug ticket; returns the exit code."""
    text = "\n".join(
        (f"mousetal {__version__}, Python {platform.python_version()}, {platform.platform()}", *tracebacks)
    )
    folder = output if output is not None and output.is_dir() else Path(tempfile.gettempdir())
    path = folder / "defect.txt"
    try:
        atomic.write_text(path, text)
    except OutputError:
        path = Path(tempfile.gettempdir()) / "mousetal-defect.txt"
        atomic.write_text(path, text)
    last = tracebacks[-1].strip().splitlines()[-1]
    print(f"error: a defect of mousetal ({last}). Please report it with {path}.", file=sys.stderr)
    return DEFECT


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    heap.return_large_blocks()
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
