"""People beside each other: tables of bouts as labs have them, and the three raters of a real label set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mousetal.errors import RecordError
from tests.fixtures.comparisons import GROOMING
from training import evaluate
from training.evaluation import bootstrap, ratertable

TABLE = """video,rater,behavior,start_s,end_s
a,ann,Self-Grooming,1.0,3.0
a,bob,Self-Grooming,1.2,3.0
a,ann,Self-Grooming,6,7
b,ann,Self-Grooming,2.0,4.0
b,bob,Self-Grooming,2.0,4.0
c,ann,Self-Grooming,0.5,1.0
"""


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text, "utf-8")
    return path


def test_only_videos_that_both_labelled_are_compared(tmp_path: Path) -> None:
    table = ratertable.read(written(tmp_path, TABLE))
    assert (table.raters, table.behaviors) == (("ann", "bob"), (GROOMING,))
    pairs = ratertable.compare(table, "ann", "bob", [GROOMING])
    assert [one.video for one in pairs] == ["a", "b"]
    assert [len(one.truth[GROOMING]) for one in pairs] == [2, 1]


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_separators_and_headings_that_labs_use_are_known(tmp_path: Path, sign: str) -> None:
    text = "ID,Experimenter,type,from,to\na,ann,Grooming,1.5,3\na,bob,Grooming,1.5,3\n".replace(",", sign)
    table = ratertable.read(written(tmp_path, "\ufeff" + text))
    assert table.behaviors == ("Grooming",)
    assert ratertable.alpha(table, "Grooming") == 1


def test_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    bad = TABLE + "a,ann,Self-Grooming,NA,3\na,ann,Self-Grooming,5,4\na,,Self-Grooming,5,6\na,ann\n"
    table = ratertable.read(written(tmp_path, bad))
    assert [row.split(":")[0] for row in table.unusable] == ["row 8", "row 9", "row 10", "row 11"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no column for video"), ("video,rater,behavior,start_s\n", "no column for end_s"), (TABLE[:36], "no row")],
)
def test_what_is_no_table_of_bouts_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        ratertable.read(written(tmp_path, text))


def test_one_rater_alone_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, TABLE.replace("bob", "ann"))
    assert evaluate.main(["--raters", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "two people at least" in capsys.readouterr().err
    assert evaluate.main(["--raters", str(path)]) == 2
    assert evaluate.main(["--raters", str(path), "--out", str(tmp_path), "--behavior", "Sleep"]) == 2


def test_three_real_raters_agree_on_rearing_and_less_on_grooming(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/real/copyleft/dlcanalyzer_oft_labels/AllLabDataOFT_part.csv"
    told = ["--raters", str(path), "--out", str(tmp_path), "--behavior", "Grooming", "--behavior", "Supported"]
    assert evaluate.main(told) == 0
    pairs = json.loads((tmp_path / evaluate.JSON_NAME).read_text())["raters"]["humans"]
    assert set(pairs) == {"Furkan · Jin", "Furkan · Oliver", "Jin · Oliver"}
    for by_name in pairs.values():
        grooming, rearing = (by_name[name]["frames"]["f1"]["value"] for name in ("Grooming", "Supported"))
        assert 0.6 < grooming < 0.75 < 0.85 < rearing < 0.95
        assert by_name["Grooming"]["support"]["videos"] == 14
