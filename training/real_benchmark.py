"""How well the product's own stages do on real clips of a grooming rat: ``make real-benchmark``.

    python -m training.real_benchmark --real ../shared/data/real --work work/real-benchmark
    python -m training.real_benchmark --quick                # one fold, some steps: shows the way, not good numbers

266 labelled clips of 16 frames become a data set, then training clips (`training.preprocess`). Recording sessions are
dealt out to 5 folds (`training.sessionfolds`); per fold and seed one model is trained on the clips of all other folds
(`training.finetune_mvd`) and judged on what its fold's sessions show: on the clips, by the mean over windows of what
`mousetal.pipeline` says, and by bouts on the joined playlists. The floor, a logistic regression, is made anew on the
same folds. Clips whose label is in doubt count nowhere.

Stopped at any moment, the same command goes on. Writes ``real_benchmark.json`` into --work, and a table to stdout.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mousetal import atomic
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.errors import RecordError, SettingsError
from mousetal.intervals import BoolArray
from mousetal.types import Float64Array
from training import clipfloor, foldruns, knobs, preprocess, preprocessknobs, rat_clips
from training.clips import ClipTable
from training.evaluation.comparison import Comparison, of_result
from training.exitcodes import OK, guarded
from training.finetune_knobs import Knobs
from training.foldrules import with_chosen_rules
from training.foldtable import Bouts, bouts_of, summarised, table_text
from training.ranking import rank
from training.sessionfolds import deal

CONFIGS = Path(__file__).parent / "configs"
RESULT_NAME = "real_benchmark.json"
GIVEN_FLOOR = {"auc": 0.905, "ap": 0.839, "accuracy": 0.868}  # as the data set's own README states it
QUICK_STEPS = 20


@dataclass(frozen=True, eq=False)
class Bench:
    """All that is the same for every fold and seed. ``entries`` are the videos that count, in order."""

    clips: tuple[rat_clips.RatClip, ...]
    dataset: Dataset
    entries: tuple[VideoEntry, ...]
    playlists: Dataset
    table: ClipTable
    fold_of: Mapping[str, int]

    @property
    def folds(self) -> np.ndarray:
        """The fold of every clip that counts, (n,)."""
        return np.array([self.fold_of[entry.session] for entry in self.entries])

    @property
    def is_grooming(self) -> BoolArray:
        """The truth of every clip that counts, (n,)."""
        known = {_video_path(clip): clip.is_grooming for clip in self.clips}
        return np.array([known[entry.path] for entry in self.entries])


def prepare(real: Path, work: Path, num_folds: int) -> Bench:
    """Data sets, folds and training clips in ``work``; what is there already is taken as it is."""
    source = real / "permissive" / "rat_action_clips"
    clips = rat_clips.read_clips(source)
    dataset = rat_clips.make_dataset(clips, work / "dataset")
    certain = [clip for clip in clips if not clip.is_doubtful]
    fold_of = {clip.session: 0 for clip in clips} | deal((clip.session for clip in certain), num_folds)
    listed = rat_clips.read_playlists(source, clips, fold_of)
    playlists = rat_clips.make_playlists(listed, fold_of, work / "playlists")
    # All sides are decided by the folds, so that preprocess has nothing to deal out and cuts every clip, once.
    dataset = replace(dataset, videos=tuple(replace(entry, split="train") for entry in dataset.videos))
    datasets.write(dataset)
    settings = preprocessknobs.read(CONFIGS / "rat_clips-preprocess.toml")
    table, report = preprocess.preprocess(dataset.root, work / "clips", None, settings)
    if report.failed:
        raise RecordError(f"{len(report.failed)} clips failed, the first: {next(iter(report.failed.items()))}")
    wanted = {_video_path(clip) for clip in certain}
    entries = tuple(entry for entry in dataset.videos if entry.path in wanted)
    return Bench(clips, dataset, entries, playlists, table, fold_of)


def floors(bench: Bench, folds: Sequence[int], work: Path) -> dict[str, Float64Array]:
    """What the two logistic regressions say of every clip of these folds, NaN elsewhere."""
    inputs = _features(bench, work / "floor.npz")
    said = {}
    for name, is_whitened in (("regression", False), ("regression, whitened", True)):
        found = np.full(len(inputs), np.nan)
        for fold in folds:
            here = bench.folds == fold
            model = clipfloor.fit(inputs[~here], bench.is_grooming[~here], is_whitened=is_whitened)
            found[here] = model.probabilities(inputs[here])
        said[name] = found
    return said


def network(
    bench: Bench, settings: Knobs, folds: Sequence[int], work: Path, say: Callable[[str], None]
) -> tuple[Float64Array, dict[int, list[Comparison]]]:
    """What one seed's models say of every clip of these folds, NaN elsewhere; and by fold the bouts they find in the
    playlists that they have not seen, beside the true ones."""
    found = np.full(len(bench.entries), np.nan)
    comparisons: dict[int, list[Comparison]] = {}
    for fold in folds:
        clips = work / "folds" / f"fold-{fold}"
        foldruns.write_fold(bench.table, bench.fold_of, fold, clips)
        scorer = foldruns.Scorer(foldruns.trained(settings, clips, work / "runs"))
        for i in np.flatnonzero(bench.folds == fold):
            found[i] = foldruns.probability(scorer.result(bench.dataset, bench.entries[i]), rat_clips.GROOMING)
        comparisons[fold] = []
        for entry in (one for one in bench.playlists.videos if one.group == str(fold)):
            labels = datasets.read_labels(bench.playlists, entry)
            result = scorer.result(bench.playlists, entry)
            comparisons[fold].append(of_result(result, labels, (rat_clips.GROOMING,), entry.session))
        here = bench.folds == fold
        one = rank(found[here], bench.is_grooming[here])
        say(f"seed {settings.seed} fold {fold}: AUC {one.auc:.3f}, accuracy {one.accuracy:.3f}, {one.clips} clips")
    return found, comparisons


def measure(
    bench: Bench, settings: Knobs, seeds: Sequence[int], folds: Sequence[int], work: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Everything, as `real_benchmark.json` holds it."""
    judged = np.isin(bench.folds, folds)
    says: dict[str, list[Float64Array]] = {name: [found] for name, found in floors(bench, folds, work).items()}
    bouts: dict[str, list[Bouts]] = {"rule as it comes": [], "rule chosen on the other folds": []}
    says["network"] = []
    for seed in seeds:
        found, comparisons = network(bench, replace(settings, seed=seed), folds, work, say)
        says["network"].append(found)
        plain = [one for many in comparisons.values() for one in many]
        for kept, some in zip(bouts.values(), (plain, with_chosen_rules(comparisons)), strict=True):
            kept.append(bouts_of(some, rat_clips.GROOMING))
    scores = {
        name: summarised([one[judged] for one in every], bench.is_grooming[judged], bench.folds[judged])
        for name, every in says.items()
    }
    sessions = {str(fold): sorted(s for s, at in bench.fold_of.items() if at == fold) for fold in folds}
    return {
        "data": {
            "clips": int(judged.sum()), "self_grooming": int(bench.is_grooming[judged].sum()),
            "doubtful_left_out": sum(clip.is_doubtful for clip in bench.clips), "sessions_by_fold": sessions,
            "playlists": len([one for one in bench.playlists.videos if int(one.group) in folds]),
        },
        "settings": knobs.as_json(settings),
        "seeds": list(seeds),
        "given_floor": GIVEN_FLOOR,
        "scores": scores,
        "bouts": {name: [asdict(one) for one in kept] for name, kept in bouts.items()},
    }  # fmt: skip


