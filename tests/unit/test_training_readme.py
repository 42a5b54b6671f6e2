"""What training/README.md tells people to type exists, and its table of files is whole."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = re.compile(r"(?:-m|--module) (training\.\w+)([^\n]*)")
FLAG = re.compile(r"(?<!\S)--[a-z][a-z_-]*")


def readme(root: Path) -> str:
    return (root / "training" / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def flags_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], set[str]]:
    """All that ``python -m module --help`` names."""

    def asked(module: str) -> set[str]:
        monkeypatch.setattr(sys, "argv", [module, "--help"])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(module).main()
        assert ended.value.code == 0
        return set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*", capsys.readouterr().out))

    return asked


def test_every_command_has_the_flags_that_it_is_shown_with(root: Path, flags_of: Callable[[str], set[str]]) -> None:
    shown: dict[str, set[str]] = {}
    for block in re.findall(r"```sh\n(.*?)```", readme(root), re.DOTALL):
        for module, rest in COMMAND.findall(block):
            shown.setdefault(module, set()).update(FLAG.findall(rest))
    assert {"training.import_videos", "training.train_detector", "training.finetune_mvd"} <= shown.keys()
    unknown = {module: sorted(flags - flags_of(module)) for module, flags in shown.items()}
    assert {module: flags for module, flags in unknown.items() if flags} == {}


def test_every_flag_of_the_trials_on_real_clips_exists(root: Path, flags_of: Callable[[str], set[str]]) -> None:
    trials = readme(root).split("| trial | flags | AUC |")[1].split("\n\n")[0]
    flags = set(FLAG.findall(trials.replace("`", " ")))
    assert "--motion-start" in flags
    assert sorted(flags - flags_of("training.real_benchmark")) == []


def test_the_table_of_files_names_every_module_and_only_those(root: Path) -> None:
    table = readme(root).split("## The files")[1].split("\n\n`make")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    names = [name for cell in cells for name in re.findall(r"`([\w*]+(?:\.py|/))`", cell)]
    folder = root / "training"
    assert [name for name in names if not list(folder.glob(name.rstrip("/")))] == []
    named = {path.name for name in names for path in folder.glob(name)}
    stages = set(re.findall(r"`training\.(\w+)", readme(root)))  # those of the first table
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert sorted(modules - named - {f"{stage}.py" for stage in stages}) == []
