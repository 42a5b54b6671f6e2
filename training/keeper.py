"""Keeps what a run has achieved: its state to go on from, the best weights, and what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mousetal.errors import RecordError
from training.engine import Engine, Place, gathered
from training.judge import Judge, shown, summary
from training.learner import NETWORK
from training.loader import Batch
from training.runfolder import RunFolder
from training.trainlog import TrainLog
from training.weightaverage import Average

MEMO_NAME = "memo.pt"


@dataclass
class Memo:
    """What a run remembers beside weights: the best merit so far, and how often which clip could not be read."""

    best: float = -1.0
    best_step: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


class Keeper:
    """``decay`` is that of the averaged weights, 0 for none."""

    def __init__(
        self, folder: RunFolder, engine: Engine, judge: Judge, log: TrainLog, place: Place, decay: float
    ) -> None:
        self.folder, self.engine, self.judge, self.log, self.place = folder, engine, judge, log, place
        self.memo = Memo()
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
        """Count clips that could not be read; the first time each is told."""
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
            self.judge.export("best", chosen, step, {"note": "no validation clips: the last weights"})
            return
        for name, values in candidates.items():
            found = self.judge.score(values)
            metrics: dict[str, Any] = {"of": name, **summary(found, self.judge.data.classes)}
            is_best = found.merit > self.memo.best
            self.note_skipped(found.skipped, step)
            self.log.event(step, "validation", metrics)
            self.log.say(
                f"  validation of the {name}: frame F1 {shown(found.frame_f1)}, event F1 {shown(found.event_f1)}, "
                f"merit {found.merit:.3f}{' (best so far)' if is_best else ''}"
            )
            if is_best:
                self.memo.best, self.memo.best_step = found.merit, step
                self.judge.export("best", values, step, metrics)

    def save(self, step: int) -> None:
        """The state to go on from, and the newest weights as the model folder ``last``. Raises OutputError."""
        if self.folder.has_state(step):
            return
        skipped: Counter[str] = sum(gathered(self.memo.skipped, self.place), Counter())
        with self.folder.writing(step) as partial:
            self.engine.save(partial)
            if self.place.is_first:
                memo = {"best": self.memo.best, "best_step": self.memo.best_step, "skipped": dict(skipped)}
                average = self.average.state_dict() if self.average is not None else None
                with (partial / MEMO_NAME).open("wb") as file:
                    torch.save({"memo": memo, "average": average}, file)
        gathered(None, self.place)  # nobody renames while another still writes
        if self.place.is_first:
            self.folder.commit(step)
        whole = self._whole_weights()
        self.judge.export("last", whole if self.average is None else self.average.values, step, {})

    def load(self, state: Path) -> None:
        """Go on from what `save` wrote."""
        self.engine.load(state)
        stored = torch.load(state / MEMO_NAME, map_location="cpu", weights_only=True)
        # Counts were summed over processes, so one of them takes them over.
        skipped = stored["memo"]["skipped"] if self.place.is_first else {}
        self.memo = Memo(stored["memo"]["best"], stored["memo"]["best_step"], Counter(skipped))
        if self.average is not None:
            self.average.load_state_dict(stored["average"])

    def _whole_weights(self) -> dict[str, Tensor]:
        return {name: value.detach().float().clone() for name, value in self.network_weights()}
