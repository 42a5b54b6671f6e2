"""Video files: what is in them (`probe`), and their frames, each once and in order (`decode`).

The rest of the code sees files only through these functions; the decoder behind them is FFmpeg by way of PyAV.

    info = probe(path)
    for frame in decode(info):
        frame.index, frame.pts_seconds, frame.rgb

A frame's number is the rank of its presentation time among the times of all packets that are to be shown, so a span
that cannot be decoded leaves a gap in the numbers and later frames keep theirs. A picture that the decoder flags as
damaged (it paints over what it could not read) is not delivered either; pictures predicted from it are.

Left out on purpose: sound, subtitles, all but one video stream, pixels that are not square, mirrored display.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from mousetal.errors import VideoError
from mousetal.types import Float64Array, Frame, Int64Array, VideoInfo

log = logging.getLogger(__name__)

# Only containers made for moving pictures are opened. FFmpeg would also "play" still images, plain text and playlists,
# which may point anywhere.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,mpeg,mpegts,mpegvideo,m4v,h264,hevc,flv,ogg,mxf,nut,ivf,gif,dv,"
    "mjpeg,rm,wtv,vc1,y4m,yuv4mpegpipe"
)
# Containers that store no presentation times.
WITHOUT_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg", "vc1"})


def is_video(path: Path) -> bool:
    """Whether the file's content (not its name) is a container with a video stream. False for anything unreadable."""
    try:
        with _open(path) as container:
            _video_stream(container, path)
    except VideoError:
        return False
    return True


def probe(path: Path) -> VideoInfo:
    """What the file holds, from its packets and its first picture.

    Raises VideoError when there is no video stream, no packet, or no picture that can be decoded.
    """
    with _open(path) as container:
        stream = _video_stream(container, path)
        times = _frame_times(path)
        first = _first_picture(container, stream, path)
        rotation = _rotation(first)
        width, height = (first.height, first.width) if rotation % 180 else (first.width, first.height)
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            fps=times.fps,
            num_frames=len(times.ticks),
            declared_frames=stream.frames or None,
            duration_seconds=float(times.seconds[-1] + 1 / times.fps),
            pts_seconds=times.seconds,
            codec=stream.codec_context.name,
            pixel_format=first.format.name,
            rotation_degrees=rotation,
            is_variable_frame_rate=times.is_variable,
            warnings=_warnings(times, stream.frames),
        )


def decode(info: VideoInfo, start_frame: int = 0) -> Iterator[Frame]:
    """The file's frames from ``start_frame`` on, in order of presentation, each once; numbers never shift.

    Raises VideoError when the file cannot be read any more or is not the one that was probed.
    """
    if not 0 <= start_frame <= info.num_frames:
        raise ValueError(f"start_frame must be in 0..{info.num_frames}, got {start_frame}")
    return _decode(info, start_frame)


def _decode(info: VideoInfo, start_frame: int) -> Iterator[Frame]:
    times = _frame_times(info.path)
    if len(times.ticks) != info.num_frames:
        raise VideoError(
            f"{info.path}: {info.num_frames} frames expected, {len(times.ticks)} found. The file has changed since it "
            "was first read: start again when it is complete."
        )
    to_rgb = _RgbConverter(info)
    for number, picture in _numbered(info.path, times, start_frame):
        yield Frame(number, float(times.seconds[number]), to_rgb(picture))


def _numbered(path: Path, times: _FrameTimes, start_frame: int) -> Iterator[tuple[int, VideoFrame]]:
    """Undamaged pictures from ``start_frame`` on with their numbers, strictly increasing."""
    due = start_frame if times.from_packets else 0
    failures = 0
    with _open(path) as container:
        stream = _video_stream(container, path)
        packets = _packets_from(container, stream, times, due, path)
        for picture in _pictures(packets):
            if picture is None:
                failures += 1
                due += not times.from_packets
                continue
            number = times.number_of(picture.pts) if times.from_packets else due
            if number is None or number < due:
                continue
            due = number + 1
            if picture.is_corrupt:
                failures += 1
            elif start_frame <= number < len(times.ticks):
                yield number, picture
    if failures:
        log.warning("some pictures could not be decoded: video=%s failures=%d", path, failures)


@dataclass(frozen=True, eq=False)
class _FrameTimes:
    """Presentation times of all frames, in ``time_base`` ticks, increasing.

    ``from_packets`` is False when the container stores none, or wrong ones: frames are then numbered as they come.
    """

    ticks: Int64Array
    seconds: Float64Array
    fps: Fraction
    is_variable: bool
    from_packets: bool
    key_ticks: Int64Array

    def number_of(self, pts: int | None) -> int | None:
        if pts is None:
            return None
        number = int(np.searchsorted(self.ticks, pts))
        return number if number < len(self.ticks) and self.ticks[number] == pts else None


