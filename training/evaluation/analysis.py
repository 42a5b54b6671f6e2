"""Videos of a data set through the library's own pipeline, with networks in this process or boxes from the data set.

Results are kept as the driver keeps them, so that an evaluation goes on where it stopped, and one after another choice
of bout rules needs no network at all: they are made again only if the video, its boxes, the networks or the precision
have changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import mousetal.detector
import mousetal.mvd
from mousetal import __version__, int8, modelfolder, records, video
from mousetal import dataset as datasets
from mousetal.dataset import ANIMAL, Dataset, VideoEntry
from mousetal.doubt import MAX_LOSS
from mousetal.errors import RecordError
from mousetal.intervals import find_bouts, inherit_flags
from mousetal.pipeline import Detect, Plan, analyse, finish
from mousetal.plan import AUTO, MOST_APART_S
from mousetal.types import ClassifierSpec, Detections, DetectorBatch, DetectorSpec, FrameBox, VideoResult

log = logging.getLogger(__name__)

STORED_INPUT = 8  # pixels: nobody looks at the pictures that go to stored boxes


class Networks:
    """The two networks, loaded once, and what they say of a data set's videos. ``detector`` None: stored boxes.

    Raises ModelError, SettingsError.
    """

    def __init__(
        self, dataset: Dataset, model: Path, detector: Path | None, out: Path, device: str, precision: str
    ) -> None:
        self.classifier = mousetal.mvd.load(model, device, precision, backend="auto")
        self.detector = mousetal.detector.load(detector, device, precision, backend="auto") if detector else None
        log.info("computed on %s", self.classifier.spec.device)
        self._dataset, self._out = dataset, out
        self._computed = computed_digest(model, self.classifier.precision, precision)

    def result(self, entry: VideoEntry) -> VideoResult:
        """Of one video; see `analyse_entry`."""
        log.info("analysing video=%s", entry.path)
        return analyse_entry(self._dataset, entry, self.classifier, self.detector, self._computed, self._out)

    def facts(self, split: str) -> dict[str, Any]:
        """What was evaluated, for people."""
        spec, config = self.classifier.spec, self.classifier.config
        rules = zip(spec.classes, spec.rules, strict=True)
        return {
            "title": f"{spec.name} on {self._dataset.root.resolve().name}, {split}",
            "lead": f"What the model {spec.name} finds, beside what people saw.",
            "data_set": str(self._dataset.root),
            "split": split,
            "model": f"{spec.name}, sha256 {spec.sha256}",
            "detector": self.detector.spec.name if self.detector else "boxes stored in the data set",
            "computed_on": spec.device,
            "temperature": config.temperature,
            "bout_rules": {name: asdict(rule) for i, (name, rule) in enumerate(rules) if i != spec.background},
        }


def detect_stored(boxes: Iterable[FrameBox]) -> Detect:
    """The pipeline's ``detect`` that answers with boxes known beforehand, and with none on other frames."""
    known = {box.frame_index: box for box in boxes}

    def answer(frame: int) -> Detections:
        box = known.get(frame)
        if box is None:
            return Detections.empty(frame)
        corners = np.array([box.box_xyxy], np.float32)
        return Detections(frame, corners, np.array([box.score], np.float32), np.zeros(1, np.int64))

    def detect(batches: Iterable[DetectorBatch]) -> Iterator[list[Detections]]:
        for batch in batches:
            yield [answer(frame) for frame in batch.frame_indices]

    return detect


def stored_spec(boxes: Sequence[FrameBox]) -> DetectorSpec:
    """The detector that stored boxes stand for. All of them count, interpolated ones too."""
    digest = hashlib.sha256(repr([asdict(box) for box in boxes]).encode()).hexdigest()
    return DetectorSpec("stored boxes", digest, (ANIMAL,), STORED_INPUT, 0.0)


def analyse_entry(
    dataset: Dataset,
    entry: VideoEntry,
    classifier: mousetal.mvd.Classifier,
    detector: mousetal.detector.Detector | None,
    computed: str,
    output: Path,
) -> VideoResult:
    """The result of one video, made now or kept in ``output`` from before; ``detector`` None takes stored boxes.

    ``computed`` is `computed_digest` of the classifier. Raises VideoError, RecordError, OutputError.
    """
    boxes = () if detector else datasets.read_stored_boxes(dataset, entry)
    if not detector and not boxes:
        raise RecordError(
            f"{entry.path}: no stored boxes. Run training.preprocess, or give --detector-dir instead of --stored-boxes."
        )
    spec = detector.spec if detector else stored_spec(boxes)
    mark = fingerprint(entry, classifier, spec, computed)
    if records.read_fingerprint(output, entry.path) == mark:
        return with_rules(records.read_video(output, entry.path), classifier.spec)
    info = video.probe(dataset.video_path(entry))
    plan = Plan(info, spec, classifier.spec, detect_every=AUTO if detector else 1)
    detect = detector.detect if detector else detect_stored(boxes)
    windows = analyse(video.decode(info, wanted=plan.sampled_frames), detect, classifier.classify, plan)
    result = finish(entry.path, list(windows), plan)
    records.write_video(output, result, mark)
    return result


def with_rules(result: VideoResult, classifier: ClassifierSpec) -> VideoResult:
    """The result, had its bouts been made by this classifier's rules."""
    if result.classifier.rules == classifier.rules:
        return replace(result, classifier=classifier)
    bouts = find_bouts(result.posteriors, classifier, result.info.pts_seconds, result.boxes)
    return replace(result, classifier=classifier, bouts=inherit_flags(bouts, result.scores))


def computed_digest(model: Path, precision: str, asked: str) -> str:
    """Digest of a classifier's weights, without the configuration beside them, and of the arithmetic.

    That is the one ``asked`` for, as in the driver's fingerprint: where it is refused, it is refused again. Where it is
    computed in int8 (``precision`` is what came of asking), the graph counts, too.
    """
    located = modelfolder.locate(model)
    weights = located.weights_sha256()
    return f"{int8.sha256(located, weights) if precision == 'int8' else weights} {asked}"


def fingerprint(entry: VideoEntry, classifier: mousetal.mvd.Classifier, detector: DetectorSpec, computed: str) -> str:
    """Digest of all that decides a video's window scores. The bout rules don't."""
    config = classifier.config
    parts: list[Any] = [
        __version__,
        records.RESULTS_VERSION,
        entry.sha256,
        computed,
        asdict(config.input),
        dict(config.network),
        config.classes,
        config.multi_label,
        config.temperature,
        detector.sha256,
        detector.score_threshold,
        MAX_LOSS,
        MOST_APART_S,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
