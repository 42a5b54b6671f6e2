"""The figures of the evaluation page, as data: axes, lines and dots in the drawing's own coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 44  # room for the axes' words
WIDTH, HEIGHT = 400, 280
GREY = "#8b8b84"

CURVE_WORDS = (
    "Lowering the threshold finds more of the behaviour (to the right) and more that is not (downwards). The dot "
    "is where the model's bout rule stands. A curve in the upper right corner is what one wants."
)
ONSET_WORDS = (
    "How many starts of bouts are found, and how many of those reported are true, if a start counts as found only "
    "within the tolerance. A steep rise says that bouts are found but their starts are not exact."
)
RELIABILITY_WORDS = (
    "On the dashed line a probability of 0.8 is right in 80 of 100 cases. Below it the model is too sure of "
    "itself, above it too careful."
)
RISK_WORDS = (
    "If only the surest bouts are believed and the others are looked at by a person: where the line is low on the "
    "left and rises to the right, looking at the least sure ones pays."
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on an axis and what is written there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points "x,y x,y ..."; ``name`` is in the legend, "" for none."""

    points: str
    color: str
    name: str = ""
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot with a tooltip."""

    x: float
    y: float
    color: str
    title: str


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded stripe across the figure."""

    top: float
    height: float
    color: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure."""

    title: str
    x_label: str
    y_label: str
    x_marks: list[Mark]
    y_marks: list[Mark]
    lines: list[Line]
    dots: list[Dot] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list)
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to the drawing's coordinates."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return round(LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(TOP + (self.y_high - value) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM), 1)

    def line(self, points: Sequence[tuple[float, float]], color: str, name: str = "", is_dashed: bool = False) -> Line:
        return Line(" ".join(f"{self.x(x)},{self.y(y)}" for x, y in points), color, name, is_dashed)

    def marks(self) -> tuple[list[Mark], list[Mark]]:
        """Round values on both axes."""
        across = [Mark(self.x(v), f"{v:g}") for v in round_values(self.x_low, self.x_high)]
        return across, [Mark(self.y(v), f"{v:g}") for v in round_values(self.y_low, self.y_high)]


UNIT = Scale(0, 1, 0, 1)


def round_values(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 10) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


def precision_recall(behaviors: Mapping[str, Any], colors: Mapping[str, str]) -> Plot | None:
    """A curve per behaviour, a dot where its bout rule stands."""
    lines, dots = [], []
    for name, numbers in behaviors.items():
        curve = numbers.get("curve")
        if curve:
            points = list(zip(curve["recall"], curve["precision"], strict=True))
            lines.append(UNIT.line([(0.0, points[0][1]), *points], colors[name], name))
            p, r = numbers["frames"]["precision"]["value"], numbers["frames"]["recall"]["value"]
            if p is not None and r is not None:
                dots.append(Dot(UNIT.x(r), UNIT.y(p), colors[name], f"{name}: precision {p:.2f}, recall {r:.2f}"))
    if not lines:
        return None
    return Plot(
        "Precision against recall, frames", "recall", "precision", *UNIT.marks(), lines, dots, caption=CURVE_WORDS
    )


def onsets(behaviors: Mapping[str, Any], colors: Mapping[str, str]) -> Plot | None:
    """F1 of onsets at rising tolerance, with intervals."""
    names = list(next(iter(behaviors.values()))["onsets"]) if behaviors else []
    scale = Scale(-0.3, max(len(names) - 0.7, 0.7), 0, 1)
    lines, dots = [], []
    for nth, (name, numbers) in enumerate(behaviors.items()):
        aside = 0.07 * (nth - (len(behaviors) - 1) / 2)  # so that intervals don't hide each other
        scores = [
            (place + aside, tolerance, numbers["onsets"][tolerance]["f1"]) for place, tolerance in enumerate(names)
        ]
        known = [(x, tolerance, one) for x, tolerance, one in scores if one["value"] is not None]
        if not known:
            continue
        lines.append(scale.line([(x, one["value"]) for x, _, one in known], colors[name], name))
        dots += [
            Dot(
                scale.x(x),
                scale.y(one["value"]),
                colors[name],
                f"{name}, ±{tolerance}: {one['value']:.2f}{spread(one)}",
            )
            for x, tolerance, one in known
        ]
        lines += [
            scale.line([(x, end) for end in one["interval"]], colors[name]) for x, _, one in known if one["interval"]
        ]
    if not lines:
        return None
    marks = [Mark(scale.x(place), f"±{name}") for place, name in enumerate(names)]
    return Plot(
        "Bouts found in time", "tolerance of the start", "F1", marks, scale.marks()[1], lines, dots, caption=ONSET_WORDS
    )


def reliability(behaviors: Mapping[str, Any], colors: Mapping[str, str]) -> Plot | None:
    """Share of true frames against probability."""
    lines, dots = [UNIT.line([(0, 0), (1, 1)], GREY, is_dashed=True)], []
    for name, numbers in behaviors.items():
        if "calibration" not in numbers:
            continue
        bins = [one for one in numbers["calibration"]["frames"]["bins"] if one["n"]]
        points = [(one["probability"], one["share_true"]) for one in bins]
        lines.append(UNIT.line(points, colors[name], name))
        dots += [
            Dot(
                UNIT.x(x), UNIT.y(y), colors[name], f"{name}: probability {x:.2f}, true in {y:.0%} of {one['n']} frames"
            )
            for (x, y), one in zip(points, bins, strict=True)
        ]
    if len(lines) == 1:
        return None
    return Plot(
        "Are probabilities right?",
        "probability that the model gives",
        "share of frames that are true",
        *UNIT.marks(),
        lines,
        dots,
        caption=RELIABILITY_WORDS,
    )


def risk(behaviors: Mapping[str, Any], colors: Mapping[str, str]) -> Plot | None:
    """Share of wrong bouts among the surest ones."""
    lines = []
    for name, numbers in behaviors.items():
        points = list(
            zip(*(numbers.get("risk_coverage", {}).get(key, ()) for key in ("coverage", "risk")), strict=True)
        )
        if points:
            lines.append(UNIT.line([(float(x), float(y)) for x, y in points], colors[name], name))
    if not lines:
        return None
    return Plot(
        "What checking by hand would buy",
        "share of bouts kept, the surest first",
        "share that is false",
        *UNIT.marks(),
        lines,
        caption=RISK_WORDS,
    )


def bland_altman(name: str, measure: str, numbers: Mapping[str, Any], color: str) -> Plot | None:
    """Difference of both scorers per video against their mean, with bias and limits."""
    pairs = [(a, b) for a, b in numbers["values"] if a is not None and b is not None]
    if len(pairs) < 2 or numbers["bias"] is None:
        return None
    means, gaps = [(a + b) / 2 for a, b in pairs], [b - a for a, b in pairs]
    ends = [end for key in ("lower_limit_interval", "upper_limit_interval") for end in numbers[key] or ()]
    y_low, y_high = _padded([*gaps, *ends, numbers["lower_limit"], numbers["upper_limit"], 0.0])
    x_low, x_high = _padded(means)
    scale = Scale(x_low, x_high, y_low, y_high)
    levels = [("lower_limit", True), ("bias", False), ("upper_limit", True)]
    lines = [scale.line([(x_low, 0.0), (x_high, 0.0)], "#dcdcd6")]
    lines += [scale.line([(x_low, numbers[k]), (x_high, numbers[k])], color, is_dashed=dash) for k, dash in levels]
    bands = [
        Band(scale.y(high), round(scale.y(low) - scale.y(high), 1), color)
        for low, high in (numbers[f"{key}_interval"] for key, _ in levels if numbers[f"{key}_interval"])
    ]
    dots = [
        Dot(scale.x(x), scale.y(y), color, f"true {a:g}, found {b:g}")
        for (a, b), x, y in zip(pairs, means, gaps, strict=True)
    ]
    words = {"count": "bouts", "duration_s": "seconds", "latency_s": "seconds to the first"}[measure]
    sure = " Shaded: where these lines would lie in 95 of 100 cases, had other animals been filmed." if bands else ""
    caption = (
        f"One dot a video (n = {numbers['n']}). Full line: bias {numbers['bias']:+.2f}; dashed: 95 of 100 videos lie "
        f"between {numbers['lower_limit']:+.2f} and {numbers['upper_limit']:+.2f}.{sure}"
    )
    across, up = scale.marks()
    x_label = f"mean of true and found, {words}"
    return Plot(f"{name}: {words} per video", x_label, "found minus true", across, up, lines, dots, bands, caption)


def spread(measured: Mapping[str, Any], digits: int = 2) -> str:
    """ " (0.81 to 0.93)", or nothing where no interval is known."""
    return between(measured["interval"], digits)


def between(interval: Sequence[float] | None, digits: int = 2, sign: str = "") -> str:
    """The same of an interval alone; with ``sign`` "+" of differences, which have theirs."""
    return f" ({interval[0]:{sign}.{digits}f} to {interval[1]:{sign}.{digits}f})" if interval else ""


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or max(abs(high), 1.0) * 0.5
    return low - room, high + room
