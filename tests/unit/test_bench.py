"""The benchmark: its arithmetic, the yardstick's numbers, and counts that guard speed without a clock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import mousetal.detector
import mousetal.mvd
from bench import __main__ as program
from bench import counts, equality, plot, process, replay, rounds, rows, runs, schedule, summary, table, turns
from bench.inprocess import InProcess
from bench.job import Measured, Observed
from bench.models import ModelPair, demo
from bench.rows import Row, Way
from bench.runs import Bench, Run
from mousetal.errors import ModelError, ServiceUnavailable, SettingsError
from mousetal.pipeline import analyse
from mousetal.plan import Plan
from mousetal.types import ClipBatch, Detections, DetectorBatch, FrameRange, Window, WindowScore
from mousetal.video import decode, probe
from tests.fixtures.classifiers import tiny_config, tiny_network
from tests.fixtures.driver import FakeModels
from tests.fixtures.scenes import found
from training.synthetic import Film, write_video

# Numbers of rounds


def test_a_ratio_is_taken_within_its_round_so_that_a_slow_round_weighs_on_both() -> None:
    base, ours = {0: 10.0, 1: 30.0}, {0: 5.0, 1: 15.0}
    assert rounds.ratios(base, ours) == [2.0, 2.0]


def test_a_round_that_lacks_one_of_the_two_gives_no_ratio() -> None:
    assert rounds.ratios({0: 10.0, 1: 30.0}, {1: 10.0, 2: 5.0}) == [3.0]
    assert rounds.shares({0: 10.0, 2: 4.0}, {1: 8.0, 2: 3.0}) == [0.25]


def test_the_share_of_grpc_is_what_the_same_job_without_it_saves() -> None:
    assert rounds.shares({0: 10.0, 1: 10.0}, {0: 9.0, 1: 11.0}) == pytest.approx([0.1, -0.1])


def test_a_spread_is_the_median_with_the_least_and_the_greatest() -> None:
    assert rounds.spread([3.0, 1.0, 2.0]) == rounds.Spread(2.0, 1.0, 3.0)
    assert rounds.spread([]) is None


def test_ways_are_interleaved_and_one_that_is_there_for_its_results_runs_once() -> None:
    ways = [Row("a", "a", Way.DRIVER), Row("b", "b", Way.DRIVER, is_once=True)]
    assert [(row.name, number) for row, number in runs.interleaved(ways, 3)] == [("a", 0), ("b", 0), ("a", 1), ("a", 2)]


# The table of rows


def test_rows_are_chosen_by_name_in_the_order_of_the_table_and_all_by_default() -> None:
    assert [row.name for row in rows.chosen(["sparse", "reference"])] == ["reference", "sparse"]
    assert rows.chosen([]) == list(rows.ROWS)


def test_an_unknown_row_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"reference, exact, .* got fastest"):
        rows.chosen(["exact", "fastest"])


def test_a_row_is_left_out_where_the_setting_or_its_value_does_not_exist() -> None:
    assert "WARP is no setting" in rows.why_not(Row("w", "w", Way.DRIVER, {"WARP": "9"}))
    assert "PRECISION cannot be fp3" in rows.why_not(Row("w", "w", Way.DRIVER, {"PRECISION": "fp3"}))
    assert rows.why_not(Row("w", "w", Way.DRIVER, rows.SPARSE)) == ""


def test_every_row_is_compared_with_rows_that_exist() -> None:
    names = {row.name for row in rows.ROWS}
    assert {row.against for row in rows.ROWS} | {row.inside for row in rows.ROWS} <= names | {""}


def test_a_run_has_the_settings_of_its_row_and_none_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECT_EVERY", "7")
    monkeypatch.setenv("REFERENCE_COMPAT", "1")
    monkeypatch.setenv("PATH_OF_THE_USER", "kept")
    bench = Bench(tmp_path, tmp_path / "film.mp4", ModelPair("", tmp_path / "d", tmp_path / "m", is_random=False))
    given = runs.environment(bench, Row("w", "w", Way.DRIVER, {"DETECT_EVERY": "auto"}), tmp_path)
    assert given["DETECT_EVERY"] == "auto"
    assert "REFERENCE_COMPAT" not in given
    assert given["PATH_OF_THE_USER"] == "kept"


# What is printed and drawn


def measured(wall_s: float, cpu_s: float = 4.0) -> Measured:
    used = {"cpu_s": cpu_s, "start_mib": 10.0, "final_mib": 90.0, "peak_mib": 100.0}
    return Measured(wall_s=wall_s, processes={"driver": used}, frames=300, video_s=10.0, frames_detected=150)


def some_runs(folder: Path) -> list[Run]:
    reference, ours = rows.REFERENCE, Row("ours", "ours <fast> & small", Way.DRIVER, inside="within")
    within = Row("within", "no gRPC", Way.IN_PROCESS)
    walls = {0: (80.0, 20.0, 19.0), 1: (90.0, 30.0, 30.0), 2: (100.0, 20.0, 18.0)}
    return [
        Run(row, number, folder, measured(wall))
        for number, three in walls.items()
        for row, wall in zip((reference, ours, within), three, strict=True)
    ]


def test_a_line_holds_medians_ratios_and_rates(tmp_path: Path) -> None:
    reference, ours, within = summary.lines(some_runs(tmp_path))
    assert reference.ratio == rounds.Spread(1.0, 1.0, 1.0)
    assert ours.ratio == rounds.Spread(4.0, 3.0, 5.0)
    assert ours.wall == rounds.Spread(20.0, 20.0, 30.0)
    assert (ours.real_time, ours.frames_per_second, ours.cpu_per_minute) == (0.5, 15.0, 24.0)
    assert ours.cpu_ratio == rounds.Spread(1.0, 1.0, 1.0)
    assert ours.grpc_wall == rounds.Spread(pytest.approx(0.05), 0.0, pytest.approx(0.1))
    assert within.grpc_wall is None


def test_without_the_reference_there_are_no_ratios_but_all_else(tmp_path: Path) -> None:
    lines = summary.lines([run for run in some_runs(tmp_path) if run.row != rows.REFERENCE])
    assert [line.ratio for line in lines] == [None, None]
    assert "20.0 (20.0-30.0)" in table.text(lines)


def test_every_row_of_the_table_has_a_cell_for_every_heading(tmp_path: Path) -> None:
    heading, rule, *written = table.text(summary.lines(some_runs(tmp_path))).splitlines()
    assert len(written) == 3
    assert {line.count("|") for line in (heading, rule, *written)} == {len(table.HEADINGS) + 1}
    assert "4.00 (3.00-5.00)" in written[1]


def test_the_plot_has_a_bar_as_long_as_the_ratio_for_every_row_and_is_well_formed(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    lines = summary.lines(some_runs(tmp_path))
    page = ElementTree.fromstring(plot.svg(lines, "on a machine"))
    bars = [float(bar.attrib["width"]) for bar in page.findall(".//{*}rect")][1:]
    assert bars[1] / bars[0] == pytest.approx(4.0, rel=0.01)
    assert any("ours <fast> & small" in (text.text or "") for text in page.findall(".//{*}text"))


def test_the_use_of_a_process_and_its_children_can_be_seen() -> None:
    mine = process.usage(os.getpid())
    if mine is None:
        pytest.skip("no /proc on this system")  # macOS: there nothing is known, and the table says nothing
    assert 0 < mine.resident_mib <= mine.peak_mib + 1
    assert mine.cpu_s > 0
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert "input()" in process.children(os.getpid())[child.pid]
        child.communicate(b"\n")
    assert process.usage(child.pid) is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--rows", "fastest"], "got fastest"), (["--rounds", "0"], "--rounds"), (["--seconds", "0.5"], "--seconds")],
)
def test_wrong_flags_end_with_a_sentence_and_code_2(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([*flags, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


# With a GPU the flag is right, and the program would go on and measure for an hour.
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_without_a_gpu_ends_with_a_sentence_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--gpu", "--out", str(tmp_path)]) == 2
    assert "sees no GPU" in capsys.readouterr().err


# What two results have in common


def score(index: int, crop: tuple[int, int, int, int], *probabilities: float) -> WindowScore:
    window = Window(index, (index, index + 1), FrameRange(index, index + 2))
    return WindowScore(window, crop, np.array(probabilities, np.float32))


def test_probabilities_are_compared_where_the_crops_are_equal() -> None:
    ours = [score(0, (0, 0, 10, 10), 0.75, 0.25), score(1, (0, 0, 10, 10), 0.5, 0.5)]
    others = [score(0, (0, 0, 10, 10), 0.5, 0.5), score(1, (0, 0, 10, 5), 0.0, 1.0)]
    compared = equality.windows(ours, others)
    assert compared == equality.WindowsCompared(True, 2, 0.5, 0.75, 0.25, 0.5)
    assert not compared.is_equal
    assert equality.windows(ours, ours).is_equal


def test_results_with_other_windows_are_not_equal() -> None:
    ours = [score(0, (0, 0, 10, 10), 0.75, 0.25)]
    assert not equality.windows(ours, []).is_equal


def test_a_frame_that_only_one_side_scored_counts_as_another_class() -> None:
    nan = float("nan")
    ours = np.array([[0.9, 0.1], [0.9, 0.1], [nan, nan], [nan, nan]], np.float32)
    others = np.array([[0.8, 0.2], [0.2, 0.8], [0.9, 0.1], [nan, nan]], np.float32)
    assert equality.classes(ours, others) == pytest.approx(1 / 3)


def test_boxes_are_compared_on_the_frames_that_both_looked_at() -> None:
    ours = [found(0, (1, 1, 9, 9, 0.9)), found(2, (1, 1, 9, 9, 0.9)), found(4, (1, 1, 9, 9, 0.9))]
    others = [found(0, (1.2, 1, 9, 9, 0.9)), found(4, (3, 1, 9, 9, 0.8))]
    assert equality.boxes(ours, others) == equality.BoxesCompared(2, 0.5, pytest.approx(0.1))


# The ways to do the job


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(Film(30_902, 2.5, size=(320, 240), fps=30, cage="box", fur="black"), path)
    return path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the demo detector, whose boxes move with the mouse, and of a tiny classifier."""
    folder = tmp_path_factory.mktemp("models") / "mvd"
    mousetal.mvd.save(folder, tiny_network(), tiny_config(), "# tiny\n")
    return demo().detector, folder


