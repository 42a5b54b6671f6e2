"""The program on a small data set with small networks: from videos and labels to evaluation.json and its page."""

from __future__ import annotations

import hashlib
import html.parser
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mousetal import atomic, int8, modelfolder, mvd, records, video
from mousetal import dataset as datasets
from mousetal.dataset import Dataset, VideoEntry
from mousetal.formats import supervisely
from mousetal.modelconfig import MvdConfig
from mousetal.types import DetectorBatch, FrameBox, FrameRange, Label
from tests.fixtures.classifiers import CLASSES, tiny_config, tiny_network
from tests.fixtures.detectors import saved_detector
from tests.fixtures.videos import write_video
from training import coco, evaluate
from training.evaluation import analysis, bootstrap, gather, raters

BEHAVIORS = CLASSES[1:]
NUM_FRAMES = 60


def add_video(dataset: Dataset, name: str, split: str, subject: str, labels: Sequence[Label] = ()) -> Dataset:
    path = dataset.root / "lab/video" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, num_frames=NUM_FRAMES)
    info = video.probe(path)
    entry = VideoEntry(
        f"lab/video/{name}", hashlib.sha256(path.read_bytes()).hexdigest(), info.num_frames, info.fps, info.width,
        info.height, info.duration_seconds, subject=subject, split=split,
    )  # fmt: skip
    entry = datasets.write_labels(dataset, entry, labels)
    boxes = [FrameBox(i, (20.0 + i / 10, 20.0, 60.0 + i / 10, 60.0), 1.0, "detected") for i in range(0, NUM_FRAMES, 2)]
    datasets.write_stored_boxes(dataset, entry, boxes, info.pts_seconds)
    dataset = dataset.with_entry(entry)
    datasets.write(dataset)
    return dataset


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested elsewhere and take most of the time."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three test videos of three animals, the second labelled by two people; one validation video."""
    made = Dataset(tmp_path / "data", tuple(BEHAVIORS))
    for n in range(3):
        labels = [
            Label(BEHAVIORS[0], FrameRange(5 + n, 25), 1, "ann"),
            Label(BEHAVIORS[1], FrameRange(40, 44), 1, "ann"),
        ]
        if n == 1:
            labels.append(Label(BEHAVIORS[0], FrameRange(8, 24), 1, "bob"))
        made = add_video(made, f"t{n}.mp4", "test", f"m{n}", labels)
    return add_video(made, "v.mp4", "validation", "m9", [Label(BEHAVIORS[0], FrameRange(10, 30))])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    mvd.save(tmp_path / "model", tiny_network(), tiny_config(), "# A card\n")
    return tmp_path / "model"


def flags(dataset: Dataset, model: Path, out: Path, *more: str) -> list[str]:
    return ["--dataset", str(dataset.root), "--model-dir", str(model), "--stored-boxes", "--out", str(out), *more]


def content(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / evaluate.JSON_NAME).read_text())
    return read


class Links(html.parser.HTMLParser):
    """Collects what a page would load, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.unclosed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag not in ("meta", "br", "img", "rect", "line", "polyline", "path", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closes itself."""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unclosed.append(tag)