def _features(bench: Bench, path: Path) -> Float64Array:
    """The regressions' inputs, kept: they take a look at every frame of every clip."""
    by_path = {_video_path(clip): clip for clip in bench.clips}
    wanted = [by_path[entry.path] for entry in bench.entries]
    mark = np.array([clip.file for clip in wanted])
    if path.exists():
        kept = atomic.read_arrays(path)
        if np.array_equal(kept["files"], mark):
            return kept["features"]
    found = np.stack([clipfloor.features(clip) for clip in wanted])
    atomic.write_arrays(path, {"files": mark, "features": found})
    return found


def _video_path(clip: rat_clips.RatClip) -> str:
    return f"{rat_clips.CLIPS}/video/{rat_clips.name_of(clip)}"


def run(given: argparse.Namespace) -> int:
    """What the flags ask for."""
    if not given.real.is_dir():
        raise RecordError(f"{given.real}: no such folder. The real videos are no part of this repository.")
    if given.threads:
        torch.set_num_threads(given.threads)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", file=sys.stderr)

    settings = knobs.read(Knobs, given.config, given)
    seeds, folds = given.seeds, list(range(given.folds))
    if given.quick:
        steps = min(QUICK_STEPS, settings.steps or QUICK_STEPS)
        settings = replace(settings, steps=steps, warmup_steps=min(settings.warmup_steps, steps // 2))
        seeds, folds = seeds[:1], folds[-1:]
    if not seeds:
        raise SettingsError("--seeds: at least one expected")
    bench = prepare(given.real, given.work, given.folds)
    say(f"{len(bench.entries)} clips count, in {given.folds} folds of whole sessions")
    content = measure(bench, settings, seeds, folds, given.work, say)
    content["minutes_of_the_last_call"] = round((time.monotonic() - started) / 60, 1)
    atomic.write_json(given.work / RESULT_NAME, content, indent=2)
    print(table_text(content))
    say(f"written: {given.work / RESULT_NAME}")
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--real", type=Path, default=Path("../shared/data/real"), help="folder of real data")
    add("--work", type=Path, default=Path("work/real-benchmark"), help="folder for data sets, clips, runs and result")
    add("--config", type=Path, default=CONFIGS / "rat_clips.toml", help="settings of training.finetune_mvd")
    add("--folds", type=int, default=5, help="how many (default 5)")
    add("--seeds", type=int, nargs="*", default=[1, 2, 3], help="of training, each trains all folds (default 1 2 3)")
    add("--threads", type=int, default=0, help="CPU threads for torch; 0: as many as it likes")
    add("--quick", action="store_true", help="the last fold alone, one seed, few steps")
    knobs.add_flags(parser, Knobs)
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given))


if __name__ == "__main__":
    sys.exit(main())
