"""Frame numbers to seconds: presentation times, never frame / fps."""

from __future__ import annotations

from mousetal.types import Bout, VideoInfo


def seconds_at(info: VideoInfo, frame: int) -> float:
    """When ``frame`` is first shown; past the last frame, when the video ends."""
    if frame < len(info.pts_seconds):
        return float(info.pts_seconds[frame])
    last = float(info.pts_seconds[-1]) if len(info.pts_seconds) else 0.0
    return max(info.duration_seconds, last)


def bout_seconds(info: VideoInfo, bout: Bout) -> tuple[float, float]:
    """Start and end of a bout: it ends where the frame after its last one begins."""
    return seconds_at(info, bout.start_frame), seconds_at(info, bout.end_frame)
