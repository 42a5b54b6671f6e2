"""People beside each other: tables of bouts as labs have them, and the three raters of a real label set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mousetal.errors import RecordError
from mousetal.types import FrameRange
from tests.fixtures.comparisons import GROOMING
from tests.fixtures.tables import write_csv, write_xlsx
from training import evaluate
from training.evaluation import bootstrap, ratertable
from training.importing.mapping import mapping_of

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


MOMENTS = """
layout = "start_stop"
[columns]
video = "Fichier"
behavior = "Comportement"
event = "Événement"
time = "Temps"
rater = "Qui"
subject = "Souris"
[time]
unit = "mm:ss"
decimal = ","
[events]
start = ["début"]
stop = ["fin"]
[behaviors.names]
Self-Grooming = ["toilettage"]
"""


def humans(out: Path) -> Any:
    return json.loads((out / evaluate.JSON_NAME).read_text())["raters"]["humans"]


def test_a_latin_1_table_of_moments_is_compared_by_its_mapping(tmp_path: Path) -> None:
    rows: list[list[object]] = [["Fichier", "Souris", "Qui", "Comportement", "Événement", "Temps"]]
    for who, start, stop in (("Zoé", "0:01,5", "0:03"), ("Ann", "0:01,5", "0:02"), ("Ann", "1:00", "1:02,0")):
        rows += [["m1.mp4", "A7", who, "Toilettage", "Début", start], ["m1.mp4", "A7", who, "Toilettage", "Fin", stop]]
    rows.append(["m1.mp4", "A7", "Ann", "Toilettage", "Fin", "2:00"])
    path = write_csv(tmp_path / "moments.csv", rows, ";", "latin-1")
    (tmp_path / "mapping.toml").write_text(MOMENTS, "utf-8")
    told = ["--raters", str(path), "--mapping", str(tmp_path / "mapping.toml"), "--out", str(tmp_path / "out")]
    assert evaluate.main(told) == 0
    found = humans(tmp_path / "out")
    assert set(found) == {"Ann · Zoé"}
    support = found["Ann · Zoé"][GROOMING]["support"]
    assert (support["bouts"], support["found_bouts"]) == (2, 1)
    assert (support["seconds"], support["found_seconds"]) == (
        pytest.approx(2.48, abs=0.05),
        pytest.approx(1.48, abs=0.05),
    )
    warnings = json.loads((tmp_path / "out" / evaluate.JSON_NAME).read_text())["warnings"]
    assert any("STOP without a START" in text for text in warnings)
    assert any("Latin-1" in text for text in warnings)


def test_a_workbook_is_compared_and_markers_are_dropped_only_where_the_mapping_says_so(tmp_path: Path) -> None:
    rows: list[list[object]] = [["video", "rater", "behavior", "start", "end"]]
    for who in ("ann", "bob"):
        rows += [["m1", who, "Start/End", 2, 2.04], ["m1", who, GROOMING, 1, 3], ["m1", who, "Start/End", 10, 10.04]]
    rows.append(["m1", "ann", GROOMING, 20, 21])
    path = write_xlsx(tmp_path / "scores.xlsx", {"Day 1": rows})
    columns = '[columns]\nvideo = "video"\nrater = "rater"\nbehavior = "behavior"\nstart = "start"\nend = "end"\n'
    (tmp_path / "plain.toml").write_text(columns)
    (tmp_path / "markers.toml").write_text(columns + '[behaviors]\nmarkers = ["Start/End"]\n')
    told = ["--raters", str(path), "--out", str(tmp_path / "out"), "--mapping"]
    assert evaluate.main([*told, str(tmp_path / "plain.toml")]) == 0
    assert set(humans(tmp_path / "out")["ann · bob"]) == {GROOMING, "Start/End"}
    assert evaluate.main([*told, str(tmp_path / "markers.toml")]) == 0
    found = humans(tmp_path / "out")["ann · bob"]
    assert set(found) == {GROOMING}
    assert found[GROOMING]["support"]["bouts"] == 1, "what lies outside the markers was not scored by both"
    assert found[GROOMING]["frames"]["f1"]["value"] == 1


def test_a_table_that_is_not_plain_asks_for_a_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_xlsx(tmp_path / "s.xlsx", {"A": [["what", "when"], ["groom", 1]]})
    assert evaluate.main(["--raters", str(path), "--out", str(tmp_path)]) == 2
    assert "needs a mapping" in capsys.readouterr().err
    assert evaluate.main(["--mapping", str(path), "--out", str(tmp_path)]) == 2
    assert "--mapping says what the columns of --raters" in capsys.readouterr().err


def test_frame_numbers_and_instants_keep_their_frames(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", [["v", "who", "b", "a", "z"], ["m1", "ann", "twitch", 5, ""],
                                          ["m1", "bob", "twitch", 5, 9], ["m1", "", "twitch", 5, 9]])  # fmt: skip
    columns = {"video": "v", "rater": "who", "behavior": "b", "start": "a", "end": "z"}
    mapping = mapping_of({"columns": columns, "time": {"unit": "frame"}, "behaviors": {"points": ["twitch"]},
                          "video": {"aliases": {"m1": "day 1/m1.mp4"}}})  # fmt: skip
    table = ratertable.read_mapped(path, mapping, fps=10)
    spans = {who: labels[0].frames for who, labels in table.labels["day 1/m1.mp4"].items()}
    assert spans == {"ann": FrameRange(5, 6), "bob": FrameRange(5, 9)}
    assert "who scored it is not said" in table.unusable[0]


def test_three_real_raters_agree_on_rearing_and_less_on_grooming(rater_table: Path, tmp_path: Path) -> None:
    told = ["--raters", str(rater_table), "--out", str(tmp_path), "--behavior", "Grooming", "--behavior", "Supported"]
    assert evaluate.main(told) == 0
    pairs = json.loads((tmp_path / evaluate.JSON_NAME).read_text())["raters"]["humans"]
    assert set(pairs) == {"Furkan · Jin", "Furkan · Oliver", "Jin · Oliver"}
    for by_name in pairs.values():
        grooming, rearing = (by_name[name]["frames"]["f1"]["value"] for name in ("Grooming", "Supported"))
        assert 0.6 < grooming < 0.75 < 0.85 < rearing < 0.95
        assert by_name["Grooming"]["support"]["videos"] == 14
