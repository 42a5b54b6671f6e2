"""Labels go out to every format and come back the same; and real labels of three raters come in."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest

from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.formats import supervisely
from mousetal.types import FrameBox, FrameRange, Label
from tests.fixtures import videos
from tests.fixtures.videos import MILLISECONDS
from training import export_labels, import_videos
from training.importing.labeltable import read_label_table
from training.importing.mapping import read_mapping

LABELS = {
    "m1.mp4": (
        Label("Self-Grooming", FrameRange(0, 7), 1, "ann", "scores.xlsx!A!B2:C2"),
        Label("Head/Body TWITCH", FrameRange(5, 6), 3, "ann"),
        Label("Self-Grooming", FrameRange(7, 9), 1, "ann"),
        Label("=odd", FrameRange(8, 12), 1, "bob"),
        Label("Self-Grooming", FrameRange(30, 40), 2, "bob"),
    ),
    "m2.mp4": (Label("Self-Grooming", FrameRange(39, 40), 1, "ann"),),
    "m3.mp4": (),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 40 frames: at 30 fps, at an uneven rate, at 29.97; two of them with one name in two folders."""
    folder = tmp_path_factory.mktemp("films")
    for name in ("a", "b"):
        (folder / name).mkdir()
    videos.write_video(folder / "a" / "m1.mp4")
    videos.write_video(folder / "b" / "m2.mp4", **MILLISECONDS)
    videos.write_video(folder / "b" / "m1.mp4", num_frames=20)
    videos.write_video(folder / "m3.mp4", num_frames=12)
    return folder


@pytest.fixture
def dataset(films: Path, tmp_path: Path) -> Dataset:
    """All of LABELS stored; b/m1.mp4 is a video that nobody looked at."""
    assert import_videos.main(["--videos", str(films), "--dataset", str(tmp_path / "one"), "--write"]) == 0
    stored = replace(
        datasets.read(tmp_path / "one"), behaviors=("Self-Grooming", "Head/Body TWITCH", "=odd")
    )  # fmt: skip
    for entry in stored.videos:
        if entry.path.endswith("b/video/m1.mp4"):
            continue
        facts = {"subject": f"animal of {Path(entry.path).name}", "group": "drug", "phase": "pre", "session": "1"}
        entry = datasets.write_labels(stored, replace(entry, scored=None, **facts), LABELS[Path(entry.path).name])
        stored = stored.with_entry(entry)
    datasets.write(stored)
    return stored


def export(dataset: Dataset, kind: str, out: Path) -> Path:
    assert export_labels.main(["--dataset", str(dataset.root), "--format", kind, "--out", str(out)]) == 0
    return out


def labels_of(dataset: Dataset) -> dict[str, set[tuple[str, FrameRange, int, str]]]:
    return {
        entry.path: {(one.behavior, one.frames, one.count, one.rater) for one in datasets.read_labels(dataset, entry)}
        for entry in dataset.videos
    }


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("csv", "labels.csv"),
        ("xlsx", "labels.xlsx"),
        ("boris", "labels.boris"),
        ("boris-table", "events.csv"),
        ("boris-table", "events.tsv"),
        ("boris-table", "events.xlsx"),
        ("supervisely", "project"),
    ],
)
def test_labels_go_out_and_come_back_the_same(
    dataset: Dataset, films: Path, tmp_path: Path, kind: str, name: str
) -> None:
    out = export(dataset, kind, tmp_path / "out" / name)
    target = str(tmp_path / "two")
    assert import_videos.main(["--videos", str(films), "--labels", str(out), "--dataset", target, "--write"]) == 0
    back = datasets.read(tmp_path / "two")
    assert labels_of(back) == labels_of(dataset)
    assert set(back.behaviors) == {label.behavior for labels in LABELS.values() for label in labels}
    nobody = {entry.path for entry in back.videos if entry.scored == ()}
    if kind == "supervisely":
        assert nobody == set(), "a project has no word for what nobody looked at"
    elif kind != "boris-table":
        assert nobody == {"videos/datasets/b/video/m1.mp4"}
    facts = {entry.path: (entry.subject, entry.group, entry.phase) for entry in back.videos}
    if kind in ("csv", "xlsx"):
        assert facts["videos/datasets/a/video/m1.mp4"] == ("animal of m1.mp4", "drug", "pre")
    if kind == "boris":
        assert facts["videos/datasets/a/video/m1.mp4"] == ("animal of m1.mp4", "drug", "pre")


