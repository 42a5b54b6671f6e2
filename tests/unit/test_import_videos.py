"""From a folder of videos and a table to a data set and back: nothing is written too early, nothing is lost."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import openpyxl
import pytest

from mousetal import dataset as datasets
from mousetal import video
from mousetal.dataset import Dataset
from mousetal.formats import boris
from mousetal.types import FrameBox, FrameRange
from tests.fixtures.videos import garbage, write_video
from training import export_labels, import_videos
from training.importing.labels import to_labels
from training.importing.rows import LabelRow

GROOM, TWITCH = import_videos.BEHAVIORS
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two animals' videos in folders of their own, and a table."""
    monkeypatch.chdir(tmp_path)
    for animal in ("m1", "m2"):
        (tmp_path / "videos" / animal).mkdir(parents=True)
    write_video(tmp_path / "videos/m1/day 1.mp4", num_frames=40)
    write_video(tmp_path / "videos/m2/day 1.mp4", num_frames=30)
    (tmp_path / "scores.csv").write_text(
        "Video,Behaviour,Start,End\n"
        f"m1/day 1,{GROOM},0.2,0.6\nm2/day 1.mp4,{TWITCH},0.5,0.6\nm2/day 1.mp4,{GROOM},0.1,0.3\n"
    )
    return tmp_path


def run(*arguments: str) -> int:
    usual = ["--videos", "videos", "--labels", "scores.csv", "--subject-pattern", r"(?P<subject>m\d)"]
    return import_videos.main([*usual, *arguments])


def labels_of(root: Path) -> dict[str, list[tuple[str, int, int]]]:
    dataset = datasets.read(root)
    every = {entry.path: datasets.read_labels(dataset, entry) for entry in dataset.videos}
    return {
        path: [(one.behavior, one.frames.start_frame, one.frames.end_frame) for one in labels]
        for path, labels in every.items()
    }


def test_nothing_is_written_before_it_is_asked_for(lab: Path, capsys: Capture) -> None:
    assert run() == 0
    assert not (lab / "dataset").exists()
    said = capsys.readouterr().out
    assert "2 videos" in said
    assert "nothing is written yet" in said


def test_videos_and_labels_become_a_data_set(lab: Path) -> None:
    assert run("--write") == 0
    assert labels_of(lab / "dataset") == {
        "videos/datasets/m1/video/day 1.mp4": [(GROOM, 6, 18)],
        "videos/datasets/m2/video/day 1.mp4": [(GROOM, 3, 9), (TWITCH, 15, 18)],
    }
    dataset = datasets.read(lab / "dataset")
    assert [entry.subject for entry in dataset.videos] == ["m1", "m2"]
    first = datasets.read_labels(dataset, dataset.videos[0])[0]
    assert first.origin == "scores.csv!C2:D2"
    assert video.probe(dataset.video_path(dataset.videos[0])).num_frames == 40


@pytest.mark.parametrize("storage", ["copy", "link", "reference"])
def test_videos_are_kept_as_asked(lab: Path, storage: str) -> None:
    assert run("--write", "--storage", storage) == 0
    kept = lab / "dataset/videos/datasets/m1/video/day 1.mp4"
    source = lab / "videos/m1/day 1.mp4"
    assert kept.is_symlink() == (storage == "reference")
    assert kept.samefile(source) == (storage != "copy")
    assert kept.read_bytes() == source.read_bytes()


def test_importing_again_changes_nothing_and_a_corrected_table_replaces_its_own_labels(lab: Path) -> None:
    run("--write")
    before = (lab / "dataset/dataset.json").read_text()
    run("--write")
    assert (lab / "dataset/dataset.json").read_text() == before
    (lab / "more.csv").write_text(f"Video,Behaviour,Start,End\nm1/day 1,{TWITCH},1.0,1.1\n")
    import_videos.main(["--videos", "videos", "--labels", "more.csv", "--write"])
    (lab / "scores.csv").write_text(f"Video,Behaviour,Start,End\nm1/day 1,{GROOM},0.0,0.3\n")
    run("--write")
    assert labels_of(lab / "dataset")["videos/datasets/m1/video/day 1.mp4"] == [(GROOM, 0, 9), (TWITCH, 30, 33)]


