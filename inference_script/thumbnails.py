"""One picture per bout, so that a human can judge it at a glance.

    +-----------------+--------+--------+--------+
    | whole frame,    | first  | middle | last   |    close-ups: what the classifier was shown
    | crop box drawn  | frame  | frame  | frame  |
    +-----------------+--------+--------+--------+

The pictures are made once, when a video is finished, because that needs its frames; the report then only embeds them.
Where a class has more bouts than fit, the surest and the least sure ones are taken in turn: they say the most about
whether the model can be trusted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from mousetal import atomic
from mousetal.geometry import crop_clip, square
from mousetal.types import Bout, BoxInt, Frame, UInt8Array, VideoInfo, VideoResult, WindowScore
from mousetal.video import decode

HEIGHT = 200
MOST_PER_BEHAVIOR = 12
# A whole frame wider than this is shrunk and given bars above and below: a row of three arenas stays a thumbnail.
MOST_WIDTH = 356
JPEG_QUALITY = 82
# Frames that are decoded and thrown away rather than sought past: about two key frame distances of usual files.
SKIP_FRAMES = 300
BOX_PADDING = 0.2
SEPARATOR = 4
BOX_RGB = (240, 228, 66)

FramesFrom = Callable[[VideoInfo, int], Iterator[Frame]]


def file_of(folder: Path, bout: Bout) -> Path:
    """The picture of a bout. Bouts of two classes over the same frames share it: they show the same."""
    return folder / f"{bout.start_frame:08d}-{bout.end_frame:08d}.jpg"


def choose(bouts: Iterable[Bout], most_per_behavior: int) -> list[Bout]:
    """The bouts to show, in order of time: per behaviour at most so many, the surest and the least sure in turn.

    A smaller number chooses from among those of a larger one, so a report may show fewer than were saved.
    """
    by_behavior: dict[str, list[Bout]] = defaultdict(list)
    for bout in bouts:
        by_behavior[bout.behavior].append(bout)
    chosen: list[Bout] = []
    for group in by_behavior.values():
        ranked = sorted(group, key=lambda bout: (-bout.mean_probability, bout.start_frame))
        in_turn = [ranked[i // 2 if i % 2 == 0 else -1 - i // 2] for i in range(len(ranked))]
        chosen += in_turn[:most_per_behavior]
    return sorted(chosen, key=lambda bout: (bout.start_frame, bout.end_frame, bout.behavior))


def write(
    info: VideoInfo,
    result: VideoResult,
    folder: Path,
    *,
    most_per_behavior: int = MOST_PER_BEHAVIOR,
    frames_from: FramesFrom = decode,
) -> list[Path]:
    """Saves the pictures of a video's bouts in ``folder`` and returns them; older ones there are removed.

    Decodes forward only, and only around the bouts. A frame that cannot be decoded leaves its place grey.
    Raises VideoError when the file cannot be read, OutputError when a picture cannot be saved.
    """
    bouts = {file_of(folder, bout): bout for bout in choose(result.bouts, most_per_behavior)}
    wanted: dict[int, list[Path]] = defaultdict(list)
    for path, bout in bouts.items():
        for number in _key_frames(bout):
            wanted[number].append(path)
    panels: dict[Path, dict[int, list[UInt8Array]]] = defaultdict(dict)
    for frame in _frames_at(info, sorted(wanted), frames_from):
        for path in wanted[frame.index]:
            crop = _crop_of(bouts[path], frame.index, result.scores)
            panels[path][frame.index] = [_whole(frame.rgb, crop), *_close_up(frame.rgb, crop)]
    pictures = {path: _strip(_key_frames(bouts[path]), found) for path, found in panels.items()}
    _save(pictures, folder)
    return list(pictures)


def _key_frames(bout: Bout) -> tuple[int, int, int]:
    last = bout.end_frame - 1
    return bout.start_frame, (bout.start_frame + last) // 2, last


def _frames_at(info: VideoInfo, numbers: Sequence[int], frames_from: FramesFrom) -> Iterator[Frame]:
    """The frames with these numbers (ascending), decoded in as few forward passes as are worth a seek."""
    breaks = [i for i in range(1, len(numbers)) if numbers[i] - numbers[i - 1] > SKIP_FRAMES]
    for begin, end in zip([0, *breaks], [*breaks, len(numbers)], strict=True):
        run = numbers[begin:end]
        wanted = set(run)
        for frame in frames_from(info, run[0]) if run else ():
            if frame.index in wanted:
                yield frame
            if frame.index >= run[-1]:
                break


def _crop_of(bout: Bout, frame_index: int, scores: Sequence[WindowScore]) -> BoxInt | None:
    """The crop of the window that sees the frame most nearly in its middle, else a square around the bout's box."""
    around = [
        s for s in scores if s.crop_xyxy and s.window.frames.start_frame <= frame_index < s.window.frames.end_frame
    ]
    if around:
        return min(around, key=lambda s: abs(_twice_middle(s) - 2 * frame_index)).crop_xyxy
    return square(bout.box_xyxy, BOX_PADDING) if bout.box_xyxy else None


def _twice_middle(score: WindowScore) -> int:
    return score.window.frames.start_frame + score.window.frames.end_frame


def _whole(rgb: UInt8Array, crop: BoxInt | None) -> UInt8Array:
    """The frame at the strip's height with the crop box drawn."""
    height, width = rgb.shape[:2]
    scale = min(HEIGHT / height, MOST_WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if crop:
        x1, y1, x2, y2 = (round(edge * scale) for edge in crop)
        # Held inside the picture by a pixel, so that a box that sticks out is still seen to end at the edge.
        corners = (max(1, x1), max(1, y1)), (min(size[0] - 2, x2), min(size[1] - 2, y2))
        cv2.rectangle(small, *corners, (0, 0, 0), 4)
        cv2.rectangle(small, *corners, BOX_RGB, 2)
    above = (HEIGHT - size[1]) // 2
    panel = np.full((HEIGHT, size[0], 3), 24, np.uint8)
    panel[above : above + size[1]] = small
    return panel


def _close_up(rgb: UInt8Array, crop: BoxInt | None) -> list[UInt8Array]:
    return [crop_clip([rgb], crop, HEIGHT)[0]] if crop else []


def _strip(numbers: Sequence[int], found: dict[int, list[UInt8Array]]) -> UInt8Array:
    """The panels side by side: the whole middle frame (or another that there is), then the close-ups in order."""
    whole = found.get(numbers[1]) or next(iter(found.values()))
    missing = np.full((HEIGHT, HEIGHT, 3), 200, np.uint8)
    # Without a crop box there are no close-ups, and the whole frame stands alone.
    close_ups = [found[n][1] if n in found else missing for n in numbers] if len(whole) > 1 else []
    gap = np.full((HEIGHT, SEPARATOR, 3), 255, np.uint8)
    row = [whole[0]]
    for panel in close_ups:
        row += [gap, panel]
    return np.concatenate(row, axis=1)


def _save(pictures: dict[Path, UInt8Array], folder: Path) -> None:
    try:
        for old in folder.glob("*.jpg"):
            old.unlink()
    except OSError as error:
        raise atomic.output_error(folder, error) from error
    for path, rgb in pictures.items():
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        atomic.write_bytes(path, cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)[1].tobytes())
