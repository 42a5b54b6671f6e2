"""Video files: what is in them (`probe`), and their frames, each once and in order (`decode`).

The rest of the code sees video files only through these functions. Behind them is FFmpeg, by way of PyAV.

    info = probe(path)
    for frame in decode(info):
        frame.index, frame.pts_seconds, frame.rgb

A frame's number is the rank of its presentation time among those of all packets to be shown, so what can't be decoded
leaves a gap in the numbers and later frames keep theirs. Pictures that the decoder says it could only patch up are not
delivered, nor those predicted from them: after damage, frames are missing up to the next key frame. (Not all damage is
noticed: HEVC in particular has few ways to tell noise from a picture.)

Left out on purpose: sound, subtitles, all but the first video stream, display of pixels that are not square, mirroring.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from mousetal.container import FrameIndex, frame_index, open_container, packets, video_stream
from mousetal.errors import VideoError
from mousetal.types import Frame, Int64Array, UInt8Array, VideoInfo

log = logging.getLogger(__name__)

NO_PIXELS = np.empty((0, 0, 3), np.uint8)
LONGEST_B_RUN = 8  # some encoders call all pictures B; holding them back has to end somewhere
# A frame number and its picture; None for a packet that could not be decoded.
NumberedPicture = tuple[int, VideoFrame | None]


def is_video(path: Path) -> bool:
    """Whether the file's content (not its name) is a container with a video stream; False for what can't be read."""
    try:
        with open_container(path) as container:
            video_stream(container, path)
    except VideoError:
        return False
    return True


def probe(path: Path) -> VideoInfo:
    """What the file holds, from its packets and its first picture.

    Raises VideoError when it is no video, holds no frame, or none that can be decoded.
    """
    index = frame_index(path)
    with open_container(path) as container:
        stream = video_stream(container, path)
        picture = _first_picture(container, stream, path)
        rotation = _rotation(picture)
        width, height = (picture.width, picture.height)[:: -1 if rotation % 180 else 1]
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            fps=index.fps,
            num_frames=len(index),
            declared_frames=stream.frames or None,
            duration_seconds=float(index.seconds[-1] + 1 / index.fps),
            pts_seconds=index.seconds,
            codec=stream.codec_context.name,
            pixel_format=picture.format.name,
            rotation_degrees=rotation,
            is_variable_frame_rate=index.is_variable_frame_rate,
            warnings=_warnings(index, stream.frames),
        )


def decode(info: VideoInfo, start_frame: int = 0, wanted: Int64Array | None = None) -> Iterator[Frame]:
    """The file's frames from ``start_frame`` on, in order of presentation, each once; ``rgb`` is as displayed.

    ``wanted`` are the numbers of the frames whose pixels are of use, None for all. The others come without, (0, 0, 3):
    to convert them would cost a third of decoding them or, where frames are small, more than that.

    Numbers increase strictly and skip frames that can't be decoded. Colours are converted by the matrix and range that
    the file declares; where it declares none, bt601 and limited range are assumed, as most players do for small sizes.
    Raises VideoError when the file can't be read any more, or is no longer the one that was probed.
    """
    if not 0 <= start_frame <= info.num_frames:
        raise ValueError(f"start_frame must be in 0..{info.num_frames}, got {start_frame}")
    return _decode(info, start_frame, wanted)


def _decode(info: VideoInfo, start_frame: int, wanted: Int64Array | None) -> Iterator[Frame]:
    index = frame_index(info.path)
    if len(index) != info.num_frames:
        raise VideoError(
            f"{info.path}: {info.num_frames} frames expected as when it was first read, {len(index)} found. "
            "Start again when the file is complete."
        )
    to_rgb = _RgbConverter(info)
    is_wanted = np.full(info.num_frames, wanted is None)
    if wanted is not None:
        is_wanted[wanted] = True
    for number, picture in _sound_pictures(info.path, index, start_frame):
        yield Frame(number, float(index.seconds[number]), to_rgb(picture) if is_wanted[number] else NO_PIXELS)


def _sound_pictures(path: Path, index: FrameIndex, start_frame: int) -> Iterator[tuple[int, VideoFrame]]:
    """Numbered pictures without damage: fast, with frames decoded in parallel, until there is any sign of damage.

    From there on one thread goes on: with several, FFmpeg loses sound frames next to damaged ones, how many depends on
    the number of cores, and parallel slices hide that a picture was patched up.
    """
    due = start_frame
    if index.has_own_times and due < len(index):
        for number, picture in _without_hidden_damage(_numbered(path, index, _entry(path, index, due), "AUTO")):
            if picture is None or picture.is_corrupt or number > due:
                break
            if number == due:
                yield number, picture
                due += 1
    if due < len(index):
        yield from _undamaged(path, index, due)


def _undamaged(path: Path, index: FrameIndex, start_frame: int) -> Iterator[tuple[int, VideoFrame]]:
    is_damaged, missing = False, len(index) - start_frame
    for number, picture in _without_hidden_damage(_numbered(path, index, _entry(path, index, start_frame), "NONE")):
        if picture is None or picture.is_corrupt:
            is_damaged = True
            continue
        is_damaged = is_damaged and not picture.key_frame
        if not is_damaged and number >= start_frame:
            missing -= 1
            yield number, picture
    if missing:
        log.warning("frames could not be decoded: video=%s missing=%d of=%d", path, missing, len(index))


def _entry(path: Path, index: FrameIndex, start_frame: int) -> int:
    """Where to start decoding for ``start_frame``: there, or with the file.

    FFmpeg calls a picture damaged that it enters by when it is no IDR picture and nothing promises that decoding can
    recover there, and with it all that follow. Only decoding from the start tells them from damaged ones.
    """
    if start_frame == 0 or not index.has_own_times:
        return 0
    _, first = next(_numbered(path, index, start_frame, "NONE"), (0, None))
    return start_frame if first is not None and not first.is_corrupt else 0


def _without_hidden_damage(numbered: Iterator[NumberedPicture]) -> Iterator[NumberedPicture]:
    """The same pictures less B pictures whose next reference is damaged.

    They are predicted from it although they are shown, and so come out of the decoder, before it.
    """
    held: deque[NumberedPicture] = deque()
    for number, picture in numbered:
        if picture is not None and picture.is_corrupt:
            held.clear()
        elif picture is not None and picture.pict_type == PictureType.B:
            held.append((number, picture))
            if len(held) > LONGEST_B_RUN:
                yield held.popleft()
            continue
        yield from held
        held.clear()
        yield number, picture
    yield from held


def _numbered(path: Path, index: FrameIndex, start_frame: int, threads: str) -> Iterator[NumberedPicture]:
    """Decoded pictures, from ``start_frame`` or somewhat before, with strictly increasing numbers.

    None stands for a packet that failed. Where the file has no times of its own, pictures are counted from the start of
    the file as they come, and a failed packet counts as a picture.
    """
    due = 0
    for picture in _pictures(_packets_from(path, index, start_frame, threads)):
        if picture is None:
            yield due, None
            due += not index.has_own_times
            continue
        number = index.number_of(picture.pts) if index.has_own_times else due
        if number is not None and due <= number < len(index):
            due = number + 1
            yield number, picture


def _packets_from(path: Path, index: FrameIndex, start_frame: int, threads: str) -> Iterator[Packet[VideoStream]]:
    """Packets from a key frame shown at or before ``start_frame``, or from the start of the file."""
    for key_tick in _entry_points(index, start_frame):
        with open_container(path) as container:
            stream = video_stream(container, path)
            stream.codec_context.thread_type = threads
            container.seek(key_tick, stream=stream)
            found = packets(container, stream, path)
            first = next((packet for packet in found if packet.is_keyframe), None)
            if first is None or first.pts is None or first.pts > index.ticks[start_frame]:
                continue  # seeking is only approximate in some containers
            first_pts = first.pts
            yield first
            # Pictures shown before the key frame are predicted from what was skipped.
            yield from (packet for packet in found if packet.pts is None or packet.pts >= first_pts)
            return
    with open_container(path) as container:
        stream = video_stream(container, path)
        stream.codec_context.thread_type = threads
        yield from packets(container, stream, path)


def _entry_points(index: FrameIndex, start_frame: int) -> list[int]:
    """Times to seek to, best first; none where decoding has to start with the file."""
    if start_frame == 0 or not index.has_own_times:
        return []
    before = int(np.searchsorted(index.key_ticks, index.ticks[start_frame], side="right"))
    return [int(tick) for tick in index.key_ticks[max(0, before - 2) : before][::-1]]


def _pictures(found: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame | None]:
    for packet in found:
        try:
            pictures = packet.decode()
        except av.FFmpegError:
            yield None
        else:
            yield from pictures


def _first_picture(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    for picture in _pictures(packets(container, stream, path)):
        if picture is not None:
            return picture
    codec = stream.codec_context.name
    raise VideoError(f"{path}: {codec} frames expected, not one can be decoded. Remove the file or export it again.")


def _rotation(picture: VideoFrame) -> int:
    """Degrees counterclockwise, in whole quarter turns, that bring the stored picture upright."""
    return round(picture.rotation / 90) * 90 % 360


def _warnings(index: FrameIndex, declared: int) -> tuple[str, ...]:
    found = []
    if declared and declared == len(index) + index.hidden_frames and index.hidden_frames:
        found.append(f"an edit list hides {index.hidden_frames} of {declared} frames")
    elif declared and declared != len(index):
        found.append(f"the header declares {declared} frames, the file holds {len(index)}")
    if not index.has_own_times:
        found.append("the file stores no reliable frame times: frames are counted as they come")
    return tuple(found)


class _RgbConverter:
    """Turns decoded pictures into arrays of one size, upright; keeps the conversion tables between pictures."""

    def __init__(self, info: VideoInfo) -> None:
        self._quarter_turns = info.rotation_degrees // 90
        # A stream may change its resolution half-way; boxes need one frame size for the whole video.
        self._stored_size = (info.width, info.height)[:: -1 if self._quarter_turns % 2 else 1]
        self._reformatter = VideoReformatter()

    def __call__(self, picture: VideoFrame) -> UInt8Array:
        width, height = self._stored_size
        rgb = self._reformatter.reformat(picture, width=width, height=height, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, self._quarter_turns))
