"""Fine-tuning as a whole, on very little: what a run learns and leaves, and how it goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mousetal.mvd
from mousetal.errors import SettingsError
from tests.fixtures.finetuning import TOY, arguments, assert_same_weights, halt, log_of, losses
from tests.fixtures.trainingclips import CLASSES, write_clips
from training import finetune_mvd
from training.finetune_mvd import finetune


def test_a_network_learns_what_is_easy_and_its_best_is_told_by_frames_and_events(clips: Path, tmp_path: Path) -> None:
    easy = replace(
        TOY, steps=50, smoothing=0.0, auto_augment="", mix_probability=0.0, erase=0.0, drop_path=0.0, validate_every=25,
        save_every=50,
    )  # fmt: skip
    memo = finetune(easy, clips, tmp_path)
    assert np.mean(losses(tmp_path)[-5:]) < 0.75 * np.mean(losses(tmp_path)[:5])
    assert memo.best > 0.6
    found = [line for line in log_of(tmp_path) if line.get("event") == "validation"]
    assert {line["of"] for line in found} == {"weights", "average"}
    assert max(line["merit"] for line in found) == pytest.approx(memo.best, abs=1e-3)
    assert set(found[0]["classes"]) == set(CLASSES[1:])


def test_four_steps_are_two_steps_save_load_and_two_steps(clips: Path, whole: Path, tmp_path: Path) -> None:
    halt(TOY, clips, tmp_path, steps=2)
    finetune(TOY, clips, tmp_path)
    assert losses(tmp_path) == losses(whole)
    for name in ("best", "last"):
        assert_same_weights(tmp_path / name, whole / name)


def test_a_run_killed_between_checkpoints_goes_on_as_if_it_had_not_been(
    clips: Path, whole: Path, tmp_path: Path
) -> None:
    """By SIGKILL, in a process of its own, after step 3: the state is that of step 2."""
    code = (
        "import os, signal, sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from tests.fixtures.finetuning import TOY\n"
        "from training import finetune_mvd, keeper\n"
        "after = keeper.Keeper.after_step; done = []\n"
        "def after_step(self):\n"
        "    after(self); done.append(1)\n"
        "    len(done) == 3 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "keeper.Keeper.after_step = after_step\n"
        "finetune_mvd.finetune(TOY, Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clips), str(tmp_path)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "checkpoints" / "last").read_text() == "step-0000002\n"
    finetune(TOY, clips, tmp_path)
    assert losses(tmp_path) == losses(whole)
    assert_same_weights(tmp_path / "last", whole / "last")


def test_neither_workers_nor_checkpointing_nor_accumulation_changes_what_is_learned(
    clips: Path, whole: Path, tmp_path: Path
) -> None:
    finetune(replace(TOY, workers=1), clips, tmp_path / "processes")
    assert losses(tmp_path / "processes") == losses(whole)
    finetune(replace(TOY, checkpointing=True), clips, tmp_path / "recomputed")
    np.testing.assert_allclose(losses(tmp_path / "recomputed"), losses(whole), rtol=1e-6)
    still = replace(TOY, mix_probability=0.0, erase=0.0, drop_path=0.0)
    finetune(still, clips, tmp_path / "at once")
    finetune(replace(still, batch=2, accumulation=2), clips, tmp_path / "in two")
    np.testing.assert_allclose(losses(tmp_path / "in two"), losses(tmp_path / "at once"), rtol=1e-5)
    norms = [[line["gradient_norm"] for line in log_of(tmp_path / name) if "event" not in line]
             for name in ("at once", "in two")]  # fmt: skip
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-4)


def test_a_run_leaves_one_folder_with_models_that_the_service_loads(clips: Path, whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "knobs.json", "environment.json", "log.jsonl", "tensorboard", "checkpoints", "best", "last",
    }  # fmt: skip
    assert [path.name for path in (whole / "checkpoints").glob("step-*")] == ["step-0000004"]
    assert any((whole / "tensorboard").iterdir())
    environment = json.loads((whole / "environment.json").read_text())[0]
    assert environment["libraries"]["torch"].startswith(torch.__version__.split("+")[0])
    for name in ("best", "last"):
        classifier = mousetal.mvd.load(whole / name)
        assert classifier.spec.classes == CLASSES
        assert (classifier.spec.background, classifier.spec.name) == (0, "whole")
        assert (classifier.spec.num_frames, classifier.spec.trained_fps) == (8, 30.0)
        assert len(classifier.spec.rules) == 3
        assert classifier.config.provenance["short_classes"] == [CLASSES[2]]
        probabilities = classifier.predict(np.zeros((1, 8, 32, 32, 3), np.uint8))
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_a_line_for_people_names_loss_rate_data_share_and_time_left(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(TOY, clips, tmp_path)
    said = capsys.readouterr().err
    assert "step 2/4  loss " in said
    for part in ("rate ", "s/step", "data ", "ETA 0:00:0", "a step needs about", "short ones: Head/Body TWITCH"):
        assert part in said
    assert "9 training clips, 9 of them usable; 3 to validate on" in said


def test_a_run_with_other_settings_is_not_gone_on_with(clips: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"batch: 4 -> 8") as refused:
        finetune(replace(TOY, batch=8, workers=3), clips, whole)
    assert "workers" not in str(refused.value)
    assert "another --out" in str(refused.value)
    write_clips(tmp_path, per_class=4)
    with pytest.raises(SettingsError, match="clips: "):
        finetune(TOY, tmp_path, whole)


def test_a_setting_that_is_newer_than_the_run_had_its_default(clips: Path, whole: Path, tmp_path: Path) -> None:
    halt(TOY, clips, tmp_path, steps=2)
    identity = json.loads((tmp_path / "knobs.json").read_text())
    del identity["knobs"]["warmup_lr"]
    (tmp_path / "knobs.json").write_text(json.dumps(identity))
    with pytest.raises(SettingsError, match=r"warmup_lr: 0.0 -> 0.001"):
        finetune(replace(TOY, warmup_lr=0.001), clips, tmp_path)
    finetune(TOY, clips, tmp_path)
    assert losses(tmp_path) == losses(whole)


def test_the_warm_up_starts_where_it_is_told_to(clips: Path, whole: Path, tmp_path: Path) -> None:
    finetune(replace(TOY, warmup_lr=1e-3, warmup_steps=3), clips, tmp_path)
    rates = [line["learning_rate"] for line in log_of(tmp_path) if "event" not in line]
    np.testing.assert_allclose(rates[:3], [1e-3, 2e-3, 3e-3])
    assert log_of(whole)[0]["learning_rate"] == 0.0


def test_a_finished_run_is_left_as_it_is(clips: Path, whole: Path) -> None:
    before = (whole / "log.jsonl").read_text()
    memo = finetune(TOY, clips, whole)
    assert (whole / "log.jsonl").read_text() == before
    assert memo.best_step > 0


def test_a_damaged_clip_is_replaced_counted_and_told(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_clips(tmp_path / "clips")
    broken = table.clips[0].path
    broken.write_bytes(broken.read_bytes()[:200])
    memo = finetune(replace(TOY, steps=8), tmp_path / "clips", tmp_path / "run")
    assert memo.skipped[str(broken)] >= 1
    assert len(memo.skipped) == 1
    assert capsys.readouterr().err.count("warning: skipped") == 1
    events = [line for line in log_of(tmp_path / "run") if line.get("event") == "skipped"]
    assert [line["clip"] for line in events] == [str(broken)]
    assert all(line["step"] >= 1 for line in events)  # the step that met it, so that a log taken back loses it, too
    code = finetune_mvd.main(arguments(tmp_path / "clips", tmp_path / "run", replace(TOY, steps=8)))
    assert code == 0
    assert "1 clips could not be read" in capsys.readouterr().err
