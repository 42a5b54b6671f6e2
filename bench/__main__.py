"""How fast it is: `python -m bench` does one job in several ways and prints a table; `--quick` takes a minute or two.

Exit codes: 0 all well, 1 a way to do the job failed, 2 wrong usage or settings, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import machine, models, page, plot, replay, runs, summary, videos
from bench.rows import ROWS, Row, chosen, is_int8, why_not
from bench.runs import Bench, BenchError, Run
from mousetal import atomic
from mousetal.errors import MousetalError, SettingsError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
QUICK = videos.FilmSize(3, 320, 240)
FULL = videos.FilmSize(20)
BOXES = (
    "the detector's own",
    "the demo detector's, in place of those of random weights, which are not asked for theirs in bf16",
)
SHORTEST_S = 2.0  # of a film: shorter ones hold no two windows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the programme and return its exit code."""
    try:
        given = _parser().parse_args(argv)
        if given.counts:
            return _count(given.out)
        return _measure(given)
    except MousetalError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE if isinstance(error, SettingsError) else FAILED
    except KeyboardInterrupt:
        print("Interrupted. Nothing was written; measure again.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(row.name for row in ROWS)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK}, demo models, 2 rounds, unless said otherwise")
    parser.add_argument("--models", choices=("demo", "full"), help="whose networks (default: full)")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often every way is measured (default: 3)")
    parser.add_argument("--rows", default="", metavar="NAMES", help=f"comma separated, out of {names} (default: all)")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"length of the film (default: {FULL.seconds:g})")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="threads of each network; 0: one per core")
    parser.add_argument("--gpu", action="store_true", help="on the GPU")
    parser.add_argument("--counts", action="store_true", help="count calls, messages and copies instead of seconds")
    parser.add_argument("--out", type=Path, default=Path("output/bench"), help="where to write (default: output/bench)")
    return parser


def _measure(given: argparse.Namespace) -> int:
    rounds = 2 if given.quick and given.rounds is None else 3 if given.rounds is None else given.rounds
    if rounds < 1 or given.threads < 0 or (given.seconds is not None and given.seconds < SHORTEST_S):
        raise SettingsError(f"--rounds: at least 1 expected, --threads: 0 or more, --seconds: {SHORTEST_S:g} or more.")
    rows = chosen([name.strip() for name in given.rows.split(",") if name.strip()])
    size = dataclasses.replace(QUICK if given.quick else FULL, **({"seconds": given.seconds} if given.seconds else {}))
    bench = _bench(given, size)
    skipped = {row.name: why for row in rows if (why := why_not(row, bench.device, not bench.models.is_random))}
    for name, reason in skipped.items():
        print(f"{name} is left out: {reason}.", file=sys.stderr)
    if any(is_int8(row) and row.name not in skipped for row in rows):
        models.add_int8(bench.models)
    about = machine.describe(bench.device)
    done, failed = _all_runs(bench, [row for row in rows if row.name not in skipped], rounds)
    if not done:
        raise BenchError("no way to do the job is left.")
    lines = summary.lines(done)
    document = {
        "machine": about,
        "film": {**dataclasses.asdict(size), "title": str(size)},
        "models": bench.models.title,
        "boxes": BOXES[bench.recording is not None],
        "device": bench.device,
        "threads": bench.threads,
        "rounds": rounds,
        "rows": [line.document() for line in lines],
        "runs": [{"row": run.row.name, "round": run.round, **dataclasses.asdict(run.measured)} for run in done],
        "comparisons": summary.comparisons(done, bench.video.name),
        "skipped": skipped,
        "failed": failed,
    }
    atomic.write_json(bench.folder / "bench.json", document)
    atomic.write_text(bench.folder / "bench.svg", plot.svg(lines, page.caption(document)))
    print(page.text(lines, document))
    print(f"Written: {bench.folder / 'bench.json'}, {bench.folder / 'bench.svg'}", file=sys.stderr)
    return FAILED if failed else OK


def _bench(given: argparse.Namespace, size: videos.FilmSize) -> Bench:
    """Film and models, made where they are not there yet."""
    import torch  # a message about wrong flags need not wait for it

    if given.gpu and not torch.cuda.is_available():
        raise SettingsError("--gpu: torch sees no GPU on this machine. Leave --gpu out to measure the CPU.")
    folder = given.out.absolute()
    video = videos.write(size, folder / "films")
    which = given.models or ("demo" if given.quick else "full")
    pair = models.demo() if which == "demo" else models.full(folder / "models")
    recording = replay.record(video, models.demo().detector) if pair.is_random else None
    return Bench(folder, video, pair, recording, "cuda" if given.gpu else "cpu", given.threads)


def _all_runs(bench: Bench, rows: Sequence[Row], rounds: int) -> tuple[list[Run], dict[str, str]]:
    """What was measured, and why not of which rows; a row that failed is not tried again."""
    done: list[Run] = []
    failed: dict[str, str] = {}
    for row, number in runs.interleaved(rows, rounds):
        if row.name in failed:
            continue
        try:
            done.append(runs.run(bench, row, number))
        except BenchError as error:
            failed[row.name] = str(error)
            print(f"error: {error}", file=sys.stderr)
        else:
            print(f"round {number + 1}/{rounds} {row.name}: {done[-1].measured.wall_s:.2f} s", file=sys.stderr)
    return done, failed


def _count(folder: Path) -> int:
    from bench import counts

    found = counts.document()
    atomic.write_json(folder / "counts.json", found)
    print(json.dumps(found, indent=1))
    return OK


if __name__ == "__main__":
    sys.exit(main())
