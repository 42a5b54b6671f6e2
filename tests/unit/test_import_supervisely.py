"""Supervisely projects as a source of videos and labels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mousetal import atomic
from mousetal import dataset as datasets
from mousetal.formats import supervisely
from mousetal.types import FrameRange
from tests.fixtures.imports import HEADER, MAPPING, ROWS, import_rows, labels_of, run, write_films


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapping.toml").write_text(MAPPING)
    return tmp_path


def test_a_supervisely_project_is_taken_with_its_labels_counts_and_boxes(films: Path, here: Path) -> None:
    project = here / "project"
    for name, source in (("a", films / "m3.mp4"), ("a/datasets/b", films / "day 1" / "m1_pre.mp4")):
        (project / name / "video").mkdir(parents=True)
        (project / name / "ann").mkdir()
        shutil.copy(source, project / name / "video" / source.name)
    (project / "meta.json").write_text("{}")
    document = supervisely.empty_annotation("m1", 96, 80, 60)
    document["tags"] = [
        {"name": "Head/Body TWITCH", "value": 3, "frameRange": [4, 4], "labelerLogin": "ann", "key": "k1"},
        {"name": "Self-Grooming", "frameRange": [10, 19], "key": "k2"},
        {"name": "confidence", "value": 0.7, "frameRange": [10, 19]},
        {"name": "arena", "value": "A1"},
        {"name": "idle", "frameRange": [30, 40]},
    ]
    document["objects"] = [{"key": "o", "classTitle": "mouse", "tags": []}]
    corners = {"points": {"exterior": [[1, 2], [30, 40]], "interior": []}}
    figure = {"objectKey": "o", "geometryType": "rectangle", "geometry": corners}
    document["frames"] = [{"index": 3, "figures": [figure]}]
    atomic.write_json(project / "a/datasets/b/ann/m1_pre.mp4.json", document)
    assert run("--videos", project, "--name", "old", "--rater", "eva", "--write") == 0
    dataset = datasets.read(here / "dataset")
    assert {entry.path: entry.scored for entry in dataset.videos} == {
        "old/datasets/a/video/m3.mp4": (),
        "old/datasets/a/datasets/b/video/m1_pre.mp4": None,
    }
    labels = labels_of(dataset, "m1_pre.mp4")
    assert [(one.behavior, one.frames, one.count, one.rater) for one in labels] == [
        ("Head/Body TWITCH", FrameRange(4, 5), 3, "ann"), ("Self-Grooming", FrameRange(10, 20), 1, "eva")
    ]  # fmt: skip
    entry = next(entry for entry in dataset.videos if entry.path.endswith("m1_pre.mp4"))
    assert [box.frame_index for box in datasets.read_stored_boxes(dataset, entry)] == [3]


def test_an_annotation_that_makes_no_sense_costs_only_its_own_video(
    films: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = here / "project"
    for folder in ("video", "ann"):
        (project / "a" / folder).mkdir(parents=True)
    (project / "meta.json").write_text("{}")
    for name, frames in (("m3.mp4", [9, 4]), ("m1_pre.mp4", [4, 9])):
        shutil.copy(next(films.rglob(name)), project / "a" / "video" / name)
        document = supervisely.empty_annotation(name, 96, 80, 10)
        document["tags"] = [{"name": "Self-Grooming", "frameRange": frames, "key": "k"}]
        atomic.write_json(project / "a" / "ann" / f"{name}.json", document)
    assert run("--videos", project, "--write") == 1
    assert "LEFT OUT: unreadable annotation (1)\n  project!a/video/m3.mp4" in capsys.readouterr().out
    dataset = datasets.read(here / "dataset")
    assert labels_of(dataset, "m1_pre.mp4")
    assert not labels_of(dataset, "m3.mp4")
    assert next(entry.scored for entry in dataset.videos if entry.path.endswith("m3.mp4")) == ()


def test_a_data_set_of_ours_keeps_what_its_manifest_says(films: Path, here: Path) -> None:
    """Its unscored videos stay so, though each has an annotation; scored parts, animals, what was looked for, too."""
    assert import_rows(films, ROWS, "--name", "c3", "--write", "--dataset", here / "old") == 1  # the garbage among them
    old = datasets.read(here / "old")
    parts = (FrameRange(3, 20), FrameRange(30, 60))
    said = {
        "m1_pre.mp4": {"scored": parts, "behaviors": ("Self-Grooming",), "subject": "m1", "session": "morning"},
        "m3 copy.mp4": {"subject": "m3", "group": "saline"},
    }
    entries = [replace(entry, **said.get(Path(entry.path).name, {})) for entry in old.videos]  # type: ignore[arg-type]
    datasets.write(replace(old, videos=tuple(entries)))
    before = {Path(entry.path).name: entry for entry in entries}
    assert before["m3 copy.mp4"].scored == ()
    assert run("--videos", here / "old", "--write", "--dataset", here / "new") == 0
    after = {Path(entry.path).name: entry for entry in datasets.read(here / "new").videos}
    assert after.keys() == before.keys()
    for name in before:
        for fact in ("scored", "behaviors", "subject", "group", "phase", "session"):
            assert getattr(after[name], fact) == getattr(before[name], fact), (name, fact)
    assert labels_of(datasets.read(here / "new"), "m1_pre.mp4")


def test_a_video_that_another_file_says_was_scored_stays_scored(films: Path, here: Path) -> None:
    """A data set in which nobody has looked at it yet says nothing against that."""
    assert run("--videos", films, "--write", "--dataset", here / "old") == 1
    rows = [HEADER, ["m1_pre", "", "", "", ""]]
    assert import_rows(films, rows, "--write", "--dataset", here / "new") == 1
    for entry in datasets.read(here / "new").videos:
        assert (entry.scored is None) == entry.path.endswith("m1_pre.mp4")
    assert run("--videos", here / "old", "--write", "--dataset", here / "new") == 0
    for entry in datasets.read(here / "new").videos:
        assert (entry.scored is None) == entry.path.endswith("m1_pre.mp4")


@pytest.mark.parametrize(("manifest", "code"), [("{}", 0), ('{"format_version": 1}', 1), ("{", 1)])
def test_a_manifest_of_ours_that_is_damaged_is_told_and_another_programs_file_is_none(
    films: Path, here: Path, manifest: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    project = here / "project"
    (project / "a" / "video").mkdir(parents=True)
    shutil.copy(films / "m3.mp4", project / "a" / "video")
    (project / "meta.json").write_text("{}")
    (project / "dataset.json").write_text(manifest)
    assert run("--videos", project, "--write") == code
    assert ("dataset.json" in capsys.readouterr().err) == bool(code)
