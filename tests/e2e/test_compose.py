"""The shipped compose file, on the shipped demo models and videos, in a fresh copy of the checkout."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2400)]
# Another user cannot make a folder of root's to begin with.
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="skipped: only root can give a folder away")

IMAGE_USER = 10001
LONE_DRIVER = "mousetal-lone-driver"


def has_engine() -> bool:
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the files that git knows, with the images built."""
    if not has_engine():
        pytest.skip("skipped: no Docker engine with Compose v2 answers")
    folder = tmp_path_factory.mktemp("compose") / "mousetal"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True)
    for name in filter(None, files.stdout.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    (folder / "output").mkdir(exist_ok=True)
    built = compose(folder, "build", timeout=1800)
    assert built.returncode == 0, built.stdout[-3000:]
    yield folder
    compose(folder, "down", "--volumes", "--remove-orphans", timeout=120)


def compose(folder: Path, *arguments: str, timeout: float = 600, **settings: str) -> subprocess.CompletedProcess[str]:
    """`docker compose ...` on the CPU, its two streams in one text."""
    environment = {**os.environ, "COMPOSE_FILE": "docker-compose.yml", **settings}
    return subprocess.run(
        ["docker", "compose", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def up(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    done = compose(folder, "up", "--no-build", "--exit-code-from", "driver", **settings)
    compose(folder, "down", "--remove-orphans", timeout=120, **settings)
    return done


def user_of_lone_driver(folder: Path, **settings: str) -> int:
    """The user that the driver's process runs as while it waits for services that nobody started."""
    started = compose(folder, "run", "--detach", "--name", LONE_DRIVER, "--no-deps", "driver", **settings)
    try:
        for _ in range(60):
            shown = subprocess.run(
                ["docker", "top", LONE_DRIVER, "-eo", "pid,uid,args"], capture_output=True, text=True, check=False
            )
            for _, user, *words in map(str.split, shown.stdout.splitlines()[1:]):
                if words == ["python", "-m", "inference_script"]:
                    return int(user)
            time.sleep(0.5)
    finally:
        subprocess.run(["docker", "rm", "--force", LONE_DRIVER], capture_output=True, check=False)
    pytest.fail(f"no driver was seen: {started.stdout[-2000:]}")


def statuses(folder: Path) -> dict[str, str]:
    with (folder / "output" / "videos.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["video"]: row["status"] for row in csv.DictReader(file)}


def test_compose_up_finds_bouts_in_the_demo_videos_and_a_second_run_skips_them(project: Path) -> None:
    first = up(project)
    assert first.returncode == 0, first.stdout[-4000:]
    assert len(statuses(project)) == 3
    assert set(statuses(project).values()) == {"done"}
    with (project / "output" / "intervals.csv").open(encoding="utf-8-sig", newline="") as file:
        behaviors = {row["behavior"] for row in csv.DictReader(file)}
    assert behaviors == {"Self-Grooming", "Head/Body TWITCH"}
    assert (project / "output" / "report.html").stat().st_size > 10_000
    second = up(project)
    assert second.returncode == 0, second.stdout[-4000:]
    assert set(statuses(project).values()) == {"skipped"}


def test_the_exit_code_says_that_a_video_failed_and_the_others_are_done(project: Path) -> None:
    videos = project / "some videos"
    videos.mkdir()
    shutil.copy2(next((project / "videos").glob("demo-*.mp4")), videos / "Maus ä 1.mp4")
    good = (videos / "Maus ä 1.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(good[: len(good) // 3])
    done = up(project, INPUT="./some videos")
    assert done.returncode == 1, done.stdout[-4000:]
    assert statuses(project)["Maus ä 1.mp4"] == "done"
    assert statuses(project)["cut.mp4"] == "failed"


def test_results_belong_to_the_owner_of_the_output_folder(project: Path) -> None:
    output = project / "theirs"
    output.mkdir()
    if os.getuid() != 0:
        pytest.skip("skipped: only root can give a folder away")
    os.chown(output, 12345, 12345)
    done = up(project, OUTPUT="./theirs", INPUT="./some videos/Maus ä 1.mp4")
    assert done.returncode == 0, done.stdout[-4000:]
    assert {path.stat().st_uid for path in output.rglob("*")} == {12345}
    assert next(iter((output / "predictions").rglob("*.json"))).name == "Maus ä 1.mp4.json"


def test_the_containers_have_no_way_out_and_the_services_are_not_root(project: Path) -> None:
    config = json.loads(compose(project, "config", "--format", "json").stdout)
    assert config["networks"]["mousetal"]["internal"] is True
    for service in ("detector", "mvd"):
        image = config["services"][service]["image"]
        shown = subprocess.run(["docker", "image", "inspect", image], check=True, capture_output=True, text=True)
        assert json.loads(shown.stdout)[0]["Config"]["User"] == "mousetal"
        assert config["services"][service]["volumes"][0]["read_only"] is True


@pytest.mark.parametrize("key", ["MODEL_DIR", "DETECTOR_DIR", "INPUT"])
def test_a_path_that_does_not_exist_is_named_and_not_made(project: Path, key: str) -> None:
    done = up(project, **{key: "./misspelt"})
    assert done.returncode != 0
    assert f"path does not exist: {project}/misspelt" in done.stdout
    assert not (project / "misspelt").exists()


def test_a_model_of_the_wrong_kind_ends_the_job_with_a_sentence(project: Path) -> None:
    done = up(project, MODEL_DIR="./models/demo-detector")
    assert done.returncode != 0
    assert "a model of kind 'mvd' expected, this one is 'rtdetrv2'. Are MODEL_DIR" in done.stdout


def test_a_bare_weights_file_is_a_model_under_its_mount_points_name(project: Path) -> None:
    torch.save({"a": torch.zeros(1)}, project / "mine.pth")
    code = "from pathlib import Path; from mousetal import modelfolder; print(modelfolder.locate(Path('/models/mvd')))"
    run = ("run", "--rm", "--no-deps", "--entrypoint", "python", "mvd", "-c", code)
    done = compose(project, *run, MODEL_DIR="./mine.pth")
    assert done.returncode == 0, done.stdout
    assert "Layout.PICKLE" in done.stdout


@needs_root
@pytest.mark.parametrize("holds", ["nothing", "results", "anything"])
def test_the_driver_does_not_run_as_root(project: Path, holds: str) -> None:
    output = project / f"output of {holds}"
    output.mkdir()
    if holds == "results":
        for name in (".lock", "predictions/a.mp4.json"):
            (output / name).parent.mkdir(exist_ok=True)
            (output / name).touch()
    if holds == "anything":
        (output / "thesis.docx").touch()
        done = compose(project, "run", "--rm", "--no-deps", "driver", OUTPUT=str(output))
        assert done.returncode == 2
        assert "OUTPUT belongs to root and holds thesis.docx" in done.stdout
        os.chown(output, 12345, 12345)
    expected = 12345 if holds == "anything" else IMAGE_USER
    assert user_of_lone_driver(project, OUTPUT=str(output)) == expected
    assert output.stat().st_uid == expected
    if holds == "results":
        assert (output / "predictions" / "a.mp4.json").stat().st_uid == IMAGE_USER


def test_a_missing_setting_is_named_before_anything_starts(project: Path) -> None:
    done = compose(project, "config", INPUT="")
    assert done.returncode != 0
    assert "set INPUT in .env" in done.stdout


def test_training_runs_in_its_image_and_what_it_writes_belongs_to_the_folders_owner(project: Path) -> None:
    """The demo videos with their true bouts as a table: imported, cut into clips, learnt from."""
    work = project / "training-data"
    work.mkdir()
    rows = ["Video,Behaviour,Start,End"]
    for path in sorted((project / "videos").glob("*.truth.json")):
        truth = json.loads(path.read_text())
        rate = Fraction(truth["fps"])
        rows += [
            f"{truth['video']},{bout['behavior']},{float(bout['start_frame'] / rate)},{float(bout['end_frame'] / rate)}"
            for bout in truth["bouts"]
        ]
    (work / "scores.csv").write_text("\n".join(rows) + "\n")
    if os.getuid() == 0:
        for path in [work, *work.rglob("*")]:
            os.chown(path, 12345, 12345)
    built = compose(project, "--profile", "training", "build", "training", timeout=1800)
    assert built.returncode == 0, built.stdout[-3000:]

    def stage(*words: str) -> str:
        done = compose(project, "run", "--rm", "--no-deps", "training", *words)
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    given = ["import_videos", "--videos", "/videos", "--labels", "scores.csv"]
    stage(*given, "--guess", "mapping.toml")
    said = stage(*given, "--mapping", "mapping.toml", "--subject-pattern", "(demo-[0-9])", "--write")
    assert "3 videos added" in said
    assert "2 cut" in stage("preprocess", "--detector", "/models/demo-detector"), "the third is for testing"
    assert (work / "clips" / "clips.csv").stat().st_size > 100
    config = ["--config", "training/configs/train-demo/toy-mvd.toml"]
    short = ["--steps", "2", "--warmup-steps", "1", "--batch", "4", "--motion-start", "no"]
    said = stage("finetune_mvd", *config, *short, "--clips", "clips", "--out", "runs/toy")
    assert "done: best merit" in said
    for model in ("best", "last"):
        assert (work / "runs" / "toy" / model / "model.safetensors").stat().st_size > 10_000
    assert {path.stat().st_uid for path in work.rglob("*")} == ({12345} if os.getuid() == 0 else {os.getuid()})


def test_a_training_run_without_a_stage_says_what_to_give(project: Path) -> None:
    done = compose(project, "run", "--rm", "--no-deps", "training")
    assert done.returncode == 2
    assert "usage: docker compose run --rm training STAGE" in done.stdout
