"""What the first word after `docker compose run --rm training` starts. What only a container shows is in tests/e2e."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PROGRAMS = ("python", "deepspeed", "torchrun")


@pytest.fixture
def container(root: Path, tmp_path: Path) -> Path:
    """The entrypoint with its two folders here, where every program says only how it was called."""
    script = (root / "images" / "training" / "entrypoint.sh").read_text()
    for name in ("app", "work"):
        assert f"/{name}" in script
        script = script.replace(f"/{name}", f"{tmp_path}/{name}")
        (tmp_path / name).mkdir()
    (tmp_path / "entrypoint.sh").write_text(script)
    (tmp_path / "app" / "training").symlink_to(root / "training")
    (tmp_path / "bin").mkdir()
    for name in PROGRAMS:
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nprintf "%s|" {name} "$@"\n')
        program.chmod(0o755)
    return tmp_path


def start(container: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{container / 'bin'}:{os.environ['PATH']}"}
    command = ["sh", str(container / "entrypoint.sh"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["import_videos", "--videos", "/videos/a b"], "python|-m|training.import_videos|--videos|/videos/a b|"),
        (["deepspeed", "--num_gpus", "4"], "deepspeed|--num_gpus|4|"),
        (["torchrun", "-m", "training.train_detector"], "torchrun|-m|training.train_detector|"),
    ],
)
def test_the_first_word_is_a_stage_or_a_launcher(container: Path, words: list[str], expected: str) -> None:
    started = start(container, *words)
    assert (started.returncode, started.stdout, started.stderr) == (0, expected, "")


@pytest.mark.parametrize("word", ["", "python", "import-videos"])
def test_another_first_word_says_what_to_give(container: Path, word: str) -> None:
    started = start(container, *filter(None, [word]))
    assert (started.returncode, started.stdout) == (2, "")
    assert "usage: docker compose run --rm training STAGE" in started.stderr
    assert (f"error: {word}: a stage expected" in started.stderr) == bool(word)