def test_the_data_set_itself_is_a_project_that_can_be_imported(dataset: Dataset, tmp_path: Path) -> None:
    target = str(tmp_path / "two")
    assert import_videos.main(["--videos", str(dataset.root), "--dataset", target, "--name", "n", "--write"]) == 0
    back = datasets.read(tmp_path / "two")
    assert {path.partition("/datasets/videos/")[2]: labels for path, labels in labels_of(back).items()} == {
        path.partition("videos/")[2]: labels for path, labels in labels_of(dataset).items()
    }


def test_a_supervisely_export_has_stored_boxes_as_rectangles(dataset: Dataset, tmp_path: Path) -> None:
    entry = next(one for one in dataset.videos if one.path.endswith("m3.mp4"))
    boxes = (FrameBox(2, (1.0, 2.0, 30.0, 40.0), 0.9, "detected"), FrameBox(4, (-3.0, 2.0, 300.0, 40.0), 0.0, "held"))
    datasets.write_stored_boxes(dataset, entry, boxes, [n / 30 for n in range(12)])
    out = export(dataset, "supervisely", tmp_path / "project")
    assert supervisely.is_project(out)
    read = supervisely.read_annotation(out / datasets.sibling(entry.path, "ann", ".json"))
    assert [(one.frame_index, one.class_title, one.box_xyxy) for one in read.figures] == [
        (2, "mouse", (1, 2, 30, 40)), (4, "mouse", (0, 2, 95, 40))
    ]  # fmt: skip


def test_bouts_that_share_frames_are_one_in_boris_and_keep_their_count(dataset: Dataset, tmp_path: Path) -> None:
    entry = next(one for one in dataset.videos if one.path.endswith("m3.mp4"))
    labels = [Label("Self-Grooming", FrameRange(0, 5), 1), Label("Self-Grooming", FrameRange(3, 9), 2)]
    datasets.write(dataset.with_entry(datasets.write_labels(dataset, entry, labels)))
    document = json.loads(export(dataset, "boris", tmp_path / "p.boris").read_text())
    events = document["observations"][entry.path]["events"]
    assert [(row[0], row[3]) for row in events] == [(0.0, "3"), (0.3, "3")]


def test_a_workbook_tells_of_the_videos_too_and_runs_no_formula(dataset: Dataset, tmp_path: Path) -> None:
    book = openpyxl.load_workbook(export(dataset, "xlsx", tmp_path / "labels.xlsx"))
    assert [row[0].value for row in book["videos"].rows] == ["video", *(entry.path for entry in dataset.videos)]
    assert all(cell.data_type != "f" for row in book["labels"].rows for cell in row)


