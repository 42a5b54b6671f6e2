"""Real videos that lie beside some checkouts, made ready for the driver: clips joined to videos, truth beside them.

Only files under permissive licences are used. Joining copies packets and decodes nothing, so frame n of the joined
file is frame n of its clip list; the cuts between clips are hard cuts, as in the list.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import av

from mousetal.errors import VideoError


def join_clips(clips: Sequence[Path], joined: Path) -> int:
    """Copy the packets of `clips`, one after the other, into `joined`, and return how many frames it holds.

    All clips need one codec, size and frame rate. The container follows from the file's ending.

    Raises: VideoError when there is no clip or one of them has another codec or size than the first.
    """
    if not clips:
        raise VideoError(f"{joined}: at least one clip is needed to join, got none")
    frames = 0
    with av.open(str(joined), "w") as target, av.open(str(clips[0])) as first:
        like = first.streams.video[0]
        out = target.add_stream_from_template(like)
        step = 1 / like.average_rate if like.average_rate else None
        if step is None:
            raise VideoError(f"{clips[0]}: a frame rate is needed to join clips, got none in the header")
        for clip in clips:
            with av.open(str(clip)) as source:
                stream = source.streams.video[0]
                if (stream.codec.name, stream.width, stream.height) != (like.codec.name, like.width, like.height):
                    raise VideoError(
                        f"{clip}: {like.codec.name} {like.width}x{like.height} expected, as in {clips[0].name}, got "
                        f"{stream.codec.name} {stream.width}x{stream.height}; only clips of one kind can be joined"
                    )
                for packet in source.demux(stream):
                    if packet.size == 0:  # the flush at the end
                        continue
                    packet.pts = packet.dts = round(frames * step / packet.time_base)
                    packet.stream = out
                    target.mux(packet)
                    frames += 1
    return frames


def gather(real: Path, folder: Path) -> list[Path]:
    """Put the permissive videos of `real` into `folder`: playlists joined, with truth beside them; the rest linked."""
    permissive = real / "permissive"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for playlist in json.loads((permissive / "rat_action_clips" / "playlists.json").read_text(encoding="utf-8")):
        joined = folder / f"{playlist['name']}.mkv"
        if not joined.exists():
            unfinished = joined.with_suffix(".part.mkv")
            join_clips([permissive / "rat_action_clips" / clip["file"] for clip in playlist["clips"]], unfinished)
            unfinished.rename(joined)
        write_truth(joined, playlist)
        made.append(joined)
    for name in ("openfield_m3v1/m3v1mp4.mp4", "deepof_overlay/test2DLC_video_circular_arena.mp4"):
        link = folder / Path(name).name
        if not link.exists():
            link.symlink_to((permissive / name).resolve())
        made.append(link)
    return made


def write_truth(video: Path, playlist: dict[str, object]) -> None:
    """Write a playlist's intervals (last frame included) as `training.evaluate` reads them (half-open)."""
    spans = playlist["truth"]
    assert isinstance(spans, list)
    truth = {
        "video": video.name,
        "num_frames": playlist["frames"],
        "fps": playlist["fps"],
        "bouts": [
            {"behavior": span["label"], "start_frame": span["start"], "end_frame": span["end"] + 1} for span in spans
        ],
    }
    video.with_suffix(".truth.json").write_text(json.dumps(truth) + "\n", encoding="utf-8")
