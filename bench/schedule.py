"""The yardstick: the job as the reference system schedules it, written by us from a description of what it does.

Everything in series, in one process, in fp32. The detector looks at every ``sampling_rate``-th frame, one frame a call
(on CPUs that is faster than its batches of 16), its network as the transformers library builds it: batch norms not
folded, plain memory layout. Then the video is decoded again, by random access, window by window; each window is cut
to the union of all its boxes, resized by OpenCV, normalised in float and classified with others in batches of 16, with
attention written out (softmax(q k^T) v). On a GPU the reference classifies in fp16; here it is fp32 all the same.

It is never tuned and never removed: what is measured against it stays comparable. It shares with the product what
decides numbers (weights, windows, the shape of crops), so that both can be compared, and nothing that decides speed.
"""

# ruff: noqa: N803, N806 (capitals in a name are its shape, see mousetal.mvd.vit)
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image
from torch import Tensor, nn

from mousetal.container import frame_index
from mousetal.detector import Detector, NetworkConfig
from mousetal.errors import ModelError
from mousetal.geometry import reference_crop
from mousetal.mvd import Classifier
from mousetal.mvd.vit import Attention
from mousetal.types import (
    BoxInt,
    Detections,
    Float32Array,
    Int64Array,
    UInt8Array,
    VideoInfo,
    Window,
    WindowScore,
)
from mousetal.windows import WindowPlan

BATCH = 16  # windows per call of the classifier
STAGES = ("decode", "resize", "detect", "decode again", "crop", "classify")

Replace = Callable[[Detections], Detections]


@dataclass
class Outcome:
    """What was found in one video, and the seconds spent in each stage. ``detections`` are as the network gave them."""

    scores: list[WindowScore] = field(default_factory=list)
    detections: list[Detections] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start


def run(info: VideoInfo, models: Models, replace: Replace = lambda found: found) -> Outcome:
    """All windows of one video. ``replace`` may put other boxes in the place of those that the network found."""
    outcome = Outcome()
    spec = models.classifier.spec
    boxes: dict[int, Int64Array] = {}
    frames = _every(info.path, spec.sampling_rate)
    while True:
        with outcome.timed("decode"):
            numbered = next(frames, None)
        if numbered is None:
            break
        number, rgb = numbered
        found = _detect(number, rgb, models, outcome)
        outcome.detections.append(found)
        boxes[number] = _whole_pixels(replace(found))
    with outcome.timed("decode again"):
        reader = RandomAccess(info.path)
    windows = WindowPlan.for_video(spec, info.fps, reference_compat=True).windows(info.num_frames)
    for first in range(0, len(windows), BATCH):
        batch = windows[first : first + BATCH]
        clips, crops = zip(*(_clip(window, reader, boxes, info, models, outcome) for window in batch), strict=True)
        with outcome.timed("classify"):
            rows = models.probabilities(torch.stack(clips))
        outcome.scores += [WindowScore(*one) for one in zip(batch, crops, rows, strict=True)]
    return outcome


