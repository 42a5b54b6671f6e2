"""One picture of many frames with their boxes, for a person to look through in a minute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mousetal import atomic
from mousetal.types import UInt8Array

TILE_WIDTH = 240  # pixels
COLUMNS = 6
GOOD, DOUBTFUL = (80, 220, 80), (60, 60, 235)  # green, red; OpenCV's order
JPEG_QUALITY = 88


def tile(rgb: UInt8Array, box_xyxy: Sequence[float], doubt: str, caption: str) -> UInt8Array:
    """A small picture of a frame: its box green, or red with the doubt; uint8 BGR (height, TILE_WIDTH, 3)."""
    scale = TILE_WIDTH / rgb.shape[1]
    size = (TILE_WIDTH, max(1, round(rgb.shape[0] * scale)))
    bgr = np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)[..., ::-1])
    x1, y1, x2, y2 = (round(value * scale) for value in box_xyxy)
    colour = DOUBTFUL if doubt else GOOD
    cv2.rectangle(bgr, (x1, y1), (x2, y2), colour, 2)
    text = f"{caption} {doubt}".strip()
    cv2.putText(bgr, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(bgr, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(bgr, np.uint8)


def write(path: Path, tiles: Sequence[UInt8Array]) -> None:
    """Write the tiles as one JPEG, row by row; nothing when there are none. Raises OutputError."""
    rows = []
    for start in range(0, len(tiles), COLUMNS):
        row = list(tiles[start : start + COLUMNS])
        height = max(one.shape[0] for one in row)
        sheet = np.zeros((height, COLUMNS * TILE_WIDTH, 3), np.uint8)
        for place, one in enumerate(row):
            sheet[: one.shape[0], place * TILE_WIDTH : (place + 1) * TILE_WIDTH] = one
        rows.append(sheet)
    if rows:
        content = cv2.imencode(".jpg", np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        atomic.write_bytes(path, content.tobytes())
