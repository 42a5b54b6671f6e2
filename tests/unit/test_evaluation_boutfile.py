"""Bouts of a file, whatever found them, beside people's labels: `training.evaluate --predictions FILE`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mousetal import dataset as datasets
from mousetal import records
from mousetal.dataset import Dataset
from mousetal.formats.csv import interval_rows, intervals_text
from mousetal.types import Bout, FrameRange, Label
from tests.unit.test_evaluation_program import BEHAVIORS, add_video, content, dataset, flags, model
from training import evaluate
from training.evaluation import bootstrap, gather

__all__ = ["dataset", "model"]  # fixtures

GROOMING, TWITCH = BEHAVIORS
MAPPING = """\
layout = "bouts"
header = 1
[columns]
video = "video"
behavior = "what"
start = "from"
end = "to"
confidence = "sure"
[video.aliases]
"first" = "t0.mp4"
[behaviors.names]
"Self-Grooming" = ["groom"]
"Head/Body TWITCH" = ["twitch"]
"""


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)


def evaluated(dataset: Dataset, predictions: Path, out: Path, *more: str) -> int:
    told = ["--dataset", str(dataset.root), "--predictions", str(predictions), "--out", str(out), *more]
    return evaluate.main(told)


def test_the_drivers_table_gives_the_same_numbers_as_its_results(dataset: Dataset, model: Path, tmp_path: Path) -> None:
    assert evaluate.main(flags(dataset, model, tmp_path / "out")) == 0
    results = [records.read_video(tmp_path / "out", entry.path) for entry in dataset.in_split("test")]
    changed = []
    for n, result in enumerate(results):  # some bouts that a twitching model would find
        bouts = (Bout(GROOMING, 4 + n, 20, 0.9 - n / 10, 0.8), Bout(TWITCH, 38, 42, 0.5 + n / 10, 0.5))
        changed.append(replace(result, bouts=bouts))
        records.write_video(tmp_path / "run", changed[-1])
    (tmp_path / "intervals.csv").write_text(
        intervals_text(row for one in changed for row in interval_rows(one)), "utf-8"
    )
    assert evaluated(dataset, tmp_path / "run", tmp_path / "folder") == 0
    assert evaluated(dataset, tmp_path / "intervals.csv", tmp_path / "table") == 0
    folder, table = (content(tmp_path / name) for name in ("folder", "table"))
    assert table["behaviors"][GROOMING]["support"]["found_bouts"] == 3
    for name in BEHAVIORS:
        for key, numbers in table["behaviors"][name].items():
            assert numbers == folder["behaviors"][name][key], key
        assert "calibration" not in table["behaviors"][name]  # which needs probabilities
    assert table["reference"] == folder["reference"]
    assert set(table["raters"]["model"]) == {"ann", "bob"}
    assert table["detector"] is None
    assert "Self-Grooming" in (tmp_path / "table" / evaluate.PAGE_NAME).read_text()


def test_a_table_of_another_program_is_read_by_its_mapping(dataset: Dataset, tmp_path: Path) -> None:
    rows = ["video,what,from,to,sure", "first,groom,0.2,1.0,0.9", "t1,groom,0.24,1.0,0.4", "t1,twitch,1.6,1.76,1.5",
            "t1,dig,0,1,0.5", "t9,groom,0,1,0.5"]  # fmt: skip
    (tmp_path / "bouts.csv").write_text("\n".join(rows))
    (tmp_path / "mapping.toml").write_text(MAPPING)
    assert (
        evaluated(dataset, tmp_path / "bouts.csv", tmp_path / "out", "--mapping", str(tmp_path / "mapping.toml")) == 0
    )
    found = content(tmp_path / "out")
    grooming = found["behaviors"][GROOMING]
    assert grooming["support"]["found_bouts"] == 2
    assert grooming["onsets"]["50 ms"]["hits"] == 2  # 5 and 6 are the true frames, at 25 frames per second
    assert grooming["average_precision_at_tiou"]["0.3:0.1:0.7"]["value"] == pytest.approx(2 / 3)
    said = " ".join(found["warnings"])
    assert "t9 is no video of the data set" in said
    assert "does not name 1 of 3 videos, lab/video/t2.mp4" in said
    assert "'dig' is none of" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1,2\n", "needs a mapping"), (None, "cannot read it")],
)
def test_what_is_no_table_of_bouts_is_refused(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "bouts.csv").write_text(text)
    assert evaluated(dataset, tmp_path / "bouts.csv", tmp_path / "out") != 0
    assert message in capsys.readouterr().err


def test_a_table_that_names_none_of_the_videos_is_refused(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bouts.csv").write_text("video,what,from,to,sure\nx.mp4,groom,0,1,1\n")
    (tmp_path / "mapping.toml").write_text(MAPPING)
    mapped = ("--mapping", str(tmp_path / "mapping.toml"))
    assert evaluated(dataset, tmp_path / "bouts.csv", tmp_path / "out", *mapped) == 1
    assert "no video of the data set is named there (it names x.mp4" in capsys.readouterr().err
    told = ["--predictions", str(tmp_path / "bouts.csv"), "--truth", str(tmp_path)]
    assert evaluate.main(told) == 2
    assert "a table of bouts needs --dataset" in capsys.readouterr().err


def test_videos_that_nobody_looked_at_are_left_out_and_counted(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = add_video(dataset, "new.mp4", "test", "m7")
    (new,) = (entry for entry in wider.videos if entry.path.endswith("new.mp4"))
    wider = wider.with_entry(replace(new, scored=()))
    datasets.write(wider)
    asked: list[str] = []

    def result_of(entry: datasets.VideoEntry) -> records.VideoResult:
        asked.append(entry.path)
        raise records.RecordError("not analysed")

    with pytest.raises(records.RecordError, match="none of 3 videos"):
        gather.of_dataset(wider, "test", result_of, {})
    assert new.path not in asked  # which would take hours and say nothing
    (tmp_path / "bouts.csv").write_text("video,what,from,to,sure\nt0,groom,0,1,1\n")
    (tmp_path / "mapping.toml").write_text(MAPPING)
    assert evaluated(wider, tmp_path / "bouts.csv", tmp_path / "o", "--mapping", str(tmp_path / "mapping.toml")) == 0
    found = content(tmp_path / "o")
    assert found["behaviors"][GROOMING]["agreement"]["count"]["n"] == 3
    assert any("Left out, since nobody has looked" in text for text in found["warnings"])
    nobody = Dataset(tmp_path / "empty", BEHAVIORS)
    nobody = add_video(nobody, "t0.mp4", "test", "m1", [Label(GROOMING, FrameRange(1, 9))])
    datasets.write(nobody.with_entry(replace(nobody.videos[0], scored=())))
    assert evaluated(nobody, tmp_path / "bouts.csv", tmp_path / "p", "--mapping", str(tmp_path / "mapping.toml")) == 1
    assert "nobody has looked at any of the 1 videos" in capsys.readouterr().err
