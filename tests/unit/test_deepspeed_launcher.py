"""DeepSpeed's own launcher: the lines that our documents give it, several machines, and a process that is killed."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.deepspeedteam import free_port
from tests.fixtures.finetuning import TOY, arguments, assert_same_weights, losses
from tests.fixtures.trainingclips import write_clips
from training.engine import SHARED_MEMORY
from training.finetune_knobs import Knobs

runner = pytest.importorskip("deepspeed.launcher.runner")

HOSTS = "mouse1 slots=2\nmouse2 slots=4\n"
LAUNCHER = [sys.executable, "-m", "deepspeed.launcher.runner"]
# What `training.finetune_mvd` takes beside its settings.
OWN_FLAGS = {"config", "clips", "out", "threads"}
SMALL = replace(TOY, device="cpu", batch=2, drop_path=0.0, mix_probability=0.0, erase=0.0)


def documented(text: str) -> Iterator[list[str]]:
    """The words after ``deepspeed`` of every command in a document: to the end of its line, or of its backticks."""
    text = text.replace("```", "\n\n").replace("``", "`").replace("\\\n", " ")
    for found in re.finditer(r"\bdeepspeed\s+(?=-)", text):
        is_inline = text[text.rfind("\n\n", 0, found.start()) + 1 : found.start()].count("`") % 2
        yield shlex.split(re.split("`" if is_inline else "\n", text[found.end() :], maxsplit=1)[0])


def documents(root: Path) -> list[Path]:
    inside = [path for name in ("training", "images", "bench", "mousetal", "docs") for path in (root / name).rglob("*")]
    kinds = (".md", ".py", ".toml", ".yml", ".sh", "")
    return sorted(
        path for path in [*root.glob("*"), *inside] if path.is_file() and path.suffix in kinds and path.name[0] != "."
    )


def test_commands_are_found_in_blocks_in_backticks_and_over_two_lines() -> None:
    text = "It is `x`. Run `docker run deepspeed --num_gpus 4\n--module a.b ...`.\n"
    text += "\n```sh\ndeepspeed --module c \\\n  --d\ne\n```"
    assert list(documented(text)) == [["--num_gpus", "4", "--module", "a.b", "..."], ["--module", "c", "--d"]]


def test_every_documented_command_is_one_that_the_launcher_and_the_program_take(root: Path) -> None:
    known = OWN_FLAGS | {one.name for one in fields(Knobs)}
    count = 0
    for path in documents(root):
        for words in documented(path.read_text("utf-8")):
            count += 1
            parsed = runner.parse_args(words)  # ends the test where the launcher would complain
            assert parsed.module, (path, words)
            assert importlib.util.find_spec(parsed.user_script), (path, words)
            flags = {word[2:].replace("-", "_") for word in parsed.user_args if word.startswith("--")}
            assert flags <= known, (path, words)
    assert count >= 6


def stub(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\nimport json, subprocess, sys\n{body}\n")
    (folder / name).chmod(0o755)


def launch(words: list[str], root: Path, path: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """What the launcher makes of a command."""
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    clean |= {"PATH": path or clean["PATH"], "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", **more}
    return subprocess.run([*LAUNCHER, *words], cwd=root, env=clean, capture_output=True, text=True, check=False)


def test_the_documented_hostfile_command_reaches_every_machine(root: Path, tmp_path: Path) -> None:
    """A dry run: pdsh and ssh are stand-ins that tell what they are given."""
    readme = list(documented((root / "training" / "README.md").read_text("utf-8")))
    words = next(one for one in readme if "--hostfile" in one and "--no_ssh" not in one)
    assert HOSTS in (root / "training" / "README.md").read_text("utf-8")
    (tmp_path / "hosts").write_text(HOSTS)
    words[words.index("--hostfile") + 1] = str(tmp_path / "hosts")
    stub(tmp_path / "bin", "ssh", "print('10.0.0.1 172.17.0.1')")  # what `hostname -I` says
    without = launch(words, root, str(tmp_path / "bin"))
    assert "launcher 'pdsh' not installed" in without.stderr
    stub(tmp_path / "bin", "pdsh", "print('GIVEN' + json.dumps(sys.argv[1:]))")
    done = launch(words, root, str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout.split("GIVEN")[1].splitlines()[0])
    assert given[given.index("-w") + 1] == "mouse1,mouse2"
    options = dict(word[2:].split("=", 1) for word in given if word.startswith("--") and "=" in word)
    world = json.loads(base64.urlsafe_b64decode(options["world_info"]))
    assert world == {"mouse1": [0, 1], "mouse2": [0, 1, 2, 3]}
    assert (options["node_rank"], options["master_addr"], options["master_port"]) == ("%n", "10.0.0.1", "29500")
    assert f"cd {root};" in given
    program = given.index("training.finetune_mvd")
    assert "--module" in given[:program]
    assert given[program + 1 :] == words[words.index("training.finetune_mvd") + 1 :]


PLAY = """
words = " ".join(sys.argv[sys.argv.index("-w") + 2:])
parts = [subprocess.Popen(["sh", "-c", words.replace("%n", node)]) for node in "01"]
sys.exit(max(abs(one.wait()) for one in parts))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_machines_played_by_this_one_train_as_one(root: Path, tmp_path: Path) -> None:
    """By pdsh, which here starts both parts itself, and without: each has the one GPU that a line of the file says."""
    write_clips(tmp_path / "clips")
    (tmp_path / "hosts").write_text("mouse1 slots=1\nmouse2 slots=1\n")
    stub(tmp_path / "bin", "ssh", "print('127.0.0.1')")
    stub(tmp_path / "bin", "pdsh", PLAY)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    common = ["--hostfile", str(tmp_path / "hosts")]

    def program(name: str) -> list[str]:
        return ["--module", "training.finetune_mvd", *arguments(tmp_path / "clips", tmp_path / name, SMALL)]

    done = launch([*common, "--master_port", str(free_port()), *program("pdsh")], root, path)
    assert done.returncode == 0, done.stderr[-3000:]
    port, teams = str(free_port()), []
    for node in "01":
        words = ["--no_ssh", "--node_rank", node, "--master_addr", "127.0.0.1", "--master_port", port]
        with (tmp_path / f"{node}.txt").open("w") as log:
            teams.append(subprocess.Popen([*LAUNCHER, *common, *words, *program("by hand")], cwd=root, stdout=log,
                                          stderr=log, env=os.environ | {"DS_ACCELERATOR": "cpu"}))  # fmt: skip
    assert [one.wait() for one in teams] == [0, 0], (tmp_path / "0.txt").read_text()[-3000:]
    assert json.loads((tmp_path / "pdsh" / "environment.json").read_text())[0]["processes"] == 2
    assert launch([*program("alone"), "--batch", "4"], root).returncode == 0
    for name in ("pdsh", "by hand"):
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "alone"), rtol=1e-5)


