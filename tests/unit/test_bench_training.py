"""What training needs of a GPU: the rows of its table, and that the scripts for it run without one, at toy size."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import feeding, training
from tests.fixtures.finetuning import TOY, arguments
from tests.fixtures.trainingclips import write_clips
from training import memory


def test_the_table_has_every_network_clip_and_way_to_spare_memory() -> None:
    rows = training.rows(12, is_toy=False)
    told = {(r["model"], r["num_frames"], r["sampling_rate"], r["checkpointing"], r["engine"], r["zero"], r["offload"])
            for r in rows}  # fmt: skip
    assert len(told) == len(rows) == 2 * 2 * 2 * 6
    assert ("vit_base_patch16_224", 32, 1, True, "deepspeed", 3, False) in told
    assert {row["precision"] for row in rows} == {"bf16"}


def test_a_card_of_24_gb_is_judged_by_what_torch_held() -> None:
    assert [training.fits(peak) for peak in (0, 21 * memory.GIB, 23 * memory.GIB)] == ["–", "yes", "no"]


@pytest.mark.slow
def test_a_row_is_measured_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(["--only", "1"]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|")
    assert row.startswith("| vit_small_patch16_224 | 16x2 | False | – | 2 | 0.0 | 0.0 | – | ")


def test_a_loader_is_measured_beside_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clips(tmp_path / "clips")
    flags = arguments(tmp_path / "clips", tmp_path, TOY)
    del flags[flags.index("--out") : flags.index("--out") + 2]
    assert feeding.main([*flags, "--numbers", "0", "--measured", "3"]) == 0
    rows = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [row[0].strip() for row in rows] == ["no loader", "0"]
    assert rows[0][2].strip() in ("99%", "100%")
    assert all(float(row[1]) > 0 for row in rows)
    assert not (tmp_path / "best").exists()
