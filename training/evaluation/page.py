"""evaluation.html: the same numbers for people, in one file that needs no network.

    page.write(path, document, comparisons, strips)

Style, figures (SVG) and pictures (data URIs) are inside, and a content security policy forbids the browser to load
anything else. Jinja escapes every name on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from mousetal import atomic, svg
from mousetal.types import FrameRange
from training.evaluation import behavior, plots, rulewords
from training.evaluation.comparison import Comparison
from training.evaluation.document import FEW_BOUTS, HEADLINE
from training.evaluation.mistakes import FALSE, Mistake
from training.evaluation.plots import Plot

NONE = "NA"
MOST_VIDEOS = 30  # whose bouts are drawn
TICKS = 8


@dataclass(frozen=True, slots=True)
class Lane:
    """One behaviour of one video: SVG paths of what is true and of what was found."""

    behavior: str
    color: str
    true: str
    found: str


@dataclass(frozen=True, slots=True)
class Ethogram:
    """What happens in one video, and what was found."""

    video: str
    lanes: list[Lane]
    unscored: str
    ticks: list[svg.Tick]


def write(
    path: Path,
    document: Mapping[str, Any],
    comparisons: Sequence[Comparison],
    strips: Mapping[Mistake, str],
    mistakes: Sequence[Mistake] = (),
) -> None:
    """Write the page; raises OutputError."""
    atomic.write_text(path, render(document, comparisons, strips, mistakes))


def render(
    document: Mapping[str, Any],
    comparisons: Sequence[Comparison],
    strips: Mapping[Mistake, str],
    mistakes: Sequence[Mistake] = (),
) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, share=share, measured=measured, clock=svg.clock, spread=plots.spread, between=plots.between,
        signed=signed, lines=rulewords.lines,
    )  # fmt: skip
    behaviors = document["behaviors"]
    colors = {name: svg.PALETTE[i % len(svg.PALETTE)] for i, name in enumerate(behaviors)}
    return environment.get_template("evaluation.html").render(
        d=document,
        colors=colors,
        headline=HEADLINE,
        few=FEW_BOUTS,
        curves=drawn([
            plots.precision_recall(behaviors, colors),
            plots.onsets(behaviors, colors),
            plots.reliability(behaviors, colors),
            plots.risk(behaviors, colors),
        ]),
        agreements=drawn([
            plots.bland_altman(name, measure, numbers["agreement"][measure], colors[name])
            for name, numbers in behaviors.items()
            for measure in ("count", "duration_s")
        ]),
        ethograms=[ethogram(one, colors) for one in comparisons[:MOST_VIDEOS]],
        more_videos=max(0, len(comparisons) - MOST_VIDEOS),
        mistakes=mistakes,
        strips=strips,
        false_kind=FALSE,
        words={name: [*plain(numbers), *beside(document["raters"], name)] for name, numbers in behaviors.items()},
        confusion_shares=shares_of_rows(document["confusion"]["frames"]),
        size=(plots.WIDTH, plots.HEIGHT),
        frame=(plots.LEFT, plots.RIGHT, plots.TOP, plots.BOTTOM),
    )  # fmt: skip


def drawn(figures: Sequence[Plot | None]) -> list[Plot]:
    """Those that have something to show."""
    return [figure for figure in figures if figure is not None]


def plain(numbers: Mapping[str, Any]) -> list[str]:
    """What the numbers of one behaviour mean, in sentences."""
    onsets, timing, count = numbers["onsets"][HEADLINE], numbers["timing"], numbers["agreement"]["count"]
    texts = []
    if onsets["recall"]["value"] is not None:
        texts.append(
            f"Of 100 bouts that the person saw, {_hundred(onsets['recall'])} are found, starting within {HEADLINE} "
            "of when they do."
        )
    if onsets["precision"]["value"] is not None:
        per_hour = behavior.false_per_hour(dict(numbers), HEADLINE)
        rate = "" if per_hour is None else f": {per_hour:.1f} false ones per hour of video"
        texts.append(f"Of 100 bouts that are reported, {_hundred(onsets['precision'])} are true{rate}.")
    late = timing["onsets_s"]["median"]
    if late is not None:
        when = "exactly on time" if abs(late) < 0.005 else f"{abs(late):.2f} s too {'late' if late > 0 else 'early'}"
        texts.append(f"Bouts typically begin {when}, and are off by {timing['onsets_s']['mean_absolute']:.2f} s.")
    if count["n"] and count["bias"] is not None:
        what = "as many bouts as the person" if abs(count["bias"]) < 0.05 else (
            f"{abs(count['bias']):.1f} bouts {'more' if count['bias'] > 0 else 'fewer'} than the person"
        )  # fmt: skip
        limits = ""
        if count["lower_limit"] is not None:
            limits = f"; in 95 of 100 videos between {count['lower_limit']:+.1f} and {count['upper_limit']:+.1f}"
        texts.append(f"Per video it counts {what} on average{limits}.")
    return texts or ["There is nothing to say of it: it neither occurs nor was found."]


def beside(raters: Mapping[str, Any], name: str) -> list[str]:
    """The sentence that sets the model's agreement with people beside that of people with each other."""
    pairs, own = (
        [value for by_name in raters[side].values() if name in by_name
         and (value := by_name[name]["onsets"][HEADLINE]["f1"]["value"]) is not None]
        for side in ("humans", "model")
    )  # fmt: skip
    if not pairs or not own:
        return []
    return [
        f"By the same measure two people who looked at the same videos agree at {_span(pairs)}, the model with each of "
        f"them at {_span(own)}."
    ]


def ethogram(comparison: Comparison, colors: Mapping[str, str]) -> Ethogram:
    """The lanes of one video."""
    duration_s = float(comparison.edges_seconds[-1])

    def path(ranges: Sequence[FrameRange]) -> str:
        return svg.bars_path([comparison.seconds(one) for one in ranges], duration_s)

    lanes = [
        Lane(name, colors[name], path(comparison.truth[name]), path(comparison.found_ranges(name)))
        for name in comparison.behaviors
    ]
    return Ethogram(comparison.video, lanes, path(comparison.unscored_ranges), svg.ticks(duration_s, TICKS))


def shares_of_rows(table: Sequence[Sequence[int]]) -> list[list[float | None]]:
    """Each row as shares of its sum."""
    return [[cell / sum(row) if sum(row) else None for cell in row] for row in table]


def number(value: float | None, digits: int = 2) -> str:
    """A number, or NA."""
    return NONE if value is None else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """A difference, with its sign."""
    return NONE if value is None else f"{round(value, digits) + 0.0:+,.{digits}f}"  # never -0.00


def share(value: float | None) -> str:
    """A share in percent, or NA."""
    return NONE if value is None else f"{100 * value:.0f} %"


def measured(one: Mapping[str, Any], digits: int = 2) -> str:
    """A number with its interval."""
    return NONE if one["value"] is None else f"{one['value']:.{digits}f}{plots.spread(one, digits)}"


def _span(values: Sequence[float]) -> str:
    low, high = (f"{value:.2f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _hundred(one: Mapping[str, Any]) -> str:
    interval = one["interval"]
    text = f"{100 * one['value']:.0f}"
    return f"{text} ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})" if interval else text
