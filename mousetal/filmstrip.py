"""Pictures of a moment in a video: the whole frame with the crop box drawn, and what the classifier was shown.

    +-----------------+--------+--------+--------+
    | whole frame,    | close-up on one frame    |
    | crop box drawn  | after the other          |
    +-----------------+--------+--------+--------+

What chooses the moments is elsewhere: the driver's report shows bouts, the evaluation shows errors.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from mousetal.geometry import crop_clip
from mousetal.types import BoxInt, Frame, Int64Array, UInt8Array, VideoInfo, WindowScore
from mousetal.video import decode

HEIGHT = 200
# A whole frame wider than this is shrunk and given bars above and below: a row of three arenas stays a thumbnail.
MOST_WIDTH = 356
JPEG_QUALITY = 82
# Frames that are decoded and thrown away rather than sought past: about two key frame distances of usual files.
SKIP_FRAMES = 300
SEPARATOR = 4
BOX_RGB = (240, 228, 66)

FramesFrom = Callable[[VideoInfo, int, Int64Array], Iterator[Frame]]  # as `decode`


def frames_at(info: VideoInfo, numbers: Sequence[int], frames_from: FramesFrom = decode) -> Iterator[Frame]:
    """The frames with these numbers (ascending), decoded in as few forward passes as are worth a seek."""
    breaks = [i for i in range(1, len(numbers)) if numbers[i] - numbers[i - 1] > SKIP_FRAMES]
    for begin, end in zip([0, *breaks], [*breaks, len(numbers)], strict=True):
        run = numbers[begin:end]
        wanted = set(run)
        for frame in frames_from(info, run[0], np.array(run, np.int64)) if run else ():
            if frame.index in wanted:
                yield frame
            if frame.index >= run[-1]:
                break


def crops_at(numbers: Iterable[int], scores: Iterable[WindowScore]) -> dict[int, BoxInt]:
    """Per frame the crop of the window that sees it most nearly in its middle; a frame in no such window is left out.

    One pass over the windows, of which a long video has tens of thousands, packed.
    """
    wanted = sorted(set(numbers))
    found: dict[int, BoxInt] = {}
    nearest: dict[int, int] = {}
    for score in scores:
        if not score.crop_xyxy:
            continue
        frames = score.window.frames
        for number in wanted[bisect_left(wanted, frames.start_frame) : bisect_left(wanted, frames.end_frame)]:
            distance = abs(frames.start_frame + frames.end_frame - 2 * number)
            if number not in nearest or distance < nearest[number]:
                nearest[number], found[number] = distance, score.crop_xyxy
    return found


def views(rgb: UInt8Array, crop: BoxInt | None) -> list[UInt8Array]:
    """The whole frame, and the close-up if it is known where to look."""
    return [_whole(rgb, crop), *([crop_clip([rgb], crop, HEIGHT)[0]] if crop else [])]


def strip(numbers: Sequence[int], found: Mapping[int, list[UInt8Array]]) -> UInt8Array:
    """`views` side by side: the whole middle frame (or another that there is), then the close-ups in order.

    ``found`` is by frame number and not empty; a frame that is missing from it leaves its place grey.
    """
    whole = found.get(numbers[len(numbers) // 2]) or next(iter(found.values()))
    missing = np.full((HEIGHT, HEIGHT, 3), 200, np.uint8)
    # Without a crop box there are no close-ups, and the whole frame stands alone.
    has_close_ups = len(whole) > 1
    close_ups = [found[n][1] if len(found.get(n, ())) > 1 else missing for n in numbers] if has_close_ups else []
    gap = np.full((HEIGHT, SEPARATOR, 3), 255, np.uint8)
    row = [whole[0]]
    for panel in close_ups:
        row += [gap, panel]
    return np.concatenate(row, axis=1)


def jpeg(rgb: UInt8Array) -> bytes:
    """A picture as a file's content."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


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
