"""The detector's training: what it computes, that it goes on exactly where it stopped, what it refuses and says."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mousetal.detector
from mousetal import modelfolder
from mousetal.detector.keys import to_official
from mousetal.errors import ModelError, OutputError, RecordError, SettingsError
from mousetal.execution import Execution
from mousetal.modelconfig import RtdetrConfig, plain_name
from training import coco, runfolder, train_detector
from training.detectorfeed import Deck, parts
from training.detectorknobs import Knobs
from training.filmpictures import film_images
from training.pictures import Images, Joined, Picture, Source
from training.runfolder import STATE_FILE, RunFolder
from training.startweights import start_from
from training.synthetic import Film, write_video
from training.team import Team
from training.trainlog import LOG_NAME

KNOBS = Knobs(
    input_size=64, width=8, hidden_dim=16, decoder_layers=1, num_queries=10, num_denoising=4, batch=4, steps=4,
    warmup=2, learning_rate=2e-3, save_every=2, evaluate_every=2, print_every=2,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums depend to the last bit on the number of threads; and networks as small as these are faster with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images() -> Images:
    return film_images(Film(1, 2.0, size=(160, 120)), KNOBS.input_size, count=6)


@dataclass(frozen=True)
class Breaking:
    """A source that breaks off after some pictures, as a power cut would."""

    source: Source
    after: int
    seen: list[int]

    def __len__(self) -> int:
        return len(self.source)

    def picture(self, number: int) -> Picture:
        if len(self.seen) >= self.after:
            raise KeyboardInterrupt
        self.seen.append(number)
        return self.source.picture(number)

    @property
    def digest(self) -> str:
        return self.source.digest


@dataclass(frozen=True)
class Empty:
    """Four pictures without a box."""

    images: Images
    digest: str = "empty"

    def __len__(self) -> int:
        return 4

    def picture(self, number: int) -> Picture:
        return Picture(self.images.images[number], np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def logged(out: Path, what: str) -> list[float]:
    lines = map(json.loads, (out / LOG_NAME).read_text().splitlines())
    return [line[what] for line in lines if what in line]


def state_of(out: Path) -> dict[str, Any]:
    state = RunFolder(out).load_file(torch.device("cpu"))
    assert state is not None
    return state


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    """All but the batch norms' counters, which model folders leave out and nothing reads."""
    for (name, one), other in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert name.endswith("num_batches_tracked") or torch.equal(one, other), name


def test_the_loss_falls(images: Images, tmp_path: Path) -> None:
    plain = replace(KNOBS, steps=16, iou_crop=0.0, zoom_out=0.0, save_every=100)
    train_detector.train(plain, images, tmp_path)
    losses = logged(tmp_path, "loss")
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_the_loss_is_the_librarys(images: Images) -> None:
    network, _ = train_detector.make_network(KNOBS, ("mouse",))
    network.train()
    pixels, labels = next(parts(KNOBS, images, Team(), 0, Deck.of(KNOBS, [0] * len(images))))
    torch.manual_seed(3)
    expected = network(pixel_values=pixels, labels=labels).loss
    torch.manual_seed(3)
    assert torch.equal(train_detector.loss_of(network, pixels, labels, Execution(torch.device("cpu"))), expected)


def test_a_stopped_run_goes_on_to_the_same_weights_and_log(images: Images, tmp_path: Path) -> None:
    """Four steps are two, a checkpoint, a third that is lost, and two."""
    whole = train_detector.train(KNOBS, images, tmp_path / "whole", validation=images)
    with pytest.raises(KeyboardInterrupt):
        train_detector.train(KNOBS, Breaking(images, 13, []), tmp_path / "parts", validation=images)
    assert len(logged(tmp_path / "parts", "loss")) == 3
    rest = train_detector.train(KNOBS, images, tmp_path / "parts", validation=images)
    assert_same_weights(whole, rest)
    assert logged(tmp_path / "whole", "loss") == logged(tmp_path / "parts", "loss")
    assert logged(tmp_path / "whole", "AP") == logged(tmp_path / "parts", "AP")
    states = [torch.load(tmp_path / run / STATE_FILE) for run in ("whole", "parts")]
    assert str(states[0]["optimiser"]) == str(states[1]["optimiser"])


