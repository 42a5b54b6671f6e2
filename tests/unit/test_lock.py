"""One program per folder at a time, and a crash leaves no lock behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from mousetal import lock
from mousetal.errors import OutputError


def hold(folder: Path) -> AbstractContextManager[None]:
    return lock.hold(folder, "another driver", "choose another OUTPUT")


HOLDER = """
import pathlib, sys
from mousetal import lock
with lock.hold(pathlib.Path(sys.argv[1]), "another driver", "choose another OUTPUT"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_in_one_sentence_that_names_the_first(tmp_path: Path, root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(
                OutputError, match=rf"in use by another driver \(process {first.pid} on .* choose another OUT"
            ),
            hold(tmp_path),
        ):
            pass
        first.kill()
    with hold(tmp_path):
        pass


def test_the_folder_is_made_and_free_again_after_an_error(tmp_path: Path) -> None:
    output = tmp_path / "new" / "output"
    with pytest.raises(RuntimeError), hold(output):
        raise RuntimeError
    with hold(output):
        assert output.is_dir()


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), hold(tmp_path / "file" / "output"):
        pass


FORKED = """
import os, pathlib, sys, time
from mousetal import lock
with lock.hold(pathlib.Path(sys.argv[1]), "another driver", "choose another OUTPUT"):
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os.waitpid(child, 0)
"""


def test_a_child_that_outlives_its_killed_parent_does_not_hold_the_folder(tmp_path: Path, root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKED, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        try:
            with pytest.raises(OutputError), hold(tmp_path):
                pass
            first.kill()
            first.wait()
            with hold(tmp_path):
                os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)
