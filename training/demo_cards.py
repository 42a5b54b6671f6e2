"""The texts of the demo models' cards: what they are, what they were made of, what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training import demo_loop
from training.demo_pictures import DemoKnobs

WARNING = """\
**For trying the software out, not for science.** It was trained on rendered video of a drawn mouse. On your recordings
it may find anything or nothing. Train on your own labelled video before you believe a number.
"""


def detector_card(knobs: DemoKnobs, metrics: Mapping[str, float]) -> str:
    """README.md of demo-detector."""
    return f"""\
# demo-detector

A small RT-DETRv2 that finds one mouse (body and head, without the tail), seen from above.

{WARNING}
- Input: the whole frame at {knobs.input_size} x {knobs.input_size} pixels. One class: mouse.
- Trained on {12 * knobs.films} pictures of {knobs.films} synthetic films (seeds from {knobs.first_film})
  and, in four variants each, on two thirds of the boxed frames of two public sets: yolo_behavior (a rat from the side,
  Apache-2.0) and DeepLabCut's open field video m3v1 (a black mouse from above, MIT). Their boxes were made by
  thresholding. The split is by recording session, and by time within the single video.
- {knobs.steps} steps of {knobs.batch} pictures, seed {knobs.seed}, from random weights, on CPU.
- Made by `python -m training.demo_models` (configuration: `training/configs/demo-detector.toml`).
- Licence: Apache-2.0.

Average precision at IoU 0.5, on pictures that it was not trained on:

{_table(metrics)}
The synthetic films hold one mouse, always in view; several animals, reflections and occlusion were never seen.
"""


def classifier_card(stages: Sequence[demo_loop.Knobs], clips: int, metrics: Mapping[str, float], test: str) -> str:
    """README.md of demo-mvd, trained in stages, the last of them on ``clips`` clips."""
    knobs = stages[-1]
    steps = ", then ".join(f"{one.steps} on {one.films} films and {one.turning_films} with turns" for one in stages)
    return f"""\
# demo-mvd

A small video transformer that tells self-grooming and head or body twitches from everything else in clips of a mouse
from above. Classes, in order: {", ".join(demo_loop.CLASSES)}.

{WARNING}
- Input: {knobs.num_frames} frames at {knobs.trained_fps:g} frames per second, the square around the animal at
  {knobs.input_size} x {knobs.input_size} pixels.
- Trained from random weights, without the masked pre-training that gives the method its name, on {clips} clips of
  {knobs.films} synthetic films (seeds from {knobs.first_film}) and of quick turns in {knobs.turning_films} more
  (seeds from {knobs.first_turning_film}). No real video was used.
- Steps of {knobs.batch} clips, each stage from the weights of the one before:
  {steps}; seed {knobs.seed}, on CPU.
- Made by `python -m training.demo_models` (configurations: `training/configs/demo-mvd*.toml`).
- The bout rules in `config.json` were chosen on 36 validation films. None of the films below was used for either.
- Licence: Apache-2.0.

On 20 test films of 20 s, whole pipeline with demo-detector (`make demo-eval`); a bout is found
when one of its class starts within 0.25 s of it:

```
{test}
```

{_table(metrics)}
In the films grooming strokes at 5-7 Hz and twitches last 0.1-0.4 s; real ones vary more, and a real twitch can be over
within a frame. Real behaviours that the films lack (scratching, digging, eating) will be taken for one of the three.
"""


def _table(metrics: Mapping[str, float]) -> str:
    rows = "".join(f"| {name} | {value:.3f} |\n" for name, value in metrics.items())
    return f"| measured | value |\n| --- | --- |\n{rows}"
