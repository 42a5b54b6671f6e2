"""Networks in int8: made on videos, refused when they say something else, used by whoever asks for them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mousetal.detector
import mousetal.mvd
from mousetal import cores, execution, int8, modelfolder, video
from mousetal.acceptance import Tolerances, make_images
from mousetal.errors import RecordError, SettingsError
from mousetal.execution import Execution
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.detectors import random_batch, saved_detector
from training import calibration, quantise, quantising
from training.synthetic import Film, write_video

pytest.importorskip("openvino", reason="skipped: openvino is not installed")
pytest.importorskip("nncf", reason="skipped: nncf is not installed")

DEMO = Path(__file__).resolve().parents[2] / "models"
NEAR = Tolerances(logits=1.0, boxes=1.0)  # of random weights; how near trained ones come is for `bench.precision`


def clips(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)


def network(seed: int = 0) -> mousetal.mvd.VisionTransformer:
    """Sure of its class: on noise a network with random weights is not, and calls a clip now this, now that."""
    made = tiny_network(seed)
    with torch.no_grad():
        made.head.bias += torch.tensor([4.0, 0.0, -4.0])
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny action model with its int8 graph."""
    folder = tmp_path_factory.mktemp("int8") / "tiny"
    mousetal.mvd.save(folder, network(), tiny_config(), "# A card\n")
    assert quantising.make(quantising.mvd_part(folder, NEAR), list(clips(16)), list(clips(8, seed=1)))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def test_a_model_in_int8_says_nearly_the_same_and_is_another_model(folder: Path) -> None:
    exact, fast = mousetal.mvd.load(folder), mousetal.mvd.load(folder, precision="int8", backend="auto")
    assert fast.spec.device == "cpu int8 openvino"
    ours, theirs = fast.predict(clips(5, seed=2)), exact.predict(clips(5, seed=2))
    assert 0 < np.abs(ours - theirs).max() < 0.3  # not the same graph, and not another network
    assert fast.spec.sha256 != exact.spec.sha256
    assert mousetal.mvd.load(folder, backend="openvino").spec.sha256 == exact.spec.sha256  # all else is as it was


def test_results_depend_on_what_it_was_calibrated_on(folder: Path) -> None:
    before = mousetal.mvd.load(folder, precision="int8", backend="auto").spec.sha256
    assert quantising.make(quantising.mvd_part(folder, NEAR), list(clips(16, seed=3)), list(clips(8, seed=1)))
    assert mousetal.mvd.load(folder, precision="int8", backend="auto").spec.sha256 != before


@pytest.mark.slow
def test_a_detector_in_int8_finds_nearly_the_same_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved_detector(tmp_path / "detector", score_threshold=0.1)
    inputs = [image for seed in range(4) for image in random_batch(4, seed=seed).images]
    assert quantising.make(quantising.detector_part(folder, NEAR), inputs, inputs[:8])
    assert "seconds an item here: fp32 " in capsys.readouterr().out
    fast = mousetal.detector.load(folder, precision="int8", backend="auto")
    assert fast.spec.device == "cpu int8 openvino"
    images = random_batch(3, seed=9).images
    ours, theirs = fast.forward(images).logits, mousetal.detector.load(folder).forward(images).logits
    assert 0 < float((ours.amax(dim=(1, 2)) - theirs.amax(dim=(1, 2))).abs().max()) < 1  # of each image's best box


def test_one_that_says_something_else_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "strict"
    mousetal.mvd.save(folder, network(), tiny_config(), "# A card\n")
    part = quantising.mvd_part(folder, Tolerances(logits=1e-9))
    assert not quantising.make(part, list(clips(16)), list(clips(8, seed=1)))
    assert "not kept: a logit differs by" in capsys.readouterr().out
    assert not (folder / int8.FOLDER).exists()


