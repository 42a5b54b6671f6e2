"""The texts of the demo models' cards: what they are, what they were made of, what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mousetal.modelconfig import MvdConfig, RtdetrConfig
from training.demo_eval import FILM_SECONDS, FILMS
from training.detectorcard import shown
from training.evaluation import tuningcard
from training.evaluation.share import Number
from training.train_demo import Size

MADE_BY = "python -m training.demo_models"
LICENCE = "Apache-2.0"
WARNING = """\
**For trying the software out, not for science.** It was trained on rendered video of a drawn mouse. On your recordings
it may find anything or nothing. Train on your own labelled video before you believe a number.
"""


def detector_card(config: RtdetrConfig, size: Size, metrics: Mapping[str, Number]) -> str:
    """README.md of demo-detector."""
    knobs: Any = config.provenance["knobs"]
    return f"""\
# demo-detector

A small RT-DETRv2 that finds one mouse (body and head, without the tail), seen from above.

{WARNING}
- Input: the whole frame at {config.input.input_size} x {config.input.input_size} pixels. One class: mouse.
  Boxes that score below {config.input.score_threshold} are dropped.
- Trained on boxes that `training.autolabel` drew by itself, from movement, on
  {_films(size)} (animals for validation and tests gave none), and on two thirds of the
  boxed frames of two public sets: yolo_behavior (a rat from the side, Apache-2.0) and DeepLabCut's open field video
  m3v1 (a black mouse from above, MIT). Their boxes were made by thresholding. The split is by recording session, and by
  time within the single video.
- {knobs["steps"]} steps of {knobs["batch"]} pictures, seed {knobs["seed"]}, from random weights, on CPU.
- Made by `{MADE_BY}` (configuration: `training/configs/train-demo/full-detector.toml`).
- Licence: {LICENCE}.

Average precision at IoU 0.5, on pictures that it was not trained on:

{_table(metrics)}
The drawn films hold one mouse, always in view; several animals, reflections and occlusion were never seen.
"""


def classifier_card(config: MvdConfig, size: Size, clips: int, metrics: Mapping[str, Number], test: str,
                    trained: str) -> str:  # fmt: skip
    """README.md of demo-mvd, from the card ``trained`` that training left, with what ``test`` films said."""
    knobs: Any = config.provenance["knobs"]
    clip = config.input
    return f"""\
# demo-mvd

A small video transformer that tells self-grooming and head or body twitches from everything else in clips of a mouse
from above. Classes, in order: {", ".join(config.classes)}.

{WARNING}
- Input: {clip.num_frames} frames at {clip.trained_fps or 0:g} frames per second, the square around the animal at
  {clip.input_size} x {clip.input_size} pixels.
- Trained from random weights, without the masked pre-training that gives the method its name, on {clips} clips of
  {_films(size)}, imported from a workbook of bouts and cut around the boxes of
  demo-detector. Animals for validation and tests gave none of them. No real video was used.
- {knobs["steps"]} steps of {knobs["batch"]} clips, seed {knobs["seed"]}, on CPU.
- Made by `{MADE_BY}` (configuration: `training/configs/train-demo/full-mvd.toml`).
- Licence: {LICENCE}.

On {FILMS} further films of {FILM_SECONDS:g} s, whole pipeline with demo-detector (`make demo-eval`); a bout is found
when one of its class starts within 0.25 s of it:

```
{test}
```

{_table(metrics)}
In the films grooming strokes at 5-7 Hz and twitches last 0.1-0.4 s; real ones vary more, and a real twitch can be over
within a frame. Real behaviours that the films lack (scratching, digging, eating) will be taken for one of the three.

{tuningcard.of(trained)}"""


def _films(size: Size) -> str:
    return f"{size.animals * size.films} drawn films of {size.seconds:g} s of {size.animals} animals"


def _table(metrics: Mapping[str, Number]) -> str:
    rows = "".join(f"| {name} | {shown(value)} |\n" for name, value in metrics.items())
    return f"| measured | value |\n| --- | --- |\n{rows}"
