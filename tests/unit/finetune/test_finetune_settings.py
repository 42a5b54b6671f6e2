"""What fine-tuning makes of its clips and settings before it starts: what it tells, and what it refuses."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mousetal.errors import RecordError, SettingsError
from tests.fixtures.finetuning import TOY, arguments, assert_same_weights, losses, weights_of
from tests.fixtures.trainingclips import CLASSES, write_clips
from training import finetune_mvd
from training.clips import ClipTable, read_table, write_table
from training.finetune_knobs import Knobs
from training.finetune_mvd import finetune


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    write_clips(tmp_path, behaviors=CLASSES[:1])
    with pytest.raises(SettingsError, match="all 3 training clips are of one class, 'idle'"):
        finetune(TOY, tmp_path, tmp_path / "run")


def test_a_class_without_clips_and_a_missing_validation_split_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_clips(tmp_path, behaviors=CLASSES[:2])
    write_table(ClipTable(tmp_path, CLASSES, table.in_split("train")))
    finetune(replace(TOY, steps=2), tmp_path, tmp_path / "run")
    said = capsys.readouterr().err
    assert "no training clip shows 'Head/Body TWITCH'" in said
    assert "best will be the last weights" in said
    assert_same_weights(tmp_path / "run" / "best", tmp_path / "run" / "last")


def test_validation_clips_without_a_behaviour_choose_no_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the first weights would stay the best, for no later ones score more than their 0."""
    table = write_clips(tmp_path)
    idle = [clip for clip in table.clips if clip.split == "train" or clip.behavior == CLASSES[0]]
    write_table(ClipTable(tmp_path, CLASSES, tuple(idle)))
    assert finetune_mvd.main(arguments(tmp_path, tmp_path / "run", replace(TOY, validate_every=1))) == 0
    said = capsys.readouterr()
    assert "no validation clip shows a behaviour: best will be the last weights" in said.err
    assert "done: best is the last weights" in said.out
    assert_same_weights(tmp_path / "run" / "best", tmp_path / "run" / "last")


def test_a_behaviour_without_validation_clips_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_clips(tmp_path)
    kept = [clip for clip in table.clips if clip.split == "train" or clip.behavior != CLASSES[2]]
    write_table(ClipTable(tmp_path, CLASSES, tuple(kept)))
    finetune(replace(TOY, steps=1), tmp_path, tmp_path / "run")
    assert "warning: no validation clip shows 'Head/Body TWITCH'" in capsys.readouterr().err


def test_no_training_split_is_told(tmp_path: Path) -> None:
    table = write_clips(tmp_path)
    write_table(ClipTable(tmp_path, CLASSES, table.in_split("validation")))
    with pytest.raises(SettingsError, match="no clips of the split 'train'"):
        finetune(TOY, tmp_path, tmp_path / "run")


def test_fewer_clips_than_a_batch_still_train(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finetune(replace(TOY, batch=16, steps=0, epochs=2, warmup_steps=0), clips, tmp_path)
    assert len(losses(tmp_path)) == 2
    assert "only 9 clips for steps of 16 windows: an epoch is one step" in capsys.readouterr().err


def test_a_folder_without_clips_says_how_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"clips\.csv: there is no such table\. training\.preprocess --clips"):
        finetune(TOY, tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "nowhere").exists()


def test_clips_that_show_no_animal_are_refused(tmp_path: Path) -> None:
    table = write_clips(tmp_path)
    for clip in table.clips:
        clip.boxes_xyxy[:] = np.nan
    write_table(table)
    with pytest.raises(RecordError, match="shows the animal"):
        finetune(TOY, tmp_path, tmp_path / "run")
    assert len(read_table(tmp_path).clips) == 12


def test_small_networks_may_start_from_motion_and_be_told_when(clips: Path, tmp_path: Path) -> None:
    finetune(replace(TOY, motion_start=True, moments_share=1.0, ema=0.0), clips, tmp_path)
    assert np.isfinite(losses(tmp_path)).all()
    assert not [name for name in weights_of(tmp_path / "last") if name.startswith("moments")]


def test_a_run_can_start_from_a_model_folder_of_another_run(clips: Path, whole: Path, tmp_path: Path) -> None:
    still = replace(TOY, init=str(whole / "last"), lr=0.0, min_lr=0.0, weight_decay=0.0, ema=0.0, steps=1)
    finetune(still, clips, tmp_path)
    assert_same_weights(tmp_path / "last", whole / "last")


def test_bf16_trains_on_a_cpu_and_fp16_is_refused(clips: Path, tmp_path: Path) -> None:
    finetune(replace(TOY, precision="bf16", steps=2), clips, tmp_path / "bf16")
    assert np.isfinite(losses(tmp_path / "bf16")).all()
    with pytest.raises(SettingsError, match="fp16 is not to be had on a CPU"):
        finetune(replace(TOY, precision="fp16"), clips, tmp_path / "fp16")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch", "few"], "--batch: int expected, got 'few'"),
        (["--precision", "fp8"], "precision: one of fp32, bf16, fp16 expected"),
        (["--mirror", "1.5"], "mirror: between 0 and 1"),
        (["--zero", "2"], "zero and offload are DeepSpeed's"),
        (["--class_shares", "1", "2"], "class_shares: one per class"),
        (["--auto_augment", "much"], "auto_augment"),
        (["--turns", "maybe"], "--turns: true or false"),
        (["--lr", "nan"], "lr: a finite number expected, got nan"),
        (["--steps", "-3"], "steps: at least 0 expected, got -3"),
        (["--class_shares", "1", "-1", "1"], "class_shares: at least 0 expected, got -1.0"),
        (["--input_size", "33"], "patches must tile the clip, got img_size=33"),
        (["--drop_path", "1"], "drop rates lie in [0, 1)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    small = arguments(clips, tmp_path, TOY)
    if flags[0] in small:
        at = small.index(flags[0])
        del small[at : at + 2]
    assert finetune_mvd.main([*small, *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_config_file_is_overridden_by_flags_and_checked(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "a.toml"
    config.write_text("batch = 2\nsteps = 9\nbetas = [0.9, 0.98]\n")
    run = tmp_path / "run"
    assert finetune_mvd.main([*arguments(clips, run, replace(TOY, batch=12)), "--config", str(config)]) == 0
    knobs = json.loads((run / "knobs.json").read_text())["knobs"]
    assert (knobs["batch"], knobs["steps"], knobs["betas"]) == (2, 4, [0.9, 0.98])
    config.write_text("bach = 2\n")
    assert finetune_mvd.main(["--clips", str(clips), "--out", str(run), "--config", str(config)]) == 2
    assert "unknown settings bach" in capsys.readouterr().err


def test_the_shipped_configuration_is_read(root: Path) -> None:
    from training.knobs import read

    for path in (root / "training" / "configs").glob("finetune-*.toml"):
        assert read(Knobs, path).lr > 0
        assert path.read_text().startswith("# python -m training.finetune_mvd --config ")
    assert os.environ.get("LOCAL_RANK") is None
