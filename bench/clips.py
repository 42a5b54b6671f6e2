"""What training clips lose, weigh and cost to read: `python -m bench.clips VIDEO --boxes boxes_coco.json`.

Clips of two seconds are cut as `training.preprocess` does. Per JPEG quality: the loss of storing (PSNR against the
pixels that were stored), kilobytes per second of clip, and the time to read the 16 frames of a window at a random
place: from the clip, and in turns with it from the video by seeking (to the key frame before, then decoding), as a
loader without clips would. Medians over windows; without VIDEO a drawn film with its true boxes is used.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from mousetal import video
from mousetal.dataset import VideoEntry
from mousetal.types import Float64Array, FrameBox, FrameRange, VideoInfo
from training.boxes import per_frame
from training.clipping import Loss, Shape, cut_video
from training.clips import read_frames
from training.cutting import Cut
from training.real_boxes import boxes_by_file
from training.synthetic import Film, write_video

NUM_FRAMES, STEP = 16, 2  # a window of the published model
CLIP_S, PLACES, DRAWS = 2.5, 4, 4
QUALITIES = (85, 92, 97)


def seek_frames(info: VideoInfo, numbers: list[int]) -> int:
    """Frames of a video file, read as a loader that seeks would; how many came."""
    wanted, came = set(numbers), 0
    for frame in video.decode(info, numbers[0]):
        came += frame.index in wanted
        if frame.index >= numbers[-1]:
            break
    return came


def boxes_of(path: Path, info: VideoInfo) -> Float64Array:
    """The boxes of a COCO file for one video, between two of them interpolated."""
    known = sorted(boxes_by_file(path)[info.path.name].items())
    boxes = tuple(FrameBox(frame, corners, 1.0, "detected") for frame, corners in known)
    return per_frame(boxes, info.num_frames)


def measure(info: VideoInfo, boxes: Float64Array, shape: Shape, folder: Path) -> str:
    """One line of the table."""
    length = round(CLIP_S * info.fps)
    starts = np.linspace(0, info.num_frames - length, PLACES).astype(int).tolist()
    cuts = [Cut("idle", FrameRange(start, start + length)) for start in starts]
    entry = VideoEntry(
        path=f"bench/video/{info.path.name}", sha256="", num_frames=info.num_frames, fps=Fraction(info.fps),
        width=info.width, height=info.height, duration_s=info.num_frames / float(info.fps),
    )  # fmt: skip
    loss, rng = Loss(), np.random.default_rng(0)
    clips, _ = cut_video(info, entry, cuts, np.zeros(info.num_frames, np.int8), boxes, folder, shape, loss)
    from_clip, from_video = [], []
    for clip in clips:
        for _ in range(DRAWS):
            start = int(rng.integers(len(clip) - NUM_FRAMES * STEP + 1))
            places = list(range(start, start + NUM_FRAMES * STEP, STEP))
            begun = time.perf_counter()
            read_frames(clip, places)
            between = time.perf_counter()
            came = seek_frames(info, [clip.frames.start_frame + place for place in places])
            from_video.append(time.perf_counter() - between)
            from_clip.append(between - begun)
            assert came == len(places), f"{came} of {len(places)} frames"
    ratio = statistics.median(b / a for a, b in zip(from_clip, from_video, strict=True))
    return (
        f"{shape.quality:>7}{statistics.median(loss.psnr):>9.1f}{loss.bytes / loss.seconds / 1000:>8.0f}"
        f"{1000 * statistics.median(from_clip):>9.1f}{1000 * statistics.median(from_video):>10.1f}{ratio:>7.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--boxes", type=Path, help="boxes_coco.json with boxes on some frames of VIDEO")
    parser.add_argument("--input-size", type=int, default=224, help="pixels, of the network")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.video is None:
            path = folder / "film.mp4"
            film = Film(10_001, 20.0)
            write_video(film, path)
            info = video.probe(path)
            boxes = np.array([film.frame(number)[1] for number in range(film.num_frames)], np.float64)
        else:
            info = video.probe(arguments.video)
            boxes = boxes_of(arguments.boxes, info)
        print(f"{info.path.name} {info.width}x{info.height} {float(info.fps):g} fps {info.codec}")
        print("quality  PSNR dB    kB/s  clip ms  video ms  ratio")
        for quality in QUALITIES:
            shape = Shape(input_size=arguments.input_size, quality=quality)
            print(measure(info, boxes, shape, folder / str(quality)), flush=True)


if __name__ == "__main__":
    main()