def as_compat(film: Path, both: tuple[Path, Path]) -> tuple[list[WindowScore], list[Detections]]:
    """What the pipeline finds in the reference's way, with both networks in this process."""
    detector, classifier = mousetal.detector.load(both[0]), mousetal.mvd.load(both[1])
    info = probe(film)
    plan = Plan(info, detector.spec, classifier.spec, reference_compat=True)
    results = list(analyse(decode(info), detector.detect, classifier.classify, plan))
    return [result.score for result in results], [one for result in results for one in result.detections]


def test_the_yardstick_finds_what_the_pipeline_finds_in_the_references_way(film: Path, both: tuple[Path, Path]) -> None:
    scores, detections = as_compat(film, both)
    models = schedule.Models(mousetal.detector.load(both[0]), mousetal.mvd.load(both[1]))
    outcome = schedule.run(probe(film), models)
    assert len(scores) > schedule.BATCH
    assert equality.windows(outcome.scores, scores) == equality.WindowsCompared(
        True, len(scores), 1.0, 1.0, pytest.approx(0, abs=equality.TOLERANCE), 1.0
    )
    assert len({one.crop_xyxy for one in scores}) > 1, "crops that are all alike show nothing"
    assert np.mean([len(one) for one in detections]) > 0
    compared = equality.boxes(detections, outcome.detections)
    assert (compared.frames, compared.equal) == (len(detections), 1.0)
    assert all(seconds > 0 for seconds in outcome.seconds.values())


