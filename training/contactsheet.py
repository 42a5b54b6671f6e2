"""Pictures of many frames with their boxes, for a person to look through in a minute."""

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
MOST_HEIGHT = 20_000  # pixels of a sheet; a JPEG ends at 65,500, and few programs show as much


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


def write(folder: Path, tiles: Sequence[UInt8Array]) -> list[Path]:
    """Write the tiles as JPEGs, row by row: contact_sheet.jpg, contact_sheet-2.jpg and so on, as many as it takes.

    Sheets of an earlier run are replaced. Returns the files, none without tiles. Raises OutputError.
    """
    for old in folder.glob("contact_sheet*.jpg"):
        old.unlink()
    sheets: list[list[UInt8Array]] = []
    height = MOST_HEIGHT
    for start in range(0, len(tiles), COLUMNS):
        row = _row(tiles[start : start + COLUMNS])
        if height + row.shape[0] > MOST_HEIGHT:
            sheets.append([])
            height = 0
        sheets[-1].append(row)
        height += row.shape[0]
    paths = []
    for number, rows in enumerate(sheets, start=1):
        path = folder / ("contact_sheet.jpg" if number == 1 else f"contact_sheet-{number}.jpg")
        content = cv2.imencode(".jpg", np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        atomic.write_bytes(path, content.tobytes())
        paths.append(path)
    return paths


def _row(tiles: Sequence[UInt8Array]) -> UInt8Array:
    row = np.zeros((max(one.shape[0] for one in tiles), COLUMNS * TILE_WIDTH, 3), np.uint8)
    for place, one in enumerate(tiles):
        row[: one.shape[0], place * TILE_WIDTH : (place + 1) * TILE_WIDTH] = one
    return row