class Models:
    """The two networks as they were trained, whatever the product makes of them to be faster."""

    def __init__(self, detector: Detector, classifier: Classifier, device: str = "cpu") -> None:
        torch.set_float32_matmul_precision("highest")
        self.detector, self.classifier, self._device = detector, classifier, torch.device(device)
        self.eval_layer = NetworkConfig.from_json(detector.config.network, detector.spec.name).eval_layer
        networks: tuple[nn.Module, nn.Module] = (detector.network, classifier.network)
        for network in networks:
            network.to(self._device, torch.float32).eval()
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # its types lack this one
        if not any("BatchNorm" in type(module).__name__ for module in detector.network.modules()):
            raise ModelError(f"{detector.spec.name}: the yardstick needs the network with its batch norms, not folded.")
        write_out_attention(classifier.network)
        self.mean, self.std = (
            torch.tensor(values).reshape(3, 1, 1, 1)
            for values in (classifier.config.input.mean, classifier.config.input.std)
        )

    def warm_up(self) -> None:
        """One call of each network, as the services make before they are ready."""
        side, clip = self.detector.spec.input_size, self.classifier.config.input
        self.boxes(np.zeros((side, side, 3), np.uint8), (side, side))
        self.probabilities(torch.zeros(1, 3, clip.num_frames, clip.input_size, clip.input_size))

    @torch.inference_mode()
    def boxes(self, image: UInt8Array, size: tuple[int, int]) -> tuple[Float32Array, Float32Array, Tensor]:
        """Boxes (n, 4) in pixels of a frame of ``size``, their scores and labels, best first, all above threshold."""
        pixels = torch.tensor(image, device=self._device).permute(2, 0, 1)[None].float().div(255)
        output = self.detector.network.model(pixel_values=pixels)
        logits = output.intermediate_logits[0, self.eval_layer]
        centres = output.intermediate_reference_points[0, self.eval_layer]
        scores, order = logits.sigmoid().flatten().topk(len(logits))
        centre, extent = centres[order // logits.shape[1]].chunk(2, dim=-1)
        scale = torch.tensor([*size, *size], dtype=torch.float32, device=self._device)
        boxes = torch.cat([centre - extent / 2, centre + extent / 2], dim=-1) * scale
        kept = scores >= self.detector.spec.score_threshold
        return boxes[kept].cpu().numpy(), scores[kept].cpu().numpy(), (order % logits.shape[1])[kept].cpu()

    @torch.inference_mode()
    def probabilities(self, clips: Tensor) -> Float32Array:
        """Float32 (n, classes) of normalised clips (n, 3, T, S, S)."""
        logits = self.classifier.network(clips.to(self._device)) / self.classifier.config.temperature
        found = logits.sigmoid() if self.classifier.config.multi_label else logits.softmax(dim=1)
        return np.asarray(found.cpu().numpy(), np.float32)


def write_out_attention(network: nn.Module) -> None:
    """Have every attention of the classifier compute its table of weights, in place of the fused kernel."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.forward = MethodType(_attention, module)  # type: ignore[method-assign]


def _attention(self: Attention, x_BLD: Tensor) -> Tensor:
    bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
    qkv_BL3D = F.linear(x_BLD, self.qkv.weight, bias)
    q_BNLE, k_BNLE, v_BNLE = qkv_BL3D.reshape(*x_BLD.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    weights_BNLL = (q_BNLE * q_BNLE.shape[-1] ** -0.5 @ k_BNLE.transpose(-2, -1)).softmax(dim=-1)
    out_BLD: Tensor = self.proj((weights_BNLL @ v_BNLE).transpose(1, 2).flatten(2))
    return out_BLD


def _detect(number: int, rgb: UInt8Array, models: Models, outcome: Outcome) -> Detections:
    side = models.detector.spec.input_size
    with outcome.timed("resize"):
        image = np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR))
    with outcome.timed("detect"):
        boxes, scores, labels = models.boxes(image, (rgb.shape[1], rgb.shape[0]))
    return Detections(number, boxes, scores, labels.numpy())


def _clip(
    window: Window,
    reader: RandomAccess,
    boxes: dict[int, Int64Array],
    info: VideoInfo,
    models: Models,
    outcome: Outcome,
) -> tuple[Tensor, BoxInt]:
    """A window cut out, float32 (3, T, S, S), normalised; and where."""
    spec = models.classifier.spec
    with outcome.timed("decode again"):
        frames = reader.read(window.frame_indices)
    with outcome.timed("crop"):
        found = np.concatenate([boxes[index] for index in window.frame_indices])
        crop = reference_crop(found, info.width, info.height, spec.crop_padding)
        x1, y1, x2, y2 = crop
        size = (spec.input_size, spec.input_size)
        images = [cv2.resize(frame[y1:y2, x1:x2], size, interpolation=cv2.INTER_LINEAR) for frame in frames]
        pixels = torch.from_numpy(np.stack(images)).permute(3, 0, 1, 2).float().div(255)
        return pixels.sub(models.mean).div(models.std), crop


def _whole_pixels(found: Detections) -> Int64Array:
    """The boxes as they travel in the reference system: whole pixels, none below 0."""
    return np.rint(found.boxes_xyxy).clip(min=0).astype(np.int64)


def _every(path: Path, step: int) -> Iterator[tuple[int, UInt8Array]]:
    """Every ``step``-th frame of the file and its number, decoded from start to end."""
    to_rgb = VideoReformatter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, picture in enumerate(container.decode(stream)):
            if number % step == 0:
                yield number, _rgb(to_rgb, picture)


def _rgb(to_rgb: VideoReformatter, picture: VideoFrame) -> UInt8Array:
    return np.asarray(to_rgb.reformat(picture, format="rgb24").to_ndarray(), np.uint8)


class RandomAccess:
    """Reads frames by number: to the key frame before the first one, and on from there, each time anew."""

    def __init__(self, path: Path) -> None:
        self._index = frame_index(path)
        self._container = av.open(str(path))
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._to_rgb = VideoReformatter()

    def read(self, numbers: Sequence[int]) -> list[UInt8Array]:
        """The frames of these numbers, ascending; the file must be sound."""
        self._container.seek(int(self._index.ticks[numbers[0]]), stream=self._stream)
        wanted, frames = set(numbers), []
        for picture in self._container.decode(self._stream):
            number = self._index.number_of(picture.pts)
            if number in wanted:
                frames.append(_rgb(self._to_rgb, picture))
            if number == numbers[-1]:
                break
        if len(frames) != len(numbers):
            raise ValueError(f"frames {numbers[0]} to {numbers[-1]} expected, {len(frames)} of {len(numbers)} decoded")
        return frames
