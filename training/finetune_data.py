"""What a fine-tuning run learns from, checked for whether anything can be learned from it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mousetal.errors import SettingsError
from mousetal.types import ClassifierSpec
from training.clips import ARRAYS_NAME, TABLE_NAME, Clip, ClipTable, read_table
from training.finetune_knobs import BACKGROUND, Knobs, spec_of
from training.sampler import Sampler, class_shares
from training.windowlabels import short_classes


@dataclass(frozen=True, eq=False)
class Data:
    """What a run learns from; ``digest`` tells one set of clips from another."""

    classes: tuple[str, ...]
    spec: ClassifierSpec
    is_short: tuple[bool, ...]
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    sampler: Sampler
    digest: str

    @property
    def short_names(self) -> list[str]:
        """The classes that count anywhere near a window's middle."""
        return [name for name, is_short in zip(self.classes, self.is_short, strict=True) if is_short]


def load_data(knobs: Knobs, folder: Path, say: Callable[[str], None] = print) -> Data:
    """The clips in ``folder``, checked for whether anything can be learned from them. Raises SettingsError."""
    table = read_table(folder)
    train, validation = table.in_split("train"), table.in_split("validation")
    if not train:
        raise SettingsError(f"{folder}: no clips of the split 'train'. Run training.preprocess with a split.")
    counts = Counter(clip.behavior for clip in train)
    if len(counts) < 2:
        raise SettingsError(
            f"{folder}: all {len(train)} training clips are of one class, {next(iter(counts))!r}. A classifier needs "
            "clips of at least two; label more, or let preprocess cut idle clips."
        )
    for name in table.classes:
        if name not in counts:
            say(f"warning: no training clip shows {name!r}: the model will never find it")
    validation = _judging(validation, table.classes, say)
    usual = Counter(float(clip.fps) for clip in train).most_common(1)[0][0]
    spec = spec_of(knobs, table.classes, knobs.trained_fps or usual)
    is_short = short_classes(train, spec)
    shares = np.array(knobs.class_shares) if knobs.class_shares else class_shares(train, table.classes, knobs.sampling)
    if len(shares) != len(table.classes):
        raise SettingsError(f"class_shares: one per class ({', '.join(table.classes)}) expected, got {len(shares)}")
    sampler = Sampler(train, spec, is_short, shares, knobs.own_share, knobs.seed)
    return Data(table.classes, spec, is_short, train, validation, sampler, _digest(table))


def _judging(validation: tuple[Clip, ...], classes: tuple[str, ...], say: Callable[[str], None]) -> tuple[Clip, ...]:
    """The validation clips, none where they cannot tell better weights from worse."""
    shown = {label for clip in validation for label in np.unique(clip.frame_labels).tolist()}
    behaviors = [label for label in range(len(classes)) if label != BACKGROUND]
    if not validation:
        say("warning: no clips of the split 'validation': best will be the last weights")
    elif shown.isdisjoint(behaviors):
        say("warning: no validation clip shows a behaviour: best will be the last weights")
        return ()
    else:
        for label in behaviors:
            if label not in shown:
                say(f"warning: no validation clip shows {classes[label]!r}: how well it is found does not tell on best")
    return validation


def _digest(table: ClipTable) -> str:
    digest = hashlib.sha256()
    for name in (TABLE_NAME, ARRAYS_NAME):
        digest.update((table.folder / name).read_bytes())
    return digest.hexdigest()


def length(knobs: Knobs, num_clips: int, world_size: int) -> tuple[int, int, int]:
    """Steps of the run, of an epoch, and of the warm-up. An epoch has at least one step."""
    per_epoch = max(1, num_clips // knobs.total_batch(world_size))
    steps = knobs.steps or knobs.epochs * per_epoch
    warmup = knobs.warmup_steps or round(knobs.warmup_epochs * per_epoch)
    return steps, per_epoch, min(warmup, steps)
