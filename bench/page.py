"""What is printed: the tables, and what they were measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import machine, table
from bench.summary import Line

NOTE = """\
Medians of {rounds} interleaved rounds (least-greatest); ratios are taken within a round, then the median. Measured from
loaded, warm models to written results. "gRPC" is what the row takes beyond the same job with both networks in the
driver's process. Where there are services, "stages" of detect and classify are the driver's waiting for them; their
work is in CPU seconds."""


def caption(document: Mapping[str, Any]) -> str:
    """What was measured, and on what, in one sentence."""
    threads = f"threads of each network: {document['threads'] or 'one per core'}"
    return (
        f"{document['film']['title']}, {document['models']} (boxes: {document['boxes']}), on {document['device']}, "
        f"{threads}. {machine.sentence(document['machine'])}"
    )


def text(lines: Sequence[Line], document: Mapping[str, Any]) -> str:
    """All of it, as Markdown."""
    parts = [
        caption(document),
        table.text(lines),
        NOTE.format(rounds=document["rounds"]),
        table.stages_text(lines),
        table.comparisons_text(document["comparisons"]),
    ]
    return "\n\n".join(part for part in parts if part)
