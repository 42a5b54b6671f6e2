"""The page around the videos' sections, as data: totals, files without a result, models, settings of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_script.report import words
from inference_script.report.numbers import BehaviorNumbers
from inference_script.report.sections import Section
from mousetal import __version__
from mousetal.formats.csv import VideoRow
from mousetal.svg import PALETTE
from mousetal.types import BoutRule, ClassifierSpec, DetectorSpec

# What run.json calls its groups, where that alone would not say it.
GROUP_TITLES = {"stages": "Time by stage", "seconds": "Seconds per video", "packages": "Packages"}


@dataclass(frozen=True, slots=True)
class Total:
    """One behaviour over all videos; ``videos_with`` counts those in which it occurred."""

    numbers: BehaviorNumbers
    videos_with: int


@dataclass(frozen=True, slots=True)
class Page:
    created: str
    version: str
    behaviors: list[str]
    colors: Mapping[str, str]
    totals: list[Total]
    scored_s: float
    not_scored_s: float
    longest_s: float
    sections: list[Section]
    without_result: list[VideoRow]
    classifiers: list[ClassifierSpec]
    detectors: list[DetectorSpec]
    reference_compat: bool
    methods: str
    run_tables: list[tuple[str, list[tuple[str, str]]]]


def add_colors(colors: dict[str, str], behaviors: Iterable[str]) -> None:
    """Give each behaviour that has no colour yet the next one of the palette."""
    for behavior in behaviors:
        colors.setdefault(behavior, PALETTE[len(colors) % len(PALETTE)])


def build(
    sections: list[Section], videos: Sequence[VideoRow], run: Mapping[str, Any], colors: Mapping[str, str]
) -> Page:
    """Everything that the template prints, from the videos' sections, the rows of videos.csv and run.json."""
    with_result = {section.video for section in sections}
    classifiers = list(dict.fromkeys(section.classifier for section in sections))
    return Page(
        created=_created(run),
        version=str(run.get("version") or __version__),
        behaviors=list(colors),
        colors=colors,
        totals=[_total(behavior, sections) for behavior in colors],
        scored_s=sum(section.scored_s for section in sections),
        not_scored_s=sum(section.not_scored_s for section in sections),
        longest_s=max((section.duration_s for section in sections), default=0.0),
        sections=sections,
        without_result=[row for row in videos if row.video not in with_result],
        classifiers=classifiers,
        detectors=list(dict.fromkeys(section.detector for section in sections)),
        reference_compat=any(section.reference_compat for section in sections),
        methods=_methods(sections) if len(classifiers) == 1 else "",
        run_tables=_tables(run),
    )


def bout_rules(classifier: ClassifierSpec) -> list[tuple[str, BoutRule]]:
    """The rule of each behaviour, the background left out."""
    pairs = zip(classifier.classes, classifier.rules, strict=False)
    return [(name, rule) for index, (name, rule) in enumerate(pairs) if index != classifier.background]


def _total(behavior: str, sections: Sequence[Section]) -> Total:
    found = [(section, section.numbers_of(behavior)) for section in sections]
    counted = [(section, of_class) for section, of_class in found if of_class is not None]
    bouts = sum(of_class.bouts for _, of_class in counted)
    total_s = sum(of_class.total_s for _, of_class in counted)
    scored_s = sum(section.scored_s for section, _ in counted)
    pooled = BehaviorNumbers(
        behavior=behavior,
        bouts=bouts,
        total_s=total_s,
        percent=100 * total_s / scored_s if scored_s > 0 else None,
        per_minute=60 * bouts / scored_s if scored_s > 0 else None,
        mean_s=total_s / bouts if bouts else None,
        median_s=None,
        longest_s=max((n.longest_s for _, n in counted if n.longest_s is not None), default=None),
        latency_s=None,
    )
    return Total(pooled, sum(of_class.bouts > 0 for _, of_class in counted))


def _methods(sections: Sequence[Section]) -> str:
    """A paragraph for a paper: what was scored with what, and what counts as a bout."""
    detector, classifier = sections[0].detector, sections[0].classifier
    scored_s = sum(section.scored_s for section in sections)
    text = (
        f"{words.long_time(scored_s)} of video ({words.count(len(sections), 'file')}) were analysed with mousetal "
        f"{__version__}. The animal was located by an RT-DETRv2 detector (model {detector.name}, SHA-256 "
        f"{detector.sha256[:12]}…), cut out, and classified by a video transformer (model {classifier.name}, SHA-256 "
        f"{classifier.sha256[:12]}…) on windows of {words.window(classifier)}. "
    )
    if any(section.reference_compat for section in sections):
        return text + "Windows were scored and merged into intervals as the reference system does."
    text += "Window probabilities were averaged to a probability per frame. "
    return text + " ".join(f"For {name}, {words.rule(rule)}." for name, rule in bout_rules(classifier))


def _created(run: Mapping[str, Any]) -> str:
    """When the run ended, or began, in the form in which run.json has it but for the fractions of a second."""
    stamp = str(run.get("finished_at") or run.get("started_at") or "")
    return stamp.replace("T", " ")[:16]


def _tables(run: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """run.json as tables: its plain values together, then one table per group; the models have tables of their own."""
    plain = {key: value for key, value in run.items() if not isinstance(value, Mapping)}
    groups = {key: value for key, value in run.items() if isinstance(value, Mapping) and key != "models"}
    tables = {"General": plain, **groups}
    return [
        (GROUP_TITLES.get(title, title.capitalize()), [(key, _text(value)) for key, value in rows.items()])
        for title, rows in tables.items()
        if rows
    ]


def _text(value: Any) -> str:
    if value is None or value == "":
        return words.NONE
    if isinstance(value, Mapping):
        return ", ".join(f"{_text(item)} {key}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or words.NONE
    return f"{value:.4g}" if isinstance(value, float) else str(value)