KILLED = """
import sys
from pathlib import Path
from dataclasses import replace
import torch
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from tests.unit.test_train_detector import KNOBS
from training import train_detector
from training.filmpictures import film_images
from training.synthetic import Film
images = film_images(Film(1, 2.0, size=(160, 120)), KNOBS.input_size, count=6)
train_detector.train(replace(KNOBS, steps=10_000, save_every=1, print_every=1), images, Path({out!r}))
"""


def test_a_run_that_is_killed_goes_on_where_its_checkpoint_was(images: Images, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    knobs = replace(KNOBS, steps=10_000, save_every=1, print_every=1)
    command = [sys.executable, "-c", KILLED.format(root=str(root), out=str(out))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 3/"):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    state = state_of(out)
    done = state["step"]
    assert done in (2, 3, 4)
    with pytest.raises(KeyboardInterrupt):
        train_detector.train(knobs, Breaking(images, 4 * (5 - done), []), out)
    with pytest.raises(KeyboardInterrupt):
        train_detector.train(knobs, Breaking(images, 20, []), tmp_path / "unharmed")
    after, unharmed = (state_of(run) for run in (out, tmp_path / "unharmed"))
    assert after["step"] == unharmed["step"] == 5
    assert all(torch.equal(after["network"][name], tensor) for name, tensor in unharmed["network"].items())


def test_a_run_with_other_settings_or_data_is_refused_with_the_difference(images: Images, tmp_path: Path) -> None:
    train_detector.train(replace(KNOBS, steps=1), images, tmp_path)
    with pytest.raises(SettingsError, match=r"batch: 4 -> 8\n  learning_rate: 0\.002 -> 0\.1\n"):
        train_detector.train(replace(KNOBS, steps=1, batch=8, learning_rate=0.1), images, tmp_path)
    fewer = Images(images.images[:3], images.boxes[:3])
    with pytest.raises(SettingsError, match="data_digest"):
        train_detector.train(replace(KNOBS, steps=1), fewer, tmp_path)
    with pytest.raises(SettingsError, match=r"class_list: \['mouse'\] -> \['rat'\]"):
        train_detector.train(replace(KNOBS, steps=1), images, tmp_path, classes=("rat",))
    train_detector.train(replace(KNOBS, steps=1, save_every=7), images, tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on_from_it(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_detector.train(KNOBS, images, tmp_path / "whole")
    synced: list[int] = []
    sync = os.fsync

    def full(descriptor: int) -> None:
        if (synced.append(descriptor) or len(synced)) > 3:  # knobs.json, environment.json, the first checkpoint
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"checkpoint\.pt: cannot be written \(No space left"):
            train_detector.train(KNOBS, images, tmp_path / "full")
    state = state_of(tmp_path / "full")
    assert state["step"] == 2
    assert not list((tmp_path / "full").glob(".mousetal-*"))
    assert_same_weights(whole, train_detector.train(KNOBS, images, tmp_path / "full"))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    loss_of = train_detector.loss_of

    def breaks(*arguments: object) -> torch.Tensor:
        calls.append(None)
        return loss_of(*arguments) * (float("nan") if len(calls) == 4 else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(train_detector, "loss_of", breaks)
    with pytest.raises(ModelError, match=r"loss nan and gradient nan at step 4; .* Lower learning_rate"):
        train_detector.train(KNOBS, images, tmp_path)
    state = state_of(tmp_path)
    assert state["step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["network"].values())


def test_a_damaged_checkpoint_is_named(images: Images, tmp_path: Path) -> None:
    train_detector.train(replace(KNOBS, steps=1), images, tmp_path)
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RecordError, match=r"checkpoint\.pt: the run's checkpoint is damaged"):
        train_detector.train(replace(KNOBS, steps=1), images, tmp_path)


TOGETHER = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from tests.unit.test_train_detector import TEAM_KNOBS
from training import train_detector
from training.filmpictures import film_images
from training.synthetic import Film
from training.team import join, leave
images = film_images(Film(1, 2.0, size=(160, 120)), TEAM_KNOBS.input_size, count=6)
team = join("cpu")
train_detector.train(TEAM_KNOBS, images, Path({out!r}), team=team)
leave(team)
"""
# The denoising queries' noise is drawn by process; without them two processes compute what one does.
TEAM_KNOBS = replace(KNOBS, steps=2, num_denoising=0)


def test_two_processes_train_as_one(images: Images, root: Path, tmp_path: Path) -> None:
    alone = train_detector.train(TEAM_KNOBS, images, tmp_path / "alone")
    (tmp_path / "together.py").write_text(TOGETHER.format(root=str(root), out=str(tmp_path / "together")))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, tmp_path / "together.py"], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(logged(tmp_path / "together", "loss"), logged(tmp_path / "alone", "loss"), rtol=1e-4)
    values = state_of(tmp_path / "together")["average"]["values"]
    apart = torch.cat([(values[name] - tensor).abs().flatten() for name, tensor in alone.state_dict().items()])
    # Adam's first steps are as long for a gradient of rounding errors as for any other, and may go either way.
    assert (apart > 2e-4).float().mean() < 0.001
    assert apart.max() < TEAM_KNOBS.learning_rate


def test_a_batch_in_parts_has_the_loss_and_the_gradient_of_a_whole_one(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fixed batch norms: trained ones see the parts alone. The parts hold different numbers of boxes."""
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda _self, x: x)
    knobs = replace(TEAM_KNOBS, steps=1, iou_crop=0.0)
    source = Joined((images, Empty(images)))  # ten pictures, of which four are empty
    firsts = ((seed, Deck.of(replace(knobs, seed=seed), [0] * 10).numbers(0)[:2]) for seed in range(100))
    knobs = replace(knobs, seed=next(seed for seed, first in firsts if min(first) > 5))  # in the first part: both empty
    for name, accumulate in (("whole", 1), ("cut", 2)):
        train_detector.train(replace(knobs, accumulate=accumulate), source, tmp_path / name)
    for what in ("loss", "gradient"):
        assert logged(tmp_path / "cut", what) == pytest.approx(logged(tmp_path / "whole", what), rel=1e-4)
    with pytest.raises(SettingsError, match="batch 4 cannot be cut into 1 processes x 3 parts"):
        train_detector.train(replace(TEAM_KNOBS, accumulate=3), images, tmp_path / "thirds")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pictures_without_an_animal_are_learned_from(precision: str, images: Images, tmp_path: Path) -> None:
    """One such picture in a batch, and a batch of nothing else."""

    knobs = replace(KNOBS, precision=precision, steps=2)
    train_detector.train(knobs, Joined((images, Empty(images))), tmp_path / "some")
    train_detector.train(knobs, Empty(images), tmp_path / "all", validation=Empty(images))
    for run in ("some", "all"):
        assert np.isfinite(logged(tmp_path / run, "loss")).all()
    assert logged(tmp_path / "all", "AP") == [None]  # undefined, not 0
    assert mousetal.detector.load(tmp_path / "all" / "best").spec.classes == ("mouse",)


def test_a_run_leaves_a_model_folder_that_loads_and_an_export_of_it(images: Images, tmp_path: Path) -> None:
    network = train_detector.train(KNOBS, images, tmp_path, validation=images, classes=("rat",))
    best = mousetal.detector.load(tmp_path / "best")
    assert (best.spec.classes, best.spec.name, best.spec.input_size) == (("rat",), plain_name(tmp_path.name), 64)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["AP"] == pytest.approx(max(logged(tmp_path, "AP")), rel=1e-4)
    assert best.config.provenance["metrics"] == metrics
    assert 0 < best.spec.score_threshold < 1
    if metrics["step"] == KNOBS.steps:
        assert_same_weights(network, best.network)
    runfolder.export_best(tmp_path, tmp_path / "exported")
    exported = mousetal.detector.load(tmp_path / "exported").spec
    assert (exported.classes, exported.name) == (("rat",), "exported")
    card = (tmp_path / "exported" / "README.md").read_text()
    assert card.startswith("# exported\n")
    assert "| AP50 |" in card
    assert list((tmp_path / "tensorboard").iterdir())


def test_without_anything_to_validate_on_the_last_weights_are_kept_and_the_card_says_so(
    images: Images, tmp_path: Path
) -> None:
    network = train_detector.train(replace(KNOBS, steps=1), images, tmp_path)
    assert_same_weights(network, mousetal.detector.load(tmp_path / "best").network)
    assert "nothing to validate on" in (tmp_path / "best" / "README.md").read_text()


def test_training_starts_from_our_folder_and_from_an_official_checkpoint(images: Images, tmp_path: Path) -> None:
    first = train_detector.train(replace(KNOBS, steps=1), images, tmp_path / "first")
    sizes = train_detector.network_config(KNOBS)
    official = {"ema": {"module": to_official(first.state_dict(), sizes)}}
    torch.save(official, tmp_path / "official.pth")
    frozen = replace(KNOBS, input_size=160, norms="frozen")  # official files have 300 queries: 64 pixels are too few
    for name, start in (("a", tmp_path / "first" / "best"), ("b", tmp_path / "official.pth")):
        network, _ = start_from(start, ("mouse",), is_frozen=False)
        assert_same_weights(first, network)
        assert train_detector.make_network(replace(frozen, start=str(start)), ("mouse",))[1].freeze_backbone_norms, name


def test_other_classes_get_new_heads_and_keep_all_else(
    images: Images, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_detector.train(replace(KNOBS, steps=1), images, tmp_path / "first")
    start = tmp_path / "first" / "best"
    caplog.set_level("INFO")
    network, sizes = start_from(start, ("mouse", "rat"))
    assert sizes.num_classes == 2
    assert "heads start anew" in caplog.text
    assert "finds mouse, wanted are mouse, rat" in caplog.text
    before = mousetal.detector.load(start).network.state_dict()
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed
    assert all("class_embed" in name or "score_head" in name for name in changed)


def test_a_stored_model_tells_all_settings(images: Images, tmp_path: Path) -> None:
    train_detector.train(replace(KNOBS, steps=1), images, tmp_path)
    config, _ = modelfolder.read(modelfolder.locate(tmp_path / "best"), RtdetrConfig)
    assert config.provenance["knobs"]["learning_rate"] == KNOBS.learning_rate


def test_the_program_goes_from_boxes_to_a_model_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two videos, of which one is held out; the second start has nothing left to do; another setting is refused."""
    images = []
    boxes = []
    for name in ("a", "b"):
        film = Film(3, 0.4, size=(160, 120), fps=25)
        write_video(film, tmp_path / f"{name}.mp4")
        images += [{"file_name": f"{name}.mp4", "frame_index": n, "width": 160, "height": 120} for n in (0, 4, 8)]
        boxes += [film.frame(n)[1] for n in (0, 4, 8)]
    coco.write(tmp_path, images, boxes, ("mouse",), {})
    (tmp_path / "knobs.toml").write_text(
        "input_size = 64\nwidth = 8\nhidden_dim = 16\ndecoder_layers = 1\nnum_queries = 10\nnum_denoising = 4\n"
        "batch = 2\nsteps = 2\nvalidation_share = 0.5\n"
    )
    command = [
        "train_detector", "--config", tmp_path / "knobs.toml", "--data", tmp_path, "--cache", tmp_path / "cache",
        "--out", tmp_path / "run", "--export", tmp_path / "model", "--threads", "1",
    ]  # fmt: skip
    for more, code in (((), 0), ((), 0), (("--batch", "1"), 2)):
        monkeypatch.setattr(sys, "argv", [*map(str, command), *more])
        assert train_detector.main() == code
    told = capsys.readouterr()
    assert "to learn from: 3 pictures, to validate on: 3" in told.out
    assert "batch: 2 -> 1" in told.err
    assert mousetal.detector.load(tmp_path / "model").spec.classes == ("mouse",)
    assert (tmp_path / "run" / "metrics.json").exists()
    same = ["--out", tmp_path / "other", "--validation", tmp_path, "--export", tmp_path / "other model"]
    monkeypatch.setattr(sys, "argv", [*map(str, [*command, *same])])
    assert train_detector.main() == 0
    told = capsys.readouterr().out
    assert "warning: learned from and validated on are the same 2 groups" in told
    assert "read for validation: 6 pictures" in told
    monkeypatch.setattr(sys, "argv", ["train_detector", "--out", str(tmp_path / "run")])
    assert train_detector.main() == 2
    assert "name at least one folder of boxes" in capsys.readouterr().err
