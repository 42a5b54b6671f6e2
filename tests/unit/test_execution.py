"""Which device a program takes: the GPU if there is one, of several that of the process, and no other in silence."""

from __future__ import annotations

import pytest
import torch

from mousetal.errors import SettingsError
from mousetal.execution import Execution, device_name
from training import autolabel, evaluate, preprocess, train_detector
from training.engine import place_of
from training.finetune_knobs import Knobs
from training.team import join

LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)


def set_gpus(monkeypatch: pytest.MonkeyPatch, there_are: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there_are)


def test_auto_is_the_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    set_gpus(monkeypatch, there_are=True)
    assert device_name("auto") == "cuda:0"
    assert device_name("cpu") == "cpu"
    set_gpus(monkeypatch, there_are=False)
    assert device_name("auto") == "cpu"
    assert Execution.on("auto", "fp32", compiled=False).device == torch.device("cpu")
    assert join("auto").device == torch.device("cpu")
    assert place_of(Knobs()).device == torch.device("cpu")


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_every_process_of_a_launcher_has_a_gpu_of_its_own(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_gpus(monkeypatch, there_are=True)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert device_name(asked) == "cuda:2"
    assert device_name("cuda:1") == "cuda:1"


# What is tested is the refusal where there is none.
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_was_asked_for_and_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for take in (join, lambda asked: Execution.on(asked, "fp32", compiled=False)):
        with pytest.raises(SettingsError, match="'cuda' is not usable here"):
            take("cuda")
    with pytest.raises(SettingsError, match="'cuda' is not usable here"):
        place_of(Knobs(device="cuda"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="is not usable here"):
        join("cuda:7")


@pytest.mark.parametrize("program", [autolabel, evaluate, preprocess, train_detector])
def test_every_program_takes_the_gpu_by_itself(
    program: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["program", "--help"])
    with pytest.raises(SystemExit):
        program.main()  # type: ignore[attr-defined]
    said = " ".join(capsys.readouterr().out.split())
    assert "--device DEVICE" in said
    assert "auto (a GPU if there is one)" in said
