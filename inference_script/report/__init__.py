"""The report: one HTML page over all videos of a run that a biologist can read, print and keep.

    write_report(output, results, rows, run)        # OUTPUT/report.html

The page is one file. Style, script, figures (SVG) and thumbnails (data URIs) are inside it, and a content security
policy in its head forbids the browser to load anything else. Results become small sections one at a time
(`sections`), so that the posteriors of only one video are in memory; Jinja templates turn the sections into HTML and
escape every name on the way.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from inference_script.report import figures, numbers, page, sections, words
from mousetal import atomic, records, svg
from mousetal.formats.csv import VideoRow
from mousetal.types import VideoResult

NAME = "report.html"


def write_report(
    output: Path, results: Iterable[VideoResult], videos: Sequence[VideoRow], run: Mapping[str, Any]
) -> Path:
    """Write OUTPUT/report.html and return its path; raises OutputError.

    ``results`` may be a generator and is gone through once. ``videos`` has one row per input file: those without a
    result are listed with their reason. ``run`` is the content of run.json, shown as it is at the end of the page.
    """
    budget = sections.Budget.for_videos(len(videos))
    colors: dict[str, str] = {}
    parts = []
    for number, result in enumerate(results, start=1):
        page.add_colors(colors, numbers.behaviors(result))
        folder = records.thumbnails_path(output, result.video)
        parts.append(sections.build(result, f"v{number}", colors, folder, budget))
    path = output / NAME
    atomic.write_text(path, render(page.build(parts, videos, run, colors)))
    return path


def render(content: page.Page) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("inference_script.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        bout_rules=page.bout_rules,
        clock=svg.clock,
        count_of=words.count,
        data_uri=data_uri,
        duration=words.duration,
        long_time=words.long_time,
        number=words.number,
        rule_words=words.rule,
        window_words=words.window,
    )
    environment.globals["duration_axis"] = figures.duration_axis()
    return environment.get_template("page.html").render(page=content)


def data_uri(jpeg: Path) -> str:
    """A picture as a text that stands for it in the page; nothing where it has gone meanwhile."""
    try:
        return "data:image/jpeg;base64," + base64.b64encode(jpeg.read_bytes()).decode("ascii")
    except OSError:
        return "data:,"
