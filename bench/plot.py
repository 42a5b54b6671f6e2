"""A bar for each row: how many times faster than the reference's schedule, and the least and greatest of the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.summary import Line
from mousetal.svg import PALETTE

WIDTH, LABEL, NUMBERS = 800, 260, 170  # pixels: all, the titles on the left, the numbers on the right
BAR, GAP, TOP, LINE = 18, 10, 40, 16
CAPTION = 130  # letters of its small print in a line
INK, FAINT = "#222222", "#dddddd"


def svg(lines: Sequence[Line], caption: str) -> str:
    """The figure as a file of its own; rows that were not compared with the yardstick are left out."""
    shown = [(line, line.ratio) for line in lines if line.ratio is not None]
    longest = max((ratio.most for _, ratio in shown), default=1.0)
    scale = (WIDTH - LABEL - NUMBERS) / longest
    below = _wrapped(caption, CAPTION)
    base = TOP + len(shown) * (BAR + GAP)
    height = base + LINE * (len(below) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13" fill="{INK}" role="img">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="22" font-weight="bold">Times the speed of the reference\'s schedule</text>',
    ]
    for i, (line, ratio) in enumerate(shown):
        y = TOP + i * (BAR + GAP)
        middle, end = y + BAR / 2, LABEL + scale * ratio.median
        least, most = (LABEL + scale * value for value in (ratio.least, ratio.most))
        parts += [
            f'<text x="{LABEL - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(line.row.title)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{end - LABEL:.1f}" height="{BAR}" fill="{PALETTE[i % len(PALETTE)]}"/>',
            f'<path d="M{least:.1f},{middle:.1f}H{most:.1f}" stroke="{INK}" stroke-width="2"/>',
            f'<text x="{max(end, most) + 8:.1f}" y="{middle + 4:.1f}">{ratio.median:.2f}, '
            f"{line.real_time:.2f} x real time</text>",
        ]
    parts.append(f'<path d="M{LABEL},{TOP - 6}V{base}" stroke="{FAINT}"/>')
    parts += [
        f'<text x="12" y="{base + LINE * (i + 1)}" font-size="11">{escape(words)}</text>'
        for i, words in enumerate(below)
    ]
    return "\n".join((*parts, "</svg>", ""))


def _wrapped(words: str, width: int) -> list[str]:
    found = [""]
    for word in words.split():
        if len(found[-1]) + len(word) >= width:
            found.append("")
        found[-1] = f"{found[-1]} {word}".strip()
    return found