def test_a_split_is_evaluated_and_written_for_machines_and_for_people(
    dataset: Dataset, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert evaluate.main(flags(dataset, model, out)) == 0
    found = content(out)
    assert set(found["behaviors"]) == set(BEHAVIORS)
    assert [one["video"] for one in found["videos"]] == [f"lab/video/t{n}.mp4" for n in range(3)]
    assert found["behaviors"][BEHAVIORS[0]]["support"]["bouts"] == 3
    assert set(found["raters"]["humans"]) == {"ann · bob"}
    assert set(found["raters"]["model"]) == {"ann", "bob"}
    ann, bob = ([start <= frame < end for frame in range(NUM_FRAMES)] for start, end in ((6, 25), (8, 24)))
    alpha = raters.krippendorff_alpha(np.array([ann, bob], np.int64))
    assert found["raters"]["krippendorff_alpha"][BEHAVIORS[0]] == pytest.approx(alpha)
    assert found["reference"]["micro_average"]["overall"]["support"] > 0
    boxes = found["detector"]  # stored boxes are no detector, but cover the frames and move more or less quietly
    assert (boxes["without_box"], boxes["ap50_95"], boxes["truth"]) == (0, None, "")
    assert boxes["jitter_px"] == pytest.approx(0, abs=1e-6)
    assert boxes["crop_jitter_px"] is not None
    assert any("3 times" in text for text in found["warnings"])
    page = (out / evaluate.PAGE_NAME).read_text()
    links = Links()
    links.feed(page)
    assert (links.unclosed, links.open) == ([], [])
    assert all(source.startswith("data:image/jpeg") for source in links.sources)
    assert "default-src 'none'" in page
    assert "Krippendorff's alpha" in page
    assert "http" not in page.replace("http-equiv", "")
    assert str(out / evaluate.PAGE_NAME) in capsys.readouterr().out


def test_a_detector_is_judged_by_true_boxes_in_pictures(dataset: Dataset, model: Path, tmp_path: Path) -> None:
    found = saved_detector(tmp_path / "detector")
    images = [{"file_name": f"../data/lab/video/t{n}.mp4", "frame_index": 4, "split": "test"} for n in range(2)]
    (tmp_path / "boxes").mkdir()
    coco.write(tmp_path / "boxes", images, [(20.0, 20.0, 60.0, 60.0)] * 2, ("mouse",), {})
    told = ["--dataset", str(dataset.root), "--model-dir", str(model), "--out", str(tmp_path / "out")]
    told += ["--boxes", str(tmp_path / "boxes")]
    assert evaluate.main([*told, "--detector-dir", str(found)]) == 0
    boxes = content(tmp_path / "out")["detector"]
    assert boxes["labelled_frames"] == 2
    assert boxes["truth"].startswith(f"pictures of {tmp_path / 'boxes'}")
    assert 0 <= boxes["ap50_95"] <= boxes["ap50"] <= 1
    assert "against 2 pictures of" in (tmp_path / "out" / evaluate.PAGE_NAME).read_text()
    assert evaluate.main([*told, "--stored-boxes"]) == 2
    assert evaluate.main([*told, "--detector-dir", str(found), "--split", "validation"]) == 1


def test_what_was_analysed_is_not_analysed_again_unless_what_decides_it_has_changed(
    dataset: Dataset, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, analysed = tmp_path / "out", []
    decode = video.decode
    monkeypatch.setattr(analysis.video, "decode", lambda info, wanted: analysed.append(info.path.name) or decode(info))
    evaluate.main(flags(dataset, model, out))
    before = content(out)
    analysed.clear()
    evaluate.main(flags(dataset, model, out))
    assert (analysed, content(out)) == ([], before)
    config = modelfolder.read_config(model)
    assert isinstance(config, MvdConfig)
    everything = tuple(replace(rule, threshold=0.0, low_threshold=0.0) for rule in config.bouts)
    modelfolder.write_config(model, replace(config, bouts=everything))
    evaluate.main(flags(dataset, model, out))
    assert analysed == []  # other rules need no network
    assert content(out)["behaviors"] != before["behaviors"]
    modelfolder.write_config(model, replace(config, temperature=2.0))
    evaluate.main(flags(dataset, model, out))
    assert len(analysed) == 3
    monkeypatch.setattr(records, "RESULTS_VERSION", records.RESULTS_VERSION + 1)  # what looks at frames has changed
    evaluate.main(flags(dataset, model, out))
    assert len(analysed) == 6


def test_another_precision_is_computed_anew_and_the_same_one_is_not(
    dataset: Dataset, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, analysed = tmp_path / "out", []
    decode = video.decode
    monkeypatch.setattr(analysis.video, "decode", lambda info, wanted: analysed.append(info.path.name) or decode(info))
    counts = []
    for precision in ("fp32", "bf16", "bf16", "fp32"):
        assert evaluate.main([*flags(dataset, model, out), "--precision", precision]) == 0
        counts.append(len(analysed))
    assert counts == [3, 6, 6, 9]  # kept is what was made last


def test_an_int8_graph_is_part_of_what_decides_a_result(model: Path) -> None:
    (model / int8.FOLDER).mkdir()
    digests = {analysis.computed_digest(model, "fp32", "fp32"), analysis.computed_digest(model, "bf16", "int8")}
    for graph in (b"one", b"another"):
        for name in (int8.GRAPH_NAME, int8.WEIGHTS_NAME):
            (model / int8.FOLDER / name).write_bytes(graph)
        digests.add(analysis.computed_digest(model, "int8", "int8"))
    assert len(digests) == 4


def test_a_video_that_cannot_be_read_is_skipped_counted_and_reported(
    dataset: Dataset, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset.root / "lab/video/t1.mp4").write_bytes(b"no video")
    dataset.boxes_path(dataset.videos[2]).unlink()
    out = tmp_path / "out"
    assert evaluate.main(flags(dataset, model, out)) == 1
    assert set(content(out)["skipped"]) == {"lab/video/t1.mp4", "lab/video/t2.mp4"}
    assert "training.preprocess" in content(out)["skipped"]["lab/video/t2.mp4"]
    assert len(content(out)["videos"]) == 1
    assert "skipped lab/video/t1.mp4" in capsys.readouterr().err


def test_boxes_that_a_program_found_are_not_taken_for_the_truth(dataset: Dataset) -> None:
    """Rectangles in the annotation are people's, unless the data set's boxes are a program's."""
    entry = dataset.videos[0]
    path = dataset.annotation_path(entry)
    box = FrameBox(3, (1.0, 2.0, 30.0, 40.0), 1.0, "detected")
    atomic.write_json(path, supervisely.with_boxes(atomic.read_json(path), entry.path, [box], datasets.ANIMAL))
    assert [one.frame_index for one in gather._drawn_boxes(dataset, entry)] == [3]
    assert gather._drawn_boxes(dataset, replace(entry, boxes_by="demo-detector@abababababab")) == []


def test_a_finished_run_of_the_driver_gives_the_same_numbers(dataset: Dataset, model: Path, tmp_path: Path) -> None:
    evaluate.main(flags(dataset, model, tmp_path / "out"))
    told = ["--dataset", str(dataset.root), "--predictions", str(tmp_path / "out"), "--out", str(tmp_path / "again")]
    assert evaluate.main(told) == 0
    assert content(tmp_path / "again")["behaviors"] == content(tmp_path / "out")["behaviors"]


def test_tuning_takes_validation_videos_and_writes_the_model_folder_alone(
    dataset: Dataset, model: Path, tmp_path: Path
) -> None:
    weights = (model / modelfolder.WEIGHTS_NAME).read_bytes()
    card = (model / modelfolder.CARD_NAME).read_text()
    assert evaluate.main(flags(dataset, model, tmp_path / "out", "--tune")) == 0
    tuned = (model / modelfolder.CARD_NAME).read_text()
    assert tuned.startswith(card.rstrip())
    assert tuned.count("## Bout rules, chosen on validation videos") == 1
    assert f"| {BEHAVIORS[0]} |" in tuned
    config = modelfolder.read_config(model)
    assert isinstance(config, MvdConfig)
    notes = config.provenance["tuning"]
    assert (notes["split"], notes["videos"]) == ("validation", 1)
    assert notes["rules"][BEHAVIORS[0]]["note"].startswith("kept: 1 bout ")
    assert config.bouts == tiny_config().bouts
    assert config.temperature == 1.0  # one bout says little of it
    assert notes["temperature_note"].startswith("kept: 1 bout ")
    assert (model / modelfolder.WEIGHTS_NAME).read_bytes() == weights
    assert mvd.load(model).config.temperature == config.temperature
    assert {path.name for path in model.iterdir()} == {"config.json", "model.safetensors", "README.md"}


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--tune", "--split", "test"], 2, "can't be tested"),
        (["--split", "train"], 1, "no video in split 'train'"),
        (["--rater", "zoe"], 1, "nobody called 'zoe'"),
        (["--detector-dir", "x"], 2, "one of --detector-dir and --stored-boxes"),
        (["--device", "gpu9"], 2, "not usable"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    dataset: Dataset, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    more: list[str], code: int, message: str,
) -> None:  # fmt: skip
    assert evaluate.main(flags(dataset, model, tmp_path / "out", *more)) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_folder_that_is_no_data_set_is_refused(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--dataset", str(tmp_path), "--model-dir", str(model), "--stored-boxes", "--out", str(tmp_path / "o")]
    assert evaluate.main(told) == 1
    assert "dataset.json" in capsys.readouterr().err
    assert evaluate.main(["--dataset", str(tmp_path)]) == 2
    assert evaluate.main([]) == 2


def test_a_defect_is_no_failure_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(evaluate, "run", fail)
    assert evaluate.main([]) == 3


def test_results_on_synthetic_films_get_a_page_too(dataset: Dataset, model: Path, tmp_path: Path) -> None:
    evaluate.main(flags(dataset, model, tmp_path / "out"))
    films = tmp_path / "films" / "lab/video"
    films.mkdir(parents=True)
    shutil.copy(dataset.root / "lab/video/t0.mp4", films)
    truth = {"video": "t0.mp4", "num_frames": NUM_FRAMES,
             "bouts": [{"behavior": "Self-Grooming", "start_frame": 5, "end_frame": 25}]}  # fmt: skip
    (films / "t0.truth.json").write_text(json.dumps(truth))
    told = ["--predictions", str(tmp_path / "out"), "--truth", str(tmp_path / "films"), "--out", str(tmp_path / "page")]
    assert evaluate.main(told) == 0
    assert content(tmp_path / "page")["behaviors"]["Self-Grooming"]["support"]["bouts"] == 1
    assert records.read_fingerprint(tmp_path / "out", "lab/video/t0.mp4")


def test_stored_boxes_answer_for_their_frames_and_no_others() -> None:
    box = FrameBox(4, (1.0, 2.0, 3.0, 4.0), 0.0, "interpolated")
    images = np.zeros((2, 8, 8, 3), np.uint8)
    ((first, second),) = analysis.detect_stored([box])([DetectorBatch((4, 5), ((64, 48),) * 2, images)])
    assert first.boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert (first.frame_index, second.frame_index, len(second)) == (4, 5, 0)
