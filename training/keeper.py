"""Keeps what a run has achieved: its state to go on from, the best weights, and what could not be read."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mousetal.errors import RecordError
from training import memory
from training.engine import Engine, Place, gathered
from training.judge import Judge, rounded, shown, summary
from training.learner import NETWORK
from training.loader import Batch
from training.runfolder import LAST, RunFolder
from training.trainlog import TrainLog
from training.weightaverage import Average

MEMO_NAME = "memo.pt"


@dataclass
class Memo:
    """What a run remembers beside weights: the best merit so far, and how often which clip could not be read.

    ``best`` is below 0 as long as nothing was validated. ``measured`` is what the newest validation said of the weights
    that the model folder ``last`` would then have had, with its step.
    """

    best: float = -1.0
    best_step: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    measured: dict[str, Any] = field(default_factory=dict)


class Keeper:
    """``decay`` is that of the averaged weights, 0 for none."""

    def __init__(
        self, folder: RunFolder, engine: Engine, judge: Judge, log: TrainLog, place: Place, decay: float
    ) -> None:
        self.folder, self.engine, self.judge, self.log, self.place = folder, engine, judge, log, place
        self.memo = Memo()
        self.untold: list[tuple[str, str]] = []  # clips that another process than the first could not read
        self.average = Average(self.network_weights(), decay) if decay else None

    def network_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Name and value of the network's own parameters. With ZeRO 3 all processes must ask together."""
        for name, value in self.engine.weights():
            if name.startswith(NETWORK):
                yield name.removeprefix(NETWORK), value

    def after_step(self) -> None:
        """Let the average take in the new weights."""
        if self.average is not None:
            self.average.update(self.network_weights())

    def note_skipped(self, skipped: tuple[tuple[str, str], ...], step: int) -> None:
        """Count clips that could not be read; the first time each is told. That is for the first process to do, which
        hears of the others' at the next `save`."""
        if not self.place.is_first:
            self.untold += skipped
            return
        for clip, reason in skipped:
            self.memo.skipped[clip] += 1
            if self.memo.skipped[clip] == 1:
                self.log.say(f"warning: skipped {reason}")
                self.log.event(step, "skipped", {"clip": clip, "reason": reason})

    def readable(self, batch: Batch, step: int) -> Batch:
        """The batch, its skipped clips noted. Raises RecordError when no clip could be read."""
        self.note_skipped(batch.skipped, step)
        if batch.error:
            raise RecordError(batch.error)
        return batch

    def validate(self, step: int) -> None:
        """Score the weights and their average; whichever beats the best so far becomes the model folder ``best``."""
        candidates: dict[str, Mapping[str, Tensor]] = {"weights": self._whole_weights()}
        if self.average is not None:
            candidates["average"] = self.average.values
        if not self.judge.data.validation:
            chosen = candidates.get("average", candidates["weights"])
            self.memo.measured = {"note": "nothing to validate on"}
            self.judge.export("best", chosen, step, {"note": "nothing to validate on: the last weights"})
            return
        for name, values in candidates.items():
            found = self.judge.score(values)
            metrics: dict[str, Any] = {"of": name, **summary(found, self.judge.data.classes)}
            self.memo.measured = {"step": step, **metrics}  # in the end the average's, where there is one
            is_best = found.merit > self.memo.best
            if self.place.is_first:  # all processes know all that validation skipped
                self.note_skipped(found.skipped, step)
            self.log.event(step, "validation", metrics)
            self.log.say(
                f"  validation of the {name}: frame F1 {shown(found.frame_f1)}, event F1 {shown(found.event_f1)}, "
                f"merit {found.merit:.3f}{' (best so far)' if is_best else ''}"
            )
            if is_best:
                self.memo.best, self.memo.best_step = found.merit, step
                self.judge.export("best", values, step, self.memo.measured)

    def save(self, step: int) -> None:
        """The state to go on from, and the newest weights as the model folder ``last``. Raises OutputError."""
        if self.folder.has_state(step):
            return
        for untold in gathered(self.untold, self.place):
            self.note_skipped(tuple(untold), step)
        self.untold = []
        # Before the state, which says that all of its step is done: after a full disk here the step is done again.
        whole = self._whole_weights()
        measured = self.memo.measured or {"note": "nothing was validated yet"}
        if self.memo.best >= 0:
            measured = {**measured, "best": {"step": self.memo.best_step, "merit": rounded(self.memo.best)}}
        self.judge.export(LAST, whole if self.average is None else self.average.values, step, measured)
        with self.folder.writing(step) as partial:
            self.engine.save(partial)
            if self.place.is_first:
                memo = {**vars(self.memo), "skipped": dict(self.memo.skipped)}
                average = self.average.state_dict() if self.average is not None else None
                with (partial / MEMO_NAME).open("wb") as file:
                    torch.save({"memo": memo, "average": average}, file)
        gathered(None, self.place)  # nobody renames while another still writes
        if self.place.is_first:
            self.folder.commit(step)

    def load(self, state: Path) -> None:
        """Go on from what `save` wrote. Raises RecordError for a damaged state."""
        try:
            self.engine.load(state)
            stored = torch.load(state / MEMO_NAME, map_location="cpu", weights_only=True)
            memo = stored["memo"]
            self.memo = Memo(memo["best"], memo["best_step"], Counter(memo["skipped"]), memo.get("measured", {}))
            if self.average is not None:
                self.average.load_state_dict(stored["average"])
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
            if memory.is_out_of_memory(error):
                raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise RecordError(
                f"{state}: the run cannot go on from this state, it is damaged ({reason}). Begin anew with another "
                f"--out; --init {self.folder.root / LAST} starts from the weights that it had."
            ) from error

    def _whole_weights(self) -> dict[str, Tensor]:
        return {name: value.detach().float().clone() for name, value in self.network_weights()}
