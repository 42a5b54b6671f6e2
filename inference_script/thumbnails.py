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
from collections.abc import Iterable
from pathlib import Path

from mousetal import atomic
from mousetal.filmstrip import FramesFrom, crops_at, frames_at, jpeg, strip, views
from mousetal.geometry import square
from mousetal.types import Bout, BoxInt, UInt8Array, VideoInfo, VideoResult
from mousetal.video import decode

MOST_PER_BEHAVIOR = 12
BOX_PADDING = 0.2


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
    crops = crops_at(wanted, result.scores)
    panels: dict[Path, dict[int, list[UInt8Array]]] = defaultdict(dict)
    pictures: dict[Path, bytes] = {}
    for frame in frames_at(info, sorted(wanted), frames_from):
        for path in wanted[frame.index]:
            panels[path][frame.index] = views(frame.rgb, crops.get(frame.index) or _around(bouts[path]))
        _finish(pictures, panels, bouts, frame.index)
    _finish(pictures, panels, bouts, info.num_frames)
    _save(pictures, folder)
    return list(pictures)


def _finish(
    pictures: dict[Path, bytes], panels: dict[Path, dict[int, list[UInt8Array]]], bouts: dict[Path, Bout], through: int
) -> None:
    """Make the pictures of bouts that end by the frame ``through``, so that few are held as pixels."""
    for path in [path for path in panels if bouts[path].end_frame - 1 <= through]:
        pictures[path] = jpeg(strip(_key_frames(bouts[path]), panels.pop(path)))


def _key_frames(bout: Bout) -> tuple[int, int, int]:
    last = bout.end_frame - 1
    return bout.start_frame, (bout.start_frame + last) // 2, last


def _around(bout: Bout) -> BoxInt | None:
    """A square around the bout's box, for a frame of which no window tells what the classifier was shown."""
    return square(bout.box_xyxy, BOX_PADDING) if bout.box_xyxy else None


def _save(pictures: dict[Path, bytes], folder: Path) -> None:
    try:
        for old in folder.glob("*.jpg"):
            old.unlink()
    except OSError as error:
        raise atomic.output_error(folder, error) from error
    for path, content in pictures.items():
        atomic.write_bytes(path, content)