def test_one_bad_file_and_unknown_names_cost_only_themselves(lab: Path, capsys: Capture) -> None:
    garbage(lab / "videos")
    table = lab / "scores.csv"
    table.write_text(table.read_text() + f"m7.mp4,{GROOM},1,2\nm1/day 1,sniffing,1,2\nm1/day 1,{GROOM},0.5,0.4\n")
    assert run("--write") == 1
    said = capsys.readouterr().out
    assert "video 'm7.mp4': no such video" in said
    assert "behaviour 'sniffing' is none of" in said
    assert "ends before it starts" in said
    assert "garbage" in said
    assert len(datasets.read(lab / "dataset").videos) == 2


def test_a_video_that_is_there_twice_is_taken_once(lab: Path, capsys: Capture) -> None:
    (lab / "videos/copy of day 1.mp4").write_bytes((lab / "videos/m1/day 1.mp4").read_bytes())
    run("--write")
    assert len(datasets.read(lab / "dataset").videos) == 2
    assert "the same content as" in capsys.readouterr().out


def test_a_class_that_never_happens_is_told(lab: Path, capsys: Capture) -> None:
    (lab / "scores.csv").write_text(f"Video,Behaviour,Start,End\nm1/day 1,{GROOM},0.1,0.2\n")
    run()
    assert f"no bout of {TWITCH} anywhere" in capsys.readouterr().out