def test_attention_written_out_is_attention(both: tuple[Path, Path]) -> None:
    network = mousetal.mvd.load(both[1]).network
    clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fused = network(clips)
        schedule.write_out_attention(network)
        written_out = network(clips)
    torch.testing.assert_close(written_out, fused, rtol=1e-5, atol=1e-5)
    assert not torch.equal(written_out, fused), "nothing was replaced"


def test_the_yardstick_refuses_a_detector_whose_batch_norms_are_folded(both: tuple[Path, Path]) -> None:
    detector = mousetal.detector.load(both[0])
    detector.network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))  # type: ignore[assignment]  # as folding leaves it
    with pytest.raises(ModelError, match="not folded"):
        schedule.Models(detector, mousetal.mvd.load(both[1]))


def test_random_access_gives_the_frames_that_reading_in_order_gives(film: Path) -> None:
    frames = {frame.index: frame.rgb for frame in decode(probe(film))}
    reader = schedule.RandomAccess(film)
    for numbers in ((40, 42, 59), (0, 1), (30, 31, 33)):
        for number, rgb in zip(numbers, reader.read(numbers), strict=True):
            np.testing.assert_array_equal(rgb, frames[number])


@pytest.mark.parametrize("detect_every", [1, 0])
def test_without_grpc_the_same_is_found(detect_every: int, film: Path, both: tuple[Path, Path]) -> None:
    info = probe(film)
    detector, classifier = mousetal.detector.load(both[0]), mousetal.mvd.load(both[1])
    plan = Plan(info, detector.spec, classifier.spec, detect_every=detect_every)
    plain = list(analyse(decode(info), detector.detect, classifier.classify, plan))
    own = InProcess(detector, classifier)
    within = list(analyse(decode(info), own.detect, own.classify, plan))
    own.close()
    assert equality.windows([one.score for one in within], [one.score for one in plain]).is_equal
    assert own.busy.snapshot()["classify"][0] == sum(one.score.is_scored for one in plain)


