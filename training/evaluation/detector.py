"""How well the animal is found: on true boxes if there are any, and by how quietly box and crop move without them.

What is judged is the animal's track, one box per sampled frame: that is what the classifier's crops are made of. True
boxes in pictures of their own judge the detector itself, see `training.evaluation.boxtruth`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mousetal.geometry import iou
from mousetal.types import Float64Array, FrameBox, VideoResult, WindowScore
from mousetal.windows import WindowPlan
from training.evaluation.share import Number, mean, ratio

OVERLAPS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
RECALL_POINTS = np.linspace(0, 1, 101)  # as COCO's evaluation has it


@dataclass(frozen=True, slots=True)
class Quality:
    """Of the boxes of some videos. Average precision and recall are None without true boxes; ``truth`` says what those
    are, "" where there are none.

    ``jitter_px`` is how far the box's centre lies off the line between its neighbours in time, per frame between them,
    on average; ``size_jitter_px`` the same of its longer side. An animal that moves smoothly has none.
    ``crop_jitter_px`` and ``crop_size_jitter_px`` are of the squares that are cut out for the classifier, from window
    to window: each holds the boxes of all its frames, so that it trembles less than they do.
    """

    sampled_frames: int
    without_box: int
    borrowed: int
    labelled_frames: int
    ap50_95: Number
    ap50: Number
    recall50: Number
    mean_iou: Number
    jitter_px: Number
    size_jitter_px: Number
    crop_jitter_px: Number
    crop_size_jitter_px: Number
    truth: str = ""

    @property
    def share_without_box(self) -> Number:
        return ratio(self.without_box, self.sampled_frames)


def quality(results: Sequence[VideoResult], labelled: Sequence[Sequence[FrameBox]], truth: str = "") -> Quality:
    """``labelled`` are boxes that people drew, per video, at most one a frame; on unsampled frames they don't count."""
    sampled = [_sampled(result) for result in results]
    true, found = [], []
    for number, (result, boxes) in enumerate(zip(results, labelled, strict=True)):
        true += [((number, box.frame_index), box) for box in boxes if box.frame_index in sampled[number]]
        found += [((number, box.frame_index), box) for box in result.boxes]
    by_frame = dict(true)
    judged = [(box.score, iou(box.box_xyxy, by_frame[key].box_xyxy)) for key, box in found if key in by_frame]
    precisions = [average_precision(judged, len(by_frame), least) for least in OVERLAPS]
    jitters = [jitter(result.boxes) for result in results]
    crops = [crop_jitter(result.scores) for result in results]
    overlaps = [overlap for _, overlap in judged]
    return Quality(
        sampled_frames=sum(map(len, sampled)),
        without_box=sum(len(frames - {box.frame_index for box in result.boxes})
                        for frames, result in zip(sampled, results, strict=True)),
        borrowed=sum(box.source != "detected" for result in results for box in result.boxes),
        labelled_frames=len(by_frame),
        ap50_95=mean(precisions),
        ap50=precisions[0],
        recall50=ratio(sum(overlap >= OVERLAPS[0] for overlap in overlaps), len(by_frame)),
        mean_iou=mean(overlaps),
        jitter_px=mean(centre for centre, _ in jitters),
        size_jitter_px=mean(size for _, size in jitters),
        crop_jitter_px=mean(centre for centre, _ in crops),
        crop_size_jitter_px=mean(size for _, size in crops),
        truth=truth if by_frame else "",
    )  # fmt: skip


def average_precision(judged: Iterable[tuple[float, float]], num_true: int, least: float) -> Number:
    """COCO's, of one class with at most one true and one found box a frame: (score, overlap) of the found ones."""
    if not num_true:
        return None
    ranked = sorted(judged, key=lambda pair: -pair[0])
    hits = np.cumsum([overlap >= least for _, overlap in ranked])
    if not len(hits):
        return 0.0
    recall, precision = hits / num_true, hits / np.arange(1, len(hits) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, RECALL_POINTS, side="left")].mean())


def jitter(boxes: Sequence[FrameBox]) -> tuple[Number, Number]:
    """Of the centre and the longer side, in pixels per frame; None with fewer than three neighbours in a row."""
    return _off_line([box.frame_index for box in boxes], [box.box_xyxy for box in boxes])


def crop_jitter(scores: Sequence[WindowScore]) -> tuple[Number, Number]:
    """The same of the windows' crops, each standing at its window's first frame."""
    cut = [(one.window.frame_indices[0], one.crop_xyxy) for one in scores if one.crop_xyxy is not None]
    return _off_line([frame for frame, _ in cut], [crop for _, crop in cut])


def _off_line(frames: Sequence[int], boxes_xyxy: Sequence[Sequence[float]]) -> tuple[Number, Number]:
    """How far centres and longer sides lie off the line between their neighbours' in time, per frame.

    Across a hole a line means nothing, and the frames of a video's last window may stand closer than all others: only
    neighbours at about the usual distance count.
    """
    corners: Float64Array = np.array(boxes_xyxy, np.float64).reshape(-1, 4)
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    sides = (corners[:, 2:] - corners[:, :2]).max(axis=1) if len(corners) else np.zeros(0)
    gaps = [b - a for a, b in pairwise(frames)]
    usual = float(np.quantile(gaps, 0.5, method="lower")) if gaps else 0.0
    off, size_off = [], []
    for i in range(1, len(frames) - 1):
        before, after = gaps[i - 1], gaps[i]
        if all(usual / 2 < gap < usual * 2 for gap in (before, after)):
            share, per_frame = before / (before + after), 2 / (before + after)
            expected = centres[i - 1] + share * (centres[i + 1] - centres[i - 1])
            off.append(float(np.linalg.norm(centres[i] - expected)) * per_frame)
            expected_side = sides[i - 1] + share * (sides[i + 1] - sides[i - 1])
            size_off.append(abs(float(sides[i] - expected_side)) * per_frame)
    return mean(off), mean(size_off)


def _sampled(result: VideoResult) -> set[int]:
    plan = WindowPlan.for_video(result.classifier, result.info.fps, result.reference_compat)
    return set(plan.sampled_frames(result.info.num_frames).tolist())
