"""Fine-tuning as a whole, on very little: what a run leaves, how it goes on, what it says when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mousetal.mvd
from mousetal import modelfolder
from mousetal.errors import MousetalError, OutputError, RecordError, SettingsError
from mousetal.modelconfig import MvdConfig
from tests.fixtures.trainingclips import CLASSES, write_clips
from training import engine, finetune_mvd, judge, keeper
from training.clips import ClipTable, read_table, write_table
from training.finetune_knobs import Knobs
from training.finetune_mvd import finetune

TOY = Knobs(
    num_frames=8, sampling_rate=1, input_size=32, stride=4, dim=32, depth=1, heads=2, batch=4, num_sample=1, steps=4,
    warmup_steps=1, lr=3e-3, base_batch=0, layer_decay=1.0, precision="fp32", workers=0, validate_every=4, save_every=2,
    print_every=2, auto_augment="rand-m7-n2-mstd0.5-inc1", mix_probability=0.5, erase=0.5, init_scale=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def log_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[object]:
    return [line["loss"] for line in log_of(run) if "event" not in line]


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return modelfolder.read(modelfolder.locate(folder), MvdConfig)[1]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


def halt(knobs: Knobs, clips: Path, run: Path, steps: int) -> None:
    """Run and break off after ``steps`` steps, as a power cut would."""
    after_step, done = keeper.Keeper.after_step, []

    def until_the_power_cut(self: keeper.Keeper) -> None:
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(None)
        after_step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", until_the_power_cut)
        with pytest.raises(KeyboardInterrupt):
            finetune(knobs, clips, run)


@pytest.fixture(scope="module")
def whole(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("runs") / "whole"
    finetune(TOY, clips, run)
    return run


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
        "from pathlib import Path; from tests.unit.test_finetune import TOY\n"
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


def arguments(clips: Path, run: Path, knobs: Knobs) -> list[str]:
    """The command line for these settings."""
    flags = ["--clips", str(clips), "--out", str(run)]
    for name, value in vars(knobs).items():
        if value != getattr(Knobs(), name):
            flags += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
    return flags


def test_clips_that_are_all_damaged_end_the_run_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for clip in write_clips(tmp_path / "clips").clips:
        clip.path.write_bytes(b"")
    assert finetune_mvd.main(arguments(tmp_path / "clips", tmp_path / "run", TOY)) == 1
    said = capsys.readouterr().err
    assert "cannot be read, the last: " in said
    assert "Traceback" not in said


def test_a_full_disk_while_a_checkpoint_is_written_keeps_the_last_good_one(
    clips: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = engine.Torch.save, []

    def until_the_disk_is_full(self: engine.Torch, folder: Path) -> None:
        saved.append(folder)
        save(self, folder)
        if len(saved) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(engine.Torch, "save", until_the_disk_is_full)
        with pytest.raises(OutputError, match=r"No space left on device.*goes on from step-0000002"):
            finetune(TOY, clips, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()] == ["step-0000002"]
    finetune(TOY, clips, tmp_path)
    assert_same_weights(tmp_path / "last", whole / "last")


def test_a_full_disk_while_the_last_model_is_written_is_made_good_by_the_next_start(
    clips: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the very end, too, where no step is left that would write it again."""
    export = judge.Judge.export

    def until_the_disk_is_full(self: judge.Judge, name: str, weights: object, step: int, metrics: object) -> None:
        if (name, step) == ("last", 4):
            raise OutputError("No space left on device")
        export(self, name, weights, step, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(judge.Judge, "export", until_the_disk_is_full)
        with pytest.raises(OutputError):
            finetune(TOY, clips, tmp_path)
    finetune(TOY, clips, tmp_path)
    assert_same_weights(tmp_path / "last", whole / "last")
    assert mousetal.mvd.load(tmp_path / "last").config.provenance["step"] == 4


@pytest.mark.parametrize("name", ["engine.pt", "memo.pt"])
def test_a_damaged_state_is_told_and_what_to_do(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    halt(TOY, clips, tmp_path, steps=2)
    path = tmp_path / "checkpoints" / "step-0000002" / name
    path.write_bytes(path.read_bytes()[:1000])
    assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 1
    path.unlink()
    assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 1
    said = capsys.readouterr().err
    assert said.count("step-0000002: the run cannot go on from this state, it is damaged") == 2
    assert f"--init {tmp_path / 'last'}" in said
    assert "Traceback" not in said


def test_a_state_of_deepspeed_is_not_gone_on_with_by_torch(clips: Path, tmp_path: Path) -> None:
    halt(TOY, clips, tmp_path, steps=2)
    state = tmp_path / "checkpoints" / "step-0000002"
    (state / "engine.pt").rename(state / engine.DEEPSPEED_TAG)
    with pytest.raises(SettingsError, match=r"a state of DeepSpeed\. Go on with its launcher"):
        finetune(TOY, clips, tmp_path)


def test_a_state_has_reached_the_disk_before_the_one_before_is_removed(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noting(number: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{number}").readlink().name)
        fsync(number)

    monkeypatch.setattr(os, "fsync", noting)
    finetune(replace(TOY, steps=2), clips, tmp_path)
    assert {"engine.pt", "memo.pt"} <= set(flushed)


def test_a_file_size_limit_while_torch_writes_is_told_as_such(clips: Path, tmp_path: Path) -> None:
    """A real limit of the system, met in the middle of torch's own writing."""
    code = (
        "import resource, sys, torch; torch.set_num_threads(1)\n"
        "from tests.unit.test_finetune import TOY, arguments; from training import finetune_mvd, runfolder\n"
        "from pathlib import Path; from dataclasses import replace\n"
        "write = runfolder.RunFolder.writing\n"
        "def writing(self, step):\n"
        "    step == 4 and resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "    return write(self, step)\n"
        "runfolder.RunFolder.writing = writing\n"
        "knobs = replace(TOY, validate_every=100)\n"
        "sys.exit(finetune_mvd.main(arguments(Path(sys.argv[1]), Path(sys.argv[2]), knobs)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clips), str(tmp_path)], check=False, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "cannot be written (" in done.stderr
    assert "File too large" in done.stderr
    assert "goes on from step-0000002" in done.stderr
    assert (tmp_path / "checkpoints" / "last").read_text() == "step-0000002\n"
    assert torch.load(tmp_path / "checkpoints" / "step-0000002" / "engine.pt", weights_only=True)["module"]


def test_a_loss_that_is_no_number_stops_the_run_before_anything_is_saved(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    prepare = finetune_mvd.prepare

    def then_broken(*given: object) -> object:
        calls.append(None)
        lesson = prepare(*given)
        if len(calls) == 4:
            lesson.targets[:] = float("nan")
        return lesson

    monkeypatch.setattr(finetune_mvd, "prepare", then_broken)
    with pytest.raises(MousetalError, match=r"loss is nan.*at step 4.*step-0000002 is kept.*--init \S+/last starts"):
        finetune(TOY, clips, tmp_path)
    assert (tmp_path / "checkpoints" / "last").read_text() == "step-0000002\n"
    stored = torch.load(tmp_path / "checkpoints" / "step-0000002" / "engine.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in stored["module"].values())


def test_running_out_of_memory_says_what_to_lower(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_given: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(finetune_mvd, "prepare", full)
    assert finetune_mvd.main(arguments(clips, tmp_path, TOY)) == 2
    said = capsys.readouterr().err
    for part in (
        "out of memory",
        "batch = 2 with accumulation = 2",
        "checkpointing = true",
        "zero = 2",
        "MiB per process",
    ):
        assert part in said
    assert "Traceback" not in said


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
