"""The two training loops, on very little: the loss falls, and a run that was stopped goes on as if it had not been."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mousetal.errors import SettingsError
from training import demo_loop, runs, samples
from training.augment import centre, decode_strip
from training.samples import (
    MARGIN,
    Clips,
    film_clips,
    film_turns,
    load_clips,
    recompress,
    window_label,
)
from training.synthetic import Film

MVD = demo_loop.Knobs(
    input_size=32, dim=32, depth=1, heads=2, batch=6, cycles=(12,), warmup=2, learning_rate=3e-3, films=1, save_every=2
)


@pytest.fixture(scope="module")
def clips() -> Clips:
    film = Film(2, 8.0, size=(160, 120))  # one that holds both behaviours
    return film_clips(film, demo_loop.spec_of(MVD), per_class=(1, 1, 1))


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_classifiers_loss_falls_on_what_is_easy(clips: Clips, tmp_path: Path) -> None:
    """One class alone: to learn which of the three it is takes a few steps, to tell them apart takes thousands."""
    idle = np.flatnonzero(clips.labels == 0)
    easy = Clips([clips.strips[i] for i in idle], clips.labels[idle], clips.frame_labels[idle])
    demo_loop.train(replace(MVD, cycles=(30,)), easy, tmp_path)
    assert np.mean(losses(tmp_path)[-5:]) < 0.9 * np.mean(losses(tmp_path)[:5])


def test_a_stopped_run_of_the_classifier_goes_on_to_the_same_weights(clips: Clips, tmp_path: Path) -> None:
    whole = demo_loop.train(replace(MVD, cycles=(4,)), clips, tmp_path / "whole")
    halt(demo_loop, replace(MVD, cycles=(4,)), clips, tmp_path / "parts", steps=2)
    parts = demo_loop.train(replace(MVD, cycles=(4,)), clips, tmp_path / "parts")
    assert_same_weights(whole, parts)


def halt(loop, knobs, data, out: Path, steps: int) -> None:  # type: ignore[no-untyped-def]
    """Run a loop and break off after ``steps`` steps, as a power cut would."""
    draw_batch, drawn = loop.draw_batch, []

    def until_the_power_cut(*arguments: object) -> object:
        if len(drawn) == steps:
            raise KeyboardInterrupt
        drawn.append(None)
        return draw_batch(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "draw_batch", until_the_power_cut)
        with pytest.raises(KeyboardInterrupt):
            loop.train(knobs, data, out)


def assert_same_weights(a: torch.nn.Module, b: torch.nn.Module) -> None:
    for (name, one), other in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    log = runs.Log(tmp_path, MVD, first=0)
    with pytest.raises(RuntimeError, match="nan at step 3"):
        log.step(3, float("nan"), 0.1)


def test_the_learning_rate_starts_anew_in_every_cycle() -> None:
    knobs = replace(MVD, cycles=(10, 20), warmup=2, learning_rate=1.0)
    rates = [demo_loop.learning_rate(step, knobs) for step in range(knobs.steps)]
    assert max(rates) == rates[1] == rates[2] == rates[11] == rates[12] == 1.0
    assert rates[2:10] == sorted(rates[2:10], reverse=True)
    assert rates[9] < 0.1 < rates[10]


def test_a_knob_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("stepps = 3\n")
    with pytest.raises(SettingsError, match="stepps"):
        runs.read_knobs(demo_loop.Knobs, tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("module", "name"),
    [(demo_loop, "demo-mvd"), (demo_loop, "demo-mvd-turns"), (demo_loop, "demo-mvd-more")],
)
def test_the_shipped_configurations_are_read(module, name: str, root: Path) -> None:  # type: ignore[no-untyped-def]
    knobs = runs.read_knobs(module.Knobs, root / "training" / "configs" / f"{name}.toml")
    assert knobs.steps >= 1000


def test_stored_clips_come_back_as_they_were_cut(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "film_clips", lambda _film, _spec: clips)
    monkeypatch.setattr(samples, "Film", lambda seed: seed)
    spec = demo_loop.spec_of(MVD)
    clip = decode_strip(clips.strips[0])
    assert clip.shape == (16, 32 + 2 * MARGIN, 32 + 2 * MARGIN, 3)
    assert centre(clip).shape == (16, 32, 32, 3)
    first = load_clips([1], spec, tmp_path)
    again = load_clips([1], spec, tmp_path)
    assert clips.strips == first.strips == again.strips
    np.testing.assert_array_equal(clips.labels, again.labels)
    np.testing.assert_array_equal(clips.frame_labels, again.frame_labels)


def test_a_run_can_start_from_another_runs_weights(clips: Clips, tmp_path: Path) -> None:
    first = demo_loop.train(replace(MVD, cycles=(2,)), clips, tmp_path / "first")
    still = replace(MVD, cycles=(1,), start=str(tmp_path / "first"), learning_rate=0.0)
    assert_same_weights(first, demo_loop.train(still, clips, tmp_path / "second"))
    with pytest.raises(SettingsError, match="no checkpoint"):
        demo_loop.train(replace(still, start=str(tmp_path / "nowhere")), clips, tmp_path / "third")


def test_clips_of_quick_turns_are_idle_in_their_middle_places() -> None:
    turns = film_turns(Film(1, 8.0, size=(160, 120)), demo_loop.spec_of(MVD), places=2)
    assert len(turns.strips) == len(turns.labels) == 14
    assert np.mean(turns.labels == 0) > 0.5


def test_a_window_is_labelled_by_its_middle() -> None:
    frames = tuple(range(16))
    for label, start, end, expected in ((1, 0, 16, 1), (1, 0, 8, 0), (1, 8, 16, 1), (2, 6, 8, 2), (2, 0, 4, 0)):
        labels = np.zeros(16, np.int64)
        labels[start:end] = label
        assert window_label(labels, frames) == expected


def test_compression_changes_little_and_keeps_the_order() -> None:
    film = Film(2, 1.0, size=(160, 120))
    frames = [film.frame(number)[0] for number in range(0, 20, 4)]
    for before, after in zip(frames, recompress(frames, 20), strict=True):
        assert np.abs(before.astype(int) - after).mean() < 8