def _frame_times(path: Path) -> _FrameTimes:
    stat = path.stat()
    return _scan(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _scan(path: Path, size_bytes: int, modified_ns: int) -> _FrameTimes:
    """Read all packets, decode none. Remembered for the files last used: `decode` follows `probe` on the same file."""
    pts: list[int] = []
    keys: list[int] = []
    timeless = 0
    in_order = True
    with _open(path) as container:
        stream = _video_stream(container, path)
        for packet in _packets(container, stream, path):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None:
                timeless += 1
                continue
            in_order = in_order and (not pts or packet.pts > pts[-1])
            pts.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        if not pts and not timeless:
            raise VideoError(f"{path}: at least one frame expected, none found. Remove the file or record it again.")
        time_base = stream.time_base or Fraction(1, 1000)
        made_up = container.format.name in WITHOUT_TIMES and in_order and stream.codec_context.has_b_frames
        if timeless:
            fps = stream.guessed_rate or Fraction(25)
            ticks = np.arange(len(pts) + timeless, dtype=np.int64)
            return _FrameTimes(ticks, ticks / float(fps), fps, False, False, np.zeros(0, np.int64))
        ticks = np.unique(np.array(pts, np.int64))
        fps = _frame_rate(ticks, time_base, stream)
        return _FrameTimes(
            ticks,
            (ticks - ticks[0]) * time_base.numerator / time_base.denominator,
            fps,
            _is_variable(ticks),
            not made_up,
            np.array(sorted(keys), np.int64),
        )


def _frame_rate(ticks: Int64Array, time_base: Fraction, stream: VideoStream) -> Fraction:
    claimed = stream.average_rate or stream.guessed_rate or Fraction(25)
    if len(ticks) < 2:
        return claimed
    measured = (len(ticks) - 1) / (int(ticks[-1] - ticks[0]) * time_base)
    return claimed if abs(claimed / measured - 1) < Fraction(1, 100) else measured.limit_denominator(1000)


def _is_variable(ticks: Int64Array) -> bool:
    steps = np.diff(ticks)
    if len(steps) == 0:
        return False
    usual = float(np.median(steps))
    return bool(np.abs(steps - usual).max() > max(1.0, usual / 10))


def _warnings(times: _FrameTimes, declared: int) -> tuple[str, ...]:
    found = []
    if declared and declared != len(times.ticks):
        found.append(f"the header declares {declared} frames, the file holds {len(times.ticks)}")
    if not times.from_packets:
        found.append("the container stores no reliable presentation times: they follow from the frame rate")
    return tuple(found)


def _open(path: Path) -> InputContainer:
    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path}: a video expected, the file is empty (0 bytes). Copy or record it again.")
        return av.open(
            f"file:{path}", mode="r", metadata_errors="replace", container_options={"format_whitelist": CONTAINERS}
        )
    except FileNotFoundError as error:
        raise VideoError(f"{path}: a video file expected, there is none. Check the path.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise VideoError(f"{path}: a readable file expected, got: {error.strerror}. Check its permissions.") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: a video expected, the content is none that can be read. Remove it.") from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise VideoError(f"{path}: no video stream (found: {kinds}). Remove the file or export it again with its picture.")


def _packets(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[Packet[VideoStream]]:
    try:
        yield from container.demux(stream)
    except av.InvalidDataError:
        log.warning("the file cannot be read to its end: video=%s", path)
    except OSError as error:
        raise VideoError(f"{path}: reading failed half-way ({error.strerror}). Check the disk or network.") from error


def _packets_from(
    container: InputContainer, stream: VideoStream, times: _FrameTimes, start_frame: int, path: Path
) -> Iterator[Packet[VideoStream]]:
    if start_frame < len(times.ticks):
        pass
    return _packets(container, stream, path)


def _pictures(packets: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame | None]:
    """Decoded pictures in order of presentation; None stands for one packet that could not be decoded."""
    for packet in packets:
        try:
            pictures = packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            yield None
        else:
            yield from pictures


def _first_picture(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    for picture in _pictures(_packets(container, stream, path)):
        if picture is not None:
            return picture
    raise VideoError(f"{path}: no frame can be decoded ({stream.codec_context.name}). Export it again.")


def _rotation(picture: VideoFrame) -> int:
    """Quarter turns counterclockwise that bring the stored picture upright, in degrees: 0, 90, 180 or 270."""
    return round(picture.rotation / 90) * 90 % 360


class _RgbConverter:
    def __init__(self, info: VideoInfo) -> None:
        self.turns = info.rotation_degrees // 90
        self.stored = (info.height, info.width) if self.turns % 2 else (info.width, info.height)
        self.reformatter = VideoReformatter()

    def __call__(self, picture: VideoFrame) -> np.ndarray:
        width, height = self.stored
        rgb = self.reformatter.reformat(picture, width=width, height=height, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, self.turns)) if self.turns else rgb