def test_recorded_boxes_stand_in_for_those_found_which_are_kept(tmp_path: Path) -> None:
    recorded = [found(3, (5, 5, 9, 9, 0.7))]
    replay.write(tmp_path / "film.boxes.npz", recorded)
    observed = Observed(FakeModels(), replay.read(tmp_path / "film.boxes.npz"))
    images = np.zeros((2, 32, 32, 3), np.uint8)
    (answer,) = observed.detect([DetectorBatch((3, 4), ((64, 48),) * 2, images)])
    assert [round(float(one.scores[0]), 3) for one in answer] == [0.7, 0.9]
    assert [float(one.scores[0]) for one in observed.found] == pytest.approx([0.9, 0.9])
    assert observed.calls == {"detect": 1, "classify": 0}


@pytest.mark.parametrize("way", ["in process", "counting"])
def test_models_that_are_stopped_fail_as_the_driver_expects(way: str, both: tuple[Path, Path]) -> None:
    models = Observed(
        InProcess(mousetal.detector.load(both[0]), mousetal.mvd.load(both[1]))
        if way == "in process"
        else counts.Counting(counts.Counts()),
        {},
    )
    side, clip = models.detector.input_size, models.classifier.input_size
    batch = DetectorBatch((0,), ((64, 48),), np.zeros((1, side, side, 3), np.uint8))
    window = ClipBatch((0,), np.zeros((1, models.classifier.num_frames, clip, clip, 3), np.uint8))

    def stopped_meanwhile() -> Iterator[DetectorBatch]:
        yield batch
        models.stop()
        yield batch

    answers = models.detect(stopped_meanwhile())
    assert len(next(answers)) == 1
    with pytest.raises(ServiceUnavailable):
        next(answers)
    with pytest.raises(ServiceUnavailable):
        next(models.classify([window]))


# Counts: speed without a clock


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, counts.Counts]:
    path = counts.write_film(tmp_path_factory.mktemp("counted"))
    return {"exact": counts.count(path, 1), "sparse": counts.count(path, 0)}


@pytest.mark.parametrize("way", ["exact", "sparse"])
def test_every_frame_is_decoded_once(way: str, counted: dict[str, counts.Counts]) -> None:
    assert counted[way].decodings == 1
    assert counted[way].decodes_per_frame == 1
    assert counted[way].conversions == counted[way].sampled_frames < counted[way].frames


def test_in_exact_mode_the_detector_sees_every_sampled_frame_once_in_full_batches(
    counted: dict[str, counts.Counts],
) -> None:
    one, full = counted["exact"], Plan.detector_batch
    assert one.frames_detected == one.sampled_frames
    assert one.detector_calls <= -(-one.sampled_frames // 4), full


def test_in_sparse_mode_the_detector_sees_fewer_frames_and_none_twice(counted: dict[str, counts.Counts]) -> None:
    assert counted["sparse"].frames_detected < 0.75 * counted["sparse"].sampled_frames
    assert counted["sparse"].detector_calls <= counted["sparse"].frames_detected


@pytest.mark.parametrize("way", ["exact", "sparse"])
def test_every_window_is_classified_once_in_full_batches(way: str, counted: dict[str, counts.Counts]) -> None:
    one = counted[way]
    assert one.windows_classified == one.windows
    assert one.classifier_calls <= -(-one.windows // 4)


@pytest.mark.parametrize("way", ["exact", "sparse"])
def test_a_batch_is_one_message_of_its_pixels_and_little_else(way: str, counted: dict[str, counts.Counts]) -> None:
    one = counted[way]
    assert one.messages == one.detector_calls + one.classifier_calls
    assert one.message_bytes <= 1.01 * one.pixel_bytes


def test_pixels_are_copied_at_most_once_into_a_message_and_once_out_of_it() -> None:
    assert max(counts.copies().values()) <= 1.0


@pytest.mark.slow
def test_two_versions_of_the_code_take_turns(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert turns.main([str(root), "--models", "demo", "--backend", "openvino", "--rounds", "2"]) == 0
    rows = dict(re.findall(r"\| (before|now|ratio) \|.*\| ([\d.]+) \|$", capsys.readouterr().out, re.MULTILINE))
    assert rows.keys() == {"before", "now", "ratio"}
    assert min(map(float, rows.values())) > 0


@pytest.mark.slow
def test_the_whole_programme_measures_compares_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--quick", "--rounds", "1", "--seconds", "2", "--threads", "1", "--rows", "reference,compat"]
    assert program.main([*flags, "--out", str(tmp_path)]) == 0
    assert "compat against reference" in capsys.readouterr().out
    assert (tmp_path / "bench.json").is_file()
    assert (tmp_path / "bench.svg").is_file()
