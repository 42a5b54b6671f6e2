"""Video containers: opening them, and finding out from their packets which frames they hold, and when.

Nothing is decoded here. `video` builds on it; nobody else needs it.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from mousetal.errors import VideoError
from mousetal.types import Float64Array, Int64Array

log = logging.getLogger(__name__)

# Only containers made for moving pictures are opened. FFmpeg would also "play" still images, plain text and playlists,
# and the last may point anywhere.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,mpeg,mpegts,mpegvideo,m4v,h264,hevc,mjpeg,vc1,flv,ogg,mxf,nut,ivf,"
    "dv,wtv,rm,yuv4mpegpipe"
)
ASSUMED_FPS = Fraction(25)


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """The frames that a file shows, in order.

    ``ticks`` are strictly increasing presentation times in units of the stream's time base, ``seconds`` the same from
    0 on, ``key_ticks`` the times at which decoding can start. ``has_own_times`` is False where the container stores no
    times, or contradictory ones: pictures then can't be told by their times, only by their order.
    ``hidden_frames`` counts packets that an edit list hides.
    """

    ticks: Int64Array
    seconds: Float64Array
    key_ticks: Int64Array
    fps: Fraction
    is_variable_frame_rate: bool
    has_own_times: bool
    hidden_frames: int

    def __len__(self) -> int:
        return len(self.ticks)

    def number_of(self, pts: int | None) -> int | None:
        """The number of the frame shown at ``pts``; None when there is none."""
        if pts is None:
            return None
        number = int(np.searchsorted(self.ticks, pts))
        return number if number < len(self) and self.ticks[number] == pts else None


def open_container(path: Path) -> InputContainer:
    """The opened file. Raises VideoError, saying what it is instead, when it is no video container."""
    try:
        if path.stat().st_size == 0 and not path.is_dir():  # nor is a pipe opened, which would wait for a writer
            raise VideoError(f"{path}: a video expected, the file is empty (0 bytes). Copy or record it again.")
        # The protocol is spelt out so that no name is taken for an address.
        return av.open(
            f"file:{path}", mode="r", metadata_errors="replace", container_options={"format_whitelist": CONTAINERS}
        )
    except av.EOFError as error:
        raise VideoError(f"{path}: at least one frame expected, the file ends before it. Record it again.") from error
    except (av.InvalidDataError, av.ArgumentError) as error:
        raise VideoError(f"{path}: {_why_unreadable(path)}") from error
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: av.FFmpegError | OSError) -> VideoError:
    reason = error.strerror or type(error).__name__
    return VideoError(f"{path}: a readable video file expected, got: {reason}. Check the path and its permissions.")


def _why_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(8)[4:] == b"ftyp":
            return (
                "an MP4 without its index (the 'moov' part): the recording or copy was cut off. "
                "Copy it again, or repair it with a recovery tool."
            )
    return "a video expected, the content is none that can be read. Remove the file or export it again."


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures (cover art is none). Raises VideoError when there is none to decode."""
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if not isinstance(stream.codec_context, av.VideoCodecContext):
            raise VideoError(f"{path}: the picture's codec is unknown. Export the video again, as H.264 for example.")
        return stream
    found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise VideoError(f"{path}: no video stream (found: {found}). Remove the file or export it again with its picture.")


