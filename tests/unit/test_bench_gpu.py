"""The measurements for a GPU: what is told, and that the programme runs without one, on small numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import arithmetic, gpu, runs
from bench.gpu import CLASSIFIER, DECODING, DETECTOR, Line
from bench.job import Measured

SMALL = ["--device", "cpu", "--models", "demo", "--precision", "fp32", "--batches", "1", "2", "--films", "1", "2",
         "--seconds", "2", "--size", "160x120"]  # fmt: skip


def test_all_numbers_come_as_one_table_and_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def run(bench: runs.Bench, row: gpu.Row, number: int) -> runs.Run:
        asked.append((bench.device, row.settings["DETECT_EVERY"], row.settings["COMPILE"]))
        measured = Measured(wall_s=0.5, frames=60, video_s=2.0, frames_detected=30, windows=4)
        return runs.Run(row, number, tmp_path, measured)

    monkeypatch.setattr(gpu.runs, "run", run)
    monkeypatch.setattr(arithmetic, "ROUNDS", 1)
    monkeypatch.setitem(gpu.SIDE, "cpu", 64)
    assert gpu.main([*SMALL, "--out", str(tmp_path)]) == 0
    assert asked == [("cpu", "1", "0"), ("cpu", "auto", "0")]
    found = json.loads((tmp_path / "gpu.json").read_text())
    parts = [(line["part"], line["at_once"]) for line in found["lines"]]
    assert parts == [(part, count) for part in (DETECTOR, CLASSIFIER, DECODING) for count in (1, 2)]
    assert all(line["per_second"] > 0 for line in found["lines"])
    assert all((line["share"] > 0) == (line["part"] != DECODING) for line in found["lines"])
    assert found["jobs"][0]["real_time"] == 4.0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    tables = printed[:8], printed[8:]
    assert [len({line.count("|") for line in table}) for table in tables] == [1, 1]
    assert [len(table) for table in tables] == [2 + 6, 2 + 2]


@pytest.mark.slow
def test_the_whole_job_is_measured(tmp_path: Path) -> None:
    assert gpu.main([*SMALL, "--out", str(tmp_path)]) == 0
    jobs = json.loads((tmp_path / "gpu.json").read_text())["jobs"]
    assert len(jobs) == 2
    assert all(job["wall_s"] > 0 and job["limit"] in job["stages"] for job in jobs)


def test_the_slowest_stage_is_the_one_that_needs_most_time_alone(tmp_path: Path) -> None:
    lines = [Line(DECODING, 1, 600.0), Line(DECODING, 8, 2400.0), Line(DETECTOR, 1, 200.0), Line(DETECTOR, 16, 1500.0),
             Line(CLASSIFIER, 8, 50.0)]  # fmt: skip
    measured = Measured(wall_s=2.5, frames=1200, video_s=40.0, frames_detected=600, windows=50)
    job = gpu.job_line(runs.Run(gpu.job_rows("bf16", False)[0], 0, tmp_path, measured), lines)
    assert job.stages == {DECODING: 2.0, DETECTOR: 0.4, CLASSIFIER: 1.0}
    assert job.limit == DECODING
    assert job.real_time == 16.0
    assert job.row().endswith("| decoding | 1.25 |")


def test_what_a_card_can_do_is_told_of_those_that_are_known() -> None:
    assert gpu.nominal_rate("NVIDIA H100 PCIe", "bf16") == 756e3
    assert gpu.nominal_rate("NVIDIA H100 80GB HBM3", "bf16") == 989e3
    assert gpu.nominal_rate("NVIDIA H100 80GB HBM3", "fp32") == gpu.nominal_rate("", "bf16") == 0


# What is tested is the refusal where there is none.
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert "--device cpu --models demo" in capsys.readouterr().err
    assert gpu.main([*SMALL, "--size", "big", "--out", str(tmp_path)]) == 2
