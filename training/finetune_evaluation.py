"""After a run of `training.finetune_mvd`: bout rules for its best model, and how that does on the test videos.

What `training.evaluate --tune` and then `training.evaluate --split test` do, by their functions, in the run's folder:
``tuning`` and ``evaluation`` hold results of videos, the latter also evaluation.json and evaluation.html.
"""

from __future__ import annotations

import gc
import logging
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from mousetal import dataset as datasets
from mousetal import modelfolder
from mousetal.errors import SettingsError
from training import evaluate, runfolder
from training.exitcodes import OK, guarded

TUNING, EVALUATION = "tuning", "evaluation"
TEST_SPLIT = "test"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What to evaluate the best model of the run in ``run`` on. ``detector`` None: the boxes stored in the data set."""

    run: Path
    dataset: Path
    detector: Path | None = None
    device: str = "auto"

    @property
    def model(self) -> Path:
        return self.run / runfolder.BEST

    def commands(self) -> list[str]:
        """What does the same alone, a line each."""
        boxes = ["--detector-dir", str(self.detector)] if self.detector else ["--stored-boxes"]
        shared = ["--dataset", str(self.dataset), "--model-dir", str(self.model), *boxes, "--device", self.device]
        return [
            shlex.join(["python", "-m", "training.evaluate", *which, *shared, "--out", str(self.run / folder)])
            for which, folder in ((["--tune"], TUNING), (["--split", TEST_SPLIT], EVALUATION))
        ]


def check(dataset: Path | None, detector: Path | None) -> None:
    """Whether there is what to evaluate on, before hours of training. Raises MousetalError for what is not there."""
    if dataset is None:
        if detector is not None:
            raise SettingsError("--detector-dir is for the evaluation, which needs --dataset, too.")
        return
    datasets.read(dataset)
    if detector is not None:
        modelfolder.locate(detector)


def evaluate_run(wanted: Evaluation) -> int:
    """Tune and evaluate; the exit code. Whatever fails is said, with what is kept and how to repeat the evaluation."""
    gc.collect()  # networks and optimiser of the training, which hold each other, make room
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    code = guarded(lambda: _evaluate(wanted))
    if code != OK:
        print(
            f"The training is done and its models are kept in {wanted.model} and {wanted.run / 'last'}; the evaluation "
            "did not go through. The same command again repeats it and trains nothing; so do, alone,",
            *wanted.commands(), sep="\n  ", file=sys.stderr,
        )  # fmt: skip
    return code


def _evaluate(wanted: Evaluation) -> int:
    dataset = datasets.read(wanted.dataset)
    networks = (wanted.model, wanted.detector)
    if dataset.in_split(evaluate.TUNING_SPLIT):
        out = wanted.run / TUNING
        chosen = evaluate.tune_model(dataset, evaluate.TUNING_SPLIT, *networks, out, wanted.device)
        evaluate.report_tuning(chosen, wanted.model)
    else:
        print(f"{wanted.dataset}: no {evaluate.TUNING_SPLIT} videos, so bout rules and temperature stay as they are")
    if not dataset.in_split(TEST_SPLIT):
        print(f"{wanted.dataset}: no {TEST_SPLIT} videos, so {wanted.model} is not evaluated")
        return OK
    out = wanted.run / EVALUATION
    content = evaluate.evaluate_model(dataset, TEST_SPLIT, *networks, out, device=wanted.device)
    return evaluate.report(content, out)