def packets(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[Packet[VideoStream]]:
    """The stream's packets up to the end, or to where the file makes no more sense; the last one flushes the decoder.

    Raises VideoError when the disk or network fails.
    """
    try:
        yield from container.demux(stream)
    except OSError as error:
        raise VideoError(f"{path}: reading failed half-way ({error.strerror}). Check the disk or network.") from error
    except av.FFmpegError as error:
        log.warning("the file cannot be read to its end: video=%s reason=%s", path, error.strerror)


def frame_index(path: Path) -> FrameIndex:
    """Which frames the file shows, from one pass over its packets. Raises VideoError when it holds none.

    The last few files are remembered, since a file is probed before it is decoded.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _scan(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _scan(path: Path, _size_bytes: int, _modified_ns: int) -> FrameIndex:
    with open_container(path) as container:
        stream = video_stream(container, path)
        times = _PacketTimes()
        for packet in packets(container, stream, path):
            times.add(packet)
        if times.count == 0:
            raise VideoError(f"{path}: at least one frame expected, the video stream is empty. Record it again.")
        return _index(times, container.format.name, stream)


@dataclass
class _PacketTimes:
    """What a pass over the packets leaves behind: 8 bytes a frame."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    key_pts: array[int] = field(default_factory=lambda: array("q"))
    hidden: int = 0
    without_pts: int = 0
    last_dts: int | None = None
    goes_back: bool = False

    @property
    def count(self) -> int:
        return len(self.pts) + self.without_pts

    def add(self, packet: Packet[VideoStream]) -> None:
        if packet.size == 0:
            return
        if packet.is_discard:
            self.hidden += 1
            return
        if packet.dts is not None:
            self.goes_back |= self.last_dts is not None and packet.dts < self.last_dts
            self.last_dts = packet.dts
        if packet.pts is None:
            self.without_pts += 1
            return
        self.pts.append(packet.pts)
        if packet.is_keyframe:
            self.key_pts.append(packet.pts)


def _index(times: _PacketTimes, container_name: str, stream: VideoStream) -> FrameIndex:
    # Other containers hold no second clock: FFmpeg derives it from the pictures, so that damage there makes it jump.
    has_clock_jumps = times.goes_back and container_name in ("mpeg", "mpegts")
    if times.without_pts or has_clock_jumps:
        return _even_index(times.count, stream)
    pts = np.frombuffer(times.pts, np.int64)
    ticks = np.sort(pts)
    has_clashes = bool((np.diff(ticks) == 0).any())
    place = np.arange(len(ticks))
    ticks = np.maximum.accumulate(ticks - place) + place  # of frames that share a time, later ones move on by a tick
    time_base = stream.time_base or 1 / ASSUMED_FPS
    return FrameIndex(
        ticks=_frozen(ticks),
        seconds=_frozen((ticks - ticks[0]) * time_base.numerator / time_base.denominator),
        key_ticks=np.sort(np.frombuffer(times.key_pts, np.int64)),
        fps=_frame_rate(ticks, time_base, stream),
        is_variable_frame_rate=_is_variable(ticks),
        has_own_times=not (has_clashes or _is_guessed(pts, container_name, stream)),
        hidden_frames=times.hidden,
    )


def _is_guessed(pts: Int64Array, container_name: str, stream: VideoStream) -> bool:
    """Whether FFmpeg made up which picture is shown when.

    MPEG program streams give a time to some pictures only, so that after a seek the others come out differently. AVI
    stores none, and H.264's order of display can't be seen from outside: packets are then numbered as they lie in the
    file, which shows in times that only ever increase although pictures are reordered.
    """
    is_file_order = bool(stream.codec_context.has_b_frames) and bool((np.diff(pts) > 0).all())
    return container_name == "mpeg" or (container_name == "avi" and is_file_order)


def _even_index(count: int, stream: VideoStream) -> FrameIndex:
    """Frames at a constant rate, for streams without times (raw H.264) or whose clock jumps back (joined .ts files)."""
    fps = stream.guessed_rate or ASSUMED_FPS
    ticks = np.arange(count, dtype=np.int64)
    seconds = ticks * fps.denominator / fps.numerator
    return FrameIndex(_frozen(ticks), _frozen(seconds), ticks[:0], fps, False, False, 0)


def _frozen(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False  # shared by all who ask for the same file
    return values


def _frame_rate(ticks: Int64Array, time_base: Fraction, stream: VideoStream) -> Fraction:
    """What the header claims if the times agree within 1 %, else what the times say."""
    claimed = stream.average_rate or stream.guessed_rate or ASSUMED_FPS
    if len(ticks) < 2:
        return claimed
    measured = (len(ticks) - 1) / (int(ticks[-1] - ticks[0]) * time_base)
    return claimed if abs(claimed / measured - 1) < Fraction(1, 100) else measured.limit_denominator(1000)


def _is_variable(ticks: Int64Array) -> bool:
    """Whether any step differs from the usual one by more than rounding and a tenth."""
    if len(ticks) < 2:
        return False
    steps = np.diff(ticks)
    usual = float(np.median(steps))
    return bool(np.abs(steps - usual).max() > max(1.0, usual / 10))
