"""The part of a model's card that says which bout rules it has and how they were chosen.

It lies between two marks that no reader sees, so that tuning again replaces it, and all else in the card stays.
"""

from __future__ import annotations

from pathlib import Path

from mousetal import atomic
from mousetal.errors import OutputError
from mousetal.modelfolder import CARD_NAME
from training.evaluation.tuning import Tuning

BEGIN, END = "<!-- bout rules: begin -->", "<!-- bout rules: end -->"


def section(tuning: Tuning, split: str, videos: int, data_sha256: str) -> str:
    """What was chosen, as Markdown between the marks, on ``videos`` videos of a split with this digest."""
    rows = "".join(
        f"| {one.behavior.replace('|', chr(92) + '|')} | {one.rule.threshold:g} | {one.rule.low_threshold:g} | "
        f"{one.rule.min_duration_s:g} s | {one.rule.bridge_gap_s:g} s | {one.num_bouts} | "
        f"{one.reason or f'{one.merit_before:.3f} -> {one.merit:.3f}'} |\n"
        for one in tuning.choices
    )
    return f"""\
{BEGIN}

## Bout rules, chosen on {split} videos

By `python -m training.evaluate --tune` on {videos} videos of the split `{split}` (digest {data_sha256[:12]});
{tuning.temperature_told}. On these videos the merit looks better than it is: what to believe is an evaluation on test
videos.

| behaviour | begins above | ends below | shortest bout | gap bridged | bouts seen | merit |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
{END}
"""


def with_section(card: str, text: str) -> str:
    """The card with ``text`` in the place of the section that it has, else at its end."""
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        return before + text + after.removeprefix("\n")
    return f"{card.rstrip()}\n\n{text}" if card.strip() else text


def of(card: str) -> str:
    """The section that a card has, "" for none."""
    _, begin, rest = card.partition(BEGIN)
    text, end, _ = rest.partition(END)
    return f"{begin}{text}{end}\n" if begin and end else ""


def update(folder: Path, text: str) -> None:
    """Put the section into a model folder's card. Raises OutputError."""
    path = folder / CARD_NAME
    try:
        card = path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: the model's card cannot be read ({error}), so its bout rules stay.") from error
    atomic.write_text(path, with_section(card, text))