def test_other_behaviours_than_those_of_the_data_set_are_refused(lab: Path, capsys: Capture) -> None:
    run("--write")
    assert run("--write", "--behaviors", "rearing") == 2
    assert "not rearing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--videos", "nowhere"], "found nothing at nowhere"), (["--guess", "--labels"], "give it with --labels"),
     (["--subject-pattern", "("], "a regular expression expected")],
)  # fmt: skip
def test_wrong_usage_is_one_line(lab: Path, capsys: Capture, arguments: list[str], said: str) -> None:
    assert import_videos.main(["--videos", "videos", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_guessed_mapping_is_never_written_over(lab: Path, capsys: Capture) -> None:
    assert run("--guess", "--mapping", "m.toml") == 0
    (lab / "m.toml").write_text((lab / "m.toml").read_text() + "# mine\n")
    assert run("--guess", "--mapping", "m.toml") == 2
    assert (lab / "m.toml").read_text().endswith("# mine\n")
    assert run("--mapping", "m.toml", "--write") == 0


# Times to frames


def row(start: float, end: float | None, behavior: str = GROOM, **more: bool) -> LabelRow:
    return LabelRow("v", behavior, start, end, 1, "", f"t!{start}", **more)


def frames_of(info: video.VideoInfo, *rows: LabelRow) -> list[tuple[int, int]]:
    labels, _, _ = to_labels(rows, info, import_videos.BEHAVIORS)
    return [(one.frames.start_frame, one.frames.end_frame) for one in labels]


def test_a_time_is_the_frame_shown_then_also_at_variable_frame_rate(tmp_path: Path) -> None:
    ticks = [40 * n + (1000 if n >= 12 else 0) for n in range(40)]
    info = video.probe(write_video(tmp_path / "a.mkv", ticks=ticks, time_base=Fraction(1, 1000)))
    assert frames_of(info, row(0.08, 0.2), row(0.9, 1.52), row(1.49, None)) == [(2, 5), (11, 13), (12, 13)]


def test_every_label_is_a_frame_long_and_none_leaves_the_video(tmp_path: Path) -> None:
    info = video.probe(write_video(tmp_path / "a.mp4", num_frames=30))
    rows = (row(0.5, 0.5), row(0.95, 1.0), row(0.9, 7), row(7, 8), row(-1, 2))
    labels, _, problems = to_labels(rows, info, import_videos.BEHAVIORS)
    assert [(one.frames.start_frame, one.frames.end_frame) for one in labels] == [(15, 16), (28, 30), (27, 30)]
    assert [problem.is_dropped for problem in problems] == [False, True, True, False]


def test_repeats_are_dropped_and_overlaps_told(tmp_path: Path) -> None:
    info = video.probe(write_video(tmp_path / "a.mp4", num_frames=30))
    labels, _, problems = to_labels((row(0.1, 0.5), row(0.1, 0.5), row(0.4, 0.6)), info, import_videos.BEHAVIORS)
    assert len(labels) == 2
    assert [problem.text.split(": ")[1][:8] for problem in problems] == ["the same", "overlaps"]


def test_the_time_that_was_looked_at_is_no_bout(tmp_path: Path) -> None:
    info = video.probe(write_video(tmp_path / "a.mp4", num_frames=30))
    _, scored, _ = to_labels((row(0.1, 0.5, "Start/End", is_scored=True),), info, import_videos.BEHAVIORS)
    assert scored == [FrameRange(3, 15)]


# Other formats, both ways


def test_a_supervisely_project_comes_in_with_its_tags_and_repeats(lab: Path) -> None:
    run("--write")
    path = lab / "dataset/videos/datasets/m1/ann/day 1.mp4.json"
    document = json.loads(path.read_text())
    document["tags"] = [
        {"name": GROOM, "frameRange": [5, 9], "value": 3},
        {"name": "confidence", "frameRange": [5, 9], "value": 0.5},
    ]
    path.write_text(json.dumps(document))
    (lab / "dataset/dataset.json").rename(lab / "away.json")
    assert import_videos.main(["--videos", "dataset", "--dataset", "second", "--name", "in", "--write"]) == 0
    second = datasets.read(lab / "second")
    (label,) = datasets.read_labels(second, next(e for e in second.videos if "m1" in e.path))
    assert (label.frames, label.count) == (FrameRange(5, 10), 3)


@pytest.mark.parametrize(("format_name", "file"), [("csv", "out.csv"), ("xlsx", "out.xlsx"), ("boris", "out.boris")])
def test_labels_that_went_out_come_back_the_same(lab: Path, format_name: str, file: str) -> None:
    run("--write")
    before = labels_of(lab / "dataset")
    assert export_labels.main(["--dataset", "dataset", "--format", format_name, "--out", file]) == 0
    again = ["--videos", "dataset/videos/datasets", "--labels", file, "--dataset", "again", "--write"]
    assert import_videos.main(again) == 0
    after = labels_of(lab / "again")
    assert sorted(after.values()) == sorted(before.values())


def test_a_project_of_boris_pairs_events_and_names_those_without_a_partner(tmp_path: Path) -> None:
    document = boris.project_document([], {GROOM: False, TWITCH: True}, {})
    events = [
        [1.0, "m", GROOM, "", "", 30], [1.5, "m", TWITCH, "", "", 45], [2.0, "m", GROOM, "", "", 60],
        [3.0, "", GROOM, "", "", 90],
    ]  # fmt: skip
    document["observations"]["o"] = {"type": "MEDIA", "file": {"1": ["m.mp4"]}, "time offset": 0, "events": events}
    (tmp_path / "p.boris").write_text(json.dumps(document))
    (found,) = boris.read_project(tmp_path / "p.boris")
    assert [(e.behavior, e.start_s, e.end_s) for e in found.events] == [(GROOM, 1.0, 2.0), (TWITCH, 1.5, None)]
    assert found.problems == (f"p.boris!o!event 4: {GROOM} starts and never ends",)


def test_the_workbook_opens_with_a_row_per_label(lab: Path) -> None:
    run("--write")
    export_labels.main(["--dataset", "dataset", "--format", "xlsx", "--out", "out.xlsx"])
    sheet = openpyxl.load_workbook(lab / "out.xlsx").worksheets[0]
    assert [cell.value for cell in sheet[1]][:4] == ["video", "behavior", "start_frame", "end_frame"]
    assert sheet.max_row == 4


def test_the_annotations_go_out_with_the_animals_boxes(lab: Path) -> None:
    run("--write")
    dataset: Dataset = datasets.read(lab / "dataset")
    entry = dataset.videos[0]
    datasets.write_stored_boxes(dataset, entry, (FrameBox(3, (1.0, 2.0, 30.0, 40.0), 0.9, "detected"),), [0.1] * 40)
    assert export_labels.main(["--dataset", "dataset", "--format", "supervisely", "--out", "out"]) == 0
    document = json.loads((lab / "out" / datasets.sibling(entry.path, "ann", ".json")).read_text())
    assert document["frames"][0]["index"] == 3
    assert document["tags"][0]["frameRange"] == [6, 17]