def test_a_video_that_is_gone_is_reported_and_the_others_go_out(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = next(one for one in dataset.videos if one.path.endswith("m2.mp4"))
    dataset.video_path(gone).unlink()
    arguments = ["--dataset", str(dataset.root), "--format", "csv", "--out", str(tmp_path / "labels.csv")]
    assert export_labels.main(arguments) == 1
    assert "m2.mp4" in capsys.readouterr().err
    assert "m1.mp4" in (tmp_path / "labels.csv").read_text()


def test_what_an_export_has_no_word_for_is_said(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(dataset, "csv", tmp_path / "labels.csv")
    assert "scored in part" not in capsys.readouterr().err, "who was not looked at is not in it"
    export(dataset, "supervisely", tmp_path / "project")
    assert "b/video/m1.mp4: not scored" in capsys.readouterr().err
    entry = next(one for one in dataset.videos if one.path.endswith("m3.mp4"))
    datasets.write(dataset.with_entry(replace(entry, scored=(FrameRange(0, 4),))))
    export(datasets.read(dataset.root), "csv", tmp_path / "labels.csv")
    assert f"note: {entry.path}: not scored, scored in part" in capsys.readouterr().err


def test_an_export_onto_the_data_set_is_refused(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dataset", str(dataset.root), "--format", "supervisely", "--out", str(dataset.root)]
    assert export_labels.main(arguments) == 2
    assert "another folder" in capsys.readouterr().err
    assert export_labels.main(["--dataset", "nowhere", "--format", "csv", "--out", "x"]) == 1


def test_a_prediction_never_passes_for_a_persons_label(films: Path, tmp_path: Path) -> None:
    """The driver's own intervals.csv names its model; that is who scored."""
    from mousetal.formats.csv import INTERVAL_COLUMNS, table_text

    row = ["a/m1.mp4", "Self-Grooming", 3, 9, 0.1, 0.3, 0.2, 1, 0.9, 0.8, "", "", "", "", "model", "mvd@12ab", ""]
    (tmp_path / "intervals.csv").write_text(table_text(INTERVAL_COLUMNS, [row]))
    arguments = ["--videos", str(films), "--labels", str(tmp_path / "intervals.csv"), "--dataset", str(tmp_path / "d")]
    assert import_videos.main([*arguments, "--write"]) == 0
    stored = datasets.read(tmp_path / "d")
    (label,) = [one for entry in stored.videos for one in datasets.read_labels(stored, entry)]
    assert (label.rater, label.frames) == ("mvd@12ab", FrameRange(3, 9))


MAPPING = """
[columns]
video = "ID"
behavior = "type"
start = "from"
end = "to"
rater = "Experimenter"
subject = "ID"
[behaviors]
markers = ["Start/End", "StartEnd"]
ignore = ["_DEFAULT", "NA"]
[behaviors.names]
Self-Grooming = ["Grooming"]
"Supported rearing" = ["Supported"]
"Unsupported rearing" = ["Unsupported"]
Jumping = []
"""


def test_the_real_labels_of_three_raters_come_in_cleanly(
    rater_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """We have the labels of 14 ten-minute videos alone: videos of that length, at one frame a second, stand in."""
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "videos").mkdir()
    ids = sorted({line.split(";")[5].strip('"') for line in rater_table.read_text().splitlines()[1:]})
    first = videos.write_video(tmp_path / "first.mp4", num_frames=603, fps=1, options={"preset": "ultrafast"})
    for number, name in enumerate(ids):  # each of another content, or they would be one video
        shutil.copy(first, tmp_path / "videos" / f"{name}.mp4")
        with (tmp_path / "videos" / f"{name}.mp4").open("ab") as file:
            file.write(b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    arguments = ["--videos", str(tmp_path / "videos"), "--labels", str(rater_table), "--dataset", str(tmp_path / "d"),
                 "--mapping", str(tmp_path / "mapping.toml"), "--write"]  # fmt: skip
    assert import_videos.main(arguments) == 0
    told = capsys.readouterr().out
    assert "LEFT OUT" not in told
    stored = datasets.read(tmp_path / "d")
    labels = [one for entry in stored.videos for one in datasets.read_labels(stored, entry)]
    assert {one.rater for one in labels} == {"Jin", "Oliver", "Furkan"}
    by_name = {name: sum(one.behavior == name for one in labels) for name in stored.behaviors}
    # 195, 2154, 1481 and 10 in the file; at one frame a second a few fall on the same frames and count once.
    assert by_name["Self-Grooming"] == 195
    assert by_name["Jumping"] == 10
    assert 2000 < by_name["Supported rearing"] <= 2154
    assert 1400 < by_name["Unsupported rearing"] <= 1481
    assert all(entry.scored is not None and len(entry.scored) == 1 for entry in stored.videos)
    assert all(550 < len(part) < 602 for entry in stored.videos for part in entry.scored or ())
    assert labels[0].origin.startswith("AllLabDataOFT_part.csv!C")
    assert {entry.subject for entry in stored.videos} == set(ids)


def test_raters_can_be_compared_by_their_table_alone(rater_table: Path, tmp_path: Path) -> None:
    """No video is needed: rows in seconds, each with its rater; the spellings of the markers are one."""
    (tmp_path / "mapping.toml").write_text(MAPPING)
    read = read_label_table(rater_table, read_mapping(tmp_path / "mapping.toml"))
    found = {(row.rater, row.behavior): 0 for row in read.rows}
    for row in read.rows:
        found[row.rater, row.behavior] += 1
    assert sum(found.values()) == 195 + 2154 + 1481 + 10
    assert {rater for rater, _ in found} == {"Jin", "Oliver", "Furkan"}
    assert {row.unit for row in read.rows} == {"seconds"}
    assert len(read.scored) == len(read.facts) == 14
    assert all(0 < part.start < 10 and 590 < (part.end or 0) < 603 for (part,) in read.scored.values())
    assert [trouble.message for trouble in read.troubles if trouble.is_loss] == []