def test_one_that_came_to_say_something_else_is_refused_at_the_start(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about = folder / int8.FOLDER / int8.ABOUT_NAME
    told = json.loads(about.read_text())
    about.write_text(json.dumps({**told, "allowed": {"logits": 1e-9, "boxes": 1e-9}}))
    loaded = mousetal.mvd.load(folder, precision="int8", backend="auto")
    assert "int8" not in loaded.spec.device
    assert "NOT USED for tiny: cpu int8 openvino, because a logit differs by" in caplog.text
    assert "Trying cpu bf16 openvino instead" in caplog.text


def test_without_a_graph_the_next_best_is_taken_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    detector = saved_detector(tmp_path / "detector")
    assert "int8" not in mousetal.detector.load(detector, precision="int8", backend="auto").spec.device
    assert "holds no int8 graph. Make one with python -m training.quantise" in caplog.text


def test_a_graph_of_other_weights_is_not_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    mousetal.mvd.save(folder, network(seed=1), tiny_config(), "# Trained on\n")
    assert "int8" not in mousetal.mvd.load(folder, precision="int8", backend="auto").spec.device
    assert "was made of other weights than lie there now" in caplog.text


def test_other_bout_rules_leave_the_graph_good(folder: Path) -> None:
    config = modelfolder.read_config(folder)
    modelfolder.write_config(folder, replace(config, provenance={"metrics": {"f1": 0.7}}))
    assert mousetal.mvd.load(folder, precision="int8", backend="auto").spec.device == "cpu int8 openvino"


@pytest.mark.parametrize("name", [int8.GRAPH_NAME, int8.WEIGHTS_NAME, int8.INPUTS_NAME, int8.ABOUT_NAME])
def test_a_cut_off_file_is_told_and_not_used(folder: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / int8.FOLDER / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    loaded = mousetal.mvd.load(folder, precision="int8", backend="auto")
    assert "int8" not in loaded.spec.device
    assert "NOT USED for tiny: cpu int8 openvino" in caplog.text
    np.testing.assert_allclose(loaded.predict(clips(2)), mousetal.mvd.load(folder).predict(clips(2)), atol=0.05)


def test_too_few_inputs_are_refused(tmp_path: Path) -> None:
    mousetal.mvd.save(tmp_path, network(), tiny_config(), "# A card\n")
    with pytest.raises(RecordError, match=r"at least 8 inputs to check on expected, got 2\."):
        quantising.make(quantising.mvd_part(tmp_path, NEAR), list(clips(16)), list(clips(2)))


def test_a_folder_that_cannot_be_written_keeps_what_it_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full\nin some file of OpenVINO's")

    monkeypatch.setattr(openvino, "save_model", full)
    before = {path.name: path.read_bytes() for path in (folder / int8.FOLDER).iterdir()}
    with pytest.raises(mousetal.errors.OutputError, match=r"int8: cannot be written \(the disk is full\)"):
        quantising.make(quantising.mvd_part(folder, NEAR), list(clips(16)), list(clips(8, seed=1)))
    assert {path.name: path.read_bytes() for path in (folder / int8.FOLDER).iterdir()} == before
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "int8", "model.safetensors"]


@pytest.mark.slow
def test_the_command_makes_what_a_driver_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("demo-detector", "demo-mvd"):
        shutil.copytree(DEMO / name, tmp_path / name)
    (tmp_path / "videos").mkdir()
    for seed in (31_500, 31_501):
        write_video(Film(seed, 5.0), tmp_path / "videos" / f"{seed}.mp4")
    (tmp_path / "videos" / "notes.txt").write_text("not a video")
    models = ["--detector-dir", str(tmp_path / "demo-detector"), "--model-dir", str(tmp_path / "demo-mvd")]
    asked = ["--videos", str(tmp_path / "videos"), *models, "--count", "24", "--logits", "3", "--boxes", "0.05"]
    assert quantise.main([*asked, "--only", "detector"]) == 0
    assert not (tmp_path / "demo-mvd" / int8.FOLDER).exists()
    assert "detector demo-detector: logits differ by up to" in capsys.readouterr().out
    # Streams of one compiled model that share its constants made every start answer differently, by up to 3.
    pictures = make_images(160, 8)
    answers = []
    for _ in range(6):
        fast = mousetal.detector.load(tmp_path / "demo-detector", precision="int8", backend="auto")
        assert fast.spec.device == "cpu int8 openvino"
        answers.append(fast.forward(pictures))
    for answer in answers[1:]:
        torch.testing.assert_close(answer.logits, answers[0].logits, rtol=0, atol=0)
        torch.testing.assert_close(answer.boxes, answers[0].boxes, rtol=0, atol=0)


def test_one_video_is_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ["--detector-dir", str(tmp_path), "--model-dir", str(tmp_path)]
    assert quantise.main(["--videos", str(tmp_path), *models]) == 2
    assert "--videos: two videos at least expected, one to calibrate on and one to check on; found 0 in" in (
        capsys.readouterr().err
    )


def test_pieces_are_spread_over_a_video_and_do_not_overlap() -> None:
    assert calibration.starts(num_frames=1000, length=46, count=4) == [0, 318, 636, 954]
    assert calibration.starts(num_frames=100, length=46, count=4) == [0, 54]
    assert calibration.starts(num_frames=30, length=46, count=4) == [0]


def test_a_piece_of_a_video_is_what_a_file_of_it_would_be(tmp_path: Path) -> None:
    write_video(Film(31_502, 2.0), tmp_path / "a.mp4")
    whole = video.probe(tmp_path / "a.mp4")
    piece = calibration.excerpt(whole, 20, 15)
    frames = list(calibration.frames_of(whole, 20, 15))
    assert [frame.index for frame in frames] == list(range(15)) == list(range(piece.num_frames))
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], piece.pts_seconds, atol=1e-9)
    later = next(iter(video.decode(whole, 24)))
    np.testing.assert_array_equal(frames[4].rgb, later.rgb)


@pytest.mark.parametrize(
    ("flags", "expected"), [("avx2 avx512f", True), ("avx2 avx_vnni", False), ("avx512f avx512_vnni", False)]
)
def test_a_cpu_that_cannot_multiply_bytes_is_told_from_one_that_can(flags: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags}\n\nprocessor : 1\n")
    assert cores.lacks_int8(tmp_path / "cpuinfo") is expected
    assert not cores.lacks_int8(tmp_path / "none")  # what is not known is not warned of


@pytest.mark.parametrize("is_slow", [True, False])
def test_who_asks_for_int8_where_it_is_slow_is_told(
    is_slow: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(execution, "lacks_int8", lambda: is_slow)
    Execution.on("cpu", "int8", compiled=False, backend="openvino")
    assert ("may take longer than in fp32" in caplog.text) is is_slow


def test_int8_is_for_openvino_on_a_cpu() -> None:
    with pytest.raises(SettingsError, match="int8 is computed by OpenVINO on a CPU only, here it would be torch"):
        Execution.on("cpu", "int8", compiled=False)
    with pytest.raises(SettingsError, match="on meta"):
        Execution.on("meta", "int8", compiled=False, backend="auto")
