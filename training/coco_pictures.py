"""The pictures of COCO data as training reads them: each decoded once, made smaller, kept as JPEG files.

A video is decoded once and in order, whatever the number of its frames that are wanted. The cache has a folder per
video or image file, named for its content and the size limit; a folder without ``index.json`` was not finished and is
made again.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mousetal import atomic, video
from mousetal.errors import RecordError, VideoError
from mousetal.types import UInt8Array
from training.coco import BoxedImage, CocoData
from training.pictures import Picture, digest_of

INDEX_NAME = "index.json"
JPEG_QUALITY = 95
SAMPLED_BYTES = 1 << 20  # of a file's start, middle and end: enough to tell files apart, quick on long videos

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CachedPicture:
    """One picture's JPEG file, and its boxes in the pixels of that."""

    file: Path
    boxes_xyxy: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class CocoPictures:
    """A `training.pictures.Source` over cached pictures."""

    cached: tuple[CachedPicture, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.cached)

    def picture(self, number: int) -> Picture:
        one = self.cached[number]
        bgr = cv2.imdecode(np.frombuffer(one.file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise RecordError(f"{one.file}: a cached picture is damaged. Delete the folder {one.file.parent}.")
        return Picture(np.ascontiguousarray(bgr[..., ::-1]), one.boxes_xyxy, one.labels)


def load(data: CocoData, cache: Path, limit: int) -> tuple[CocoPictures, CocoData]:
    """Pictures with no side above ``limit`` pixels, and what is left of the data when some cannot be decoded.

    Those are left out and reported in the returned data, as are pictures of another size than their boxes speak of, and
    boxes outside of pictures whose size the file did not tell. Raises RecordError when none is left.
    """
    by_file: dict[Path, list[BoxedImage]] = defaultdict(list)
    for image in data.images:
        by_file[image.path].append(image)
    problems = {kind: list(found) for kind, found in data.problems.items()}
    cached, kept = [], []
    for path, images in by_file.items():
        try:
            folder, sizes = _cached_file(path, images, cache, limit)
        except (RecordError, VideoError) as error:
            problems.setdefault("files that cannot be read", []).append(str(error))
            continue
        for image in images:
            name = _name(image)
            if name not in sizes:
                problems.setdefault("frames that cannot be decoded", []).append(
                    f"{path.name} frame {image.frame_index}"
                )
                continue
            if image.size and image.size != (found := (sizes[name][0], sizes[name][1])):
                problems.setdefault("pictures of another size than the file of boxes says", []).append(
                    "{} ({}x{}, not {}x{})".format(path.name, *found, *image.size)
                )
                continue
            picture = _scaled(folder / name, image, sizes[name])
            if outside := len(image.labels) - len(picture.labels):
                problems.setdefault("boxes outside their picture", []).extend([path.name] * outside)
            kept.append(image)
            cached.append(picture)
    left = replace(data, images=tuple(kept), problems={kind: tuple(found) for kind, found in problems.items()})
    if not kept:
        raise RecordError(f"not one picture can be read.\n{left.report}")
    digest = digest_of([[str(c.file), c.boxes_xyxy.tolist(), c.labels.tolist()] for c in _portable(cached, cache)])
    return CocoPictures(tuple(cached), digest), left


def _portable(cached: Sequence[CachedPicture], cache: Path) -> Iterator[CachedPicture]:
    """The same with paths below the cache, so that a digest does not tell where the cache lies."""
    for one in cached:
        yield replace(one, file=one.file.relative_to(cache))


def _scaled(file: Path, image: BoxedImage, sizes: Sequence[int]) -> CachedPicture:
    source_width, source_height, width, height = sizes
    scale = np.array([width / source_width, height / source_height] * 2, np.float32)
    most = np.array([width, height] * 2, np.float32)
    boxes = np.clip(np.array(image.boxes_xyxy, np.float32).reshape(-1, 4) * scale, 0, most)
    is_inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return CachedPicture(file, boxes[is_inside], np.array(image.labels, np.int64)[is_inside])


def _name(image: BoxedImage) -> str:
    return f"{image.frame_index or 0:08}.jpg"


def _cached_file(
    path: Path, images: Sequence[BoxedImage], cache: Path, limit: int
) -> tuple[Path, dict[str, list[int]]]:
    """The folder of a file's cached pictures, and per picture its source's and its own width and height."""
    folder = cache / f"pictures-{_content(path)}-{limit}"
    index_path = folder / INDEX_NAME
    known: dict[str, list[int]] = {}
    seen: list[str] = []
    if index_path.exists():
        document = atomic.read_json(index_path)
        known, seen = document["sizes"], document["looked_for"]
    missing = {image.frame_index for image in images if _name(image) not in known and _name(image) not in seen}
    if missing:
        log.info("pictures are decoded path=%s pictures=%d", path, len(missing))
        for index, rgb in frames(path, missing):
            name = f"{index or 0:08}.jpg"
            small = _limited(rgb, limit)
            _write_jpeg(folder / name, small)
            known[name] = [rgb.shape[1], rgb.shape[0], small.shape[1], small.shape[0]]
        looked_for = sorted({*seen, *map(_name, images)})
        atomic.write_json(index_path, {"source": path.name, "sizes": known, "looked_for": looked_for})
    return folder, known


def frames(path: Path, wanted: set[int | None]) -> Iterator[tuple[int | None, UInt8Array]]:
    """An image file's picture (None is wanted) or a video's frames by their numbers, each uint8 (height, width, 3).

    Frames that cannot be decoded are left out. Raises RecordError for what is no image, VideoError for no video.
    """
    if None in wanted:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise RecordError(f"{path}: a picture expected, this cannot be read as one")
        yield None, np.asarray(bgr[..., ::-1], np.uint8)
    numbers = {index for index in wanted if index is not None}
    if not numbers:
        return
    for frame in video.decode(video.probe(path)):
        if frame.index in numbers:
            yield frame.index, frame.rgb
        if frame.index >= max(numbers):
            return


def _limited(rgb: UInt8Array, limit: int) -> UInt8Array:
    factor = limit / max(rgb.shape[:2])
    if factor >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write_jpeg(path: Path, rgb: UInt8Array) -> None:
    """Not through `atomic`: waiting for the disk at every picture is slow, and the index is written after them all."""
    content = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise atomic.output_error(path, error) from error


def _content(path: Path) -> str:
    """A name for a file's content, from its size and three parts of it."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        for start in (0, size // 2, max(0, size - SAMPLED_BYTES)):
            file.seek(start)
            digest.update(file.read(SAMPLED_BYTES))
    return digest.hexdigest()[:16]