KILLED = """
import os, signal, sys
from training import finetune_mvd, keeper
after, done = keeper.Keeper.after_step, []
def after_step(self):
    after(self)
    done.append(1)
    if len(done) == 3 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
keeper.Keeper.after_step = after_step
sys.exit(finetune_mvd.main(sys.argv[1:]))
"""


def shared_memory(ports: list[int]) -> list[Path]:
    """What teams at these ports have left in memory."""
    return [path for path in Path("/dev/shm").glob(f"{SHARED_MEMORY}_*") if int(path.name.split("_")[-2]) in ports]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("zero", [0, 3])
def test_a_run_of_two_processes_of_which_one_is_killed_goes_on(zero: int, root: Path, tmp_path: Path) -> None:
    """By SIGKILL after step 3. The launcher ends the other one, and the same command goes on from step 2."""
    write_clips(tmp_path / "clips")
    knobs = replace(SMALL, precision="bf16", zero=zero)
    (tmp_path / "killed.py").write_text(KILLED)

    ports: list[int] = []

    def team() -> list[str]:
        ports.append(free_port())
        return ["--num_gpus", "2", "--master_port", str(ports[-1])]

    def run(name: str) -> list[str]:
        return arguments(tmp_path / "clips", tmp_path / name, knobs)

    killed = launch([*team(), str(tmp_path / "killed.py"), *run("killed")], root, PYTHONPATH=str(root))
    assert killed.returncode != 0
    assert not shared_memory(ports)
    assert (tmp_path / "killed" / "checkpoints" / "last").read_text() == "step-0000002\n"
    for name in ("killed", "whole"):
        done = launch([*team(), "--module", "training.finetune_mvd", *run(name)], root)
        assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert not shared_memory(ports)
    assert_same_weights(tmp_path / "killed" / "last", tmp_path / "whole" / "last")
