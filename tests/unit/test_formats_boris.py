"""BORIS projects and tables: what was scored there is what we read, and what we write is read back."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.errors import RecordError
from mousetal.formats import boris
from mousetal.formats.boris import BorisBout, Observation
from mousetal.formats.startstop import POINT, START, STOP, Event, pair


def project(events: list[list[Any]], files: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    files = ["C:\\videos\\m1.mp4"] if files is None else files
    observation = {
        "date": "2024-05-01T10:00:00", "description": "", "type": "MEDIA", "file": {"1": files, "2": ["side.mp4"]},
        "time offset": 0.0, "events": events, "independent_variables": {"Observer": "ann", "group": "drug"},
        "media_info": {"length": dict.fromkeys(files, 100.0), "fps": {}},
    } | changes  # fmt: skip
    kinds = {"grooming": "State event", "twitch": "Point event"}
    behaviors = {str(n): {"code": code, "type": kind} for n, (code, kind) in enumerate(kinds.items())}
    return {"project_format_version": "7.0", "behaviors_conf": behaviors, "observations": {"obs 1": observation}}


def read(folder: Path, document: object) -> boris.Project:
    (folder / "p.boris").write_text(json.dumps(document))
    return boris.read_project(folder / "p.boris")


def test_states_are_paired_by_order_and_points_have_no_end(tmp_path: Path) -> None:
    events = [
        [1.5, "No focal subject", "grooming", "", "", 45],
        [2.0, "m1", "twitch", "3", "", "NA"],
        [4.0, "No focal subject", "grooming", "", ""],
    ]
    found = read(tmp_path, project(events))
    assert found.bouts == (
        BorisBout("C:\\videos\\m1.mp4", "grooming", 1.5, 4.0, 1, "", "ann", "p.boris!obs 1!event 1,3"),
        BorisBout("C:\\videos\\m1.mp4", "twitch", 2.0, None, 3, "m1", "ann", "p.boris!obs 1!event 2"),
    )
    assert found.behaviors == ("grooming", "twitch")
    assert found.variables["C:\\videos\\m1.mp4"]["group"] == "drug"


def test_a_state_that_never_stops_is_reported_and_the_rest_kept(tmp_path: Path) -> None:
    events = [[1, "", "grooming", "", ""], [2, "", "grooming", "", ""], [9, "", "grooming", "", ""]]
    found = read(tmp_path, project(events))
    assert [(bout.start_s, bout.end_s) for bout in found.bouts] == [(1.0, 2.0)]
    assert found.troubles == (("p.boris!obs 1!event 3", "START without a STOP"),)


def test_events_of_videos_played_one_after_another_go_to_their_own_file(tmp_path: Path) -> None:
    events = [
        [99.0, "", "grooming", "", ""], [103.0, "", "grooming", "", ""],
        [150.0, "", "twitch", "", ""], [100.0, "", "twitch", "", ""],
    ]  # fmt: skip
    found = read(tmp_path, project(events, ["a.mp4", "b.mp4"]))
    assert {(bout.media, bout.behavior, bout.start_s, bout.end_s) for bout in found.bouts} == {
        ("a.mp4", "grooming", 99.0, 100.0),
        ("b.mp4", "grooming", 0.0, 3.0),
        ("b.mp4", "twitch", 50.0, None),
        ("b.mp4", "twitch", 0.0, None),
    }


def test_an_observation_whose_files_have_no_lengths_costs_only_itself(tmp_path: Path) -> None:
    document = project([[1.0, "", "twitch", "", ""]], ["a.mp4"])
    document["observations"]["obs 2"] = project([], ["b.mp4", "c.mp4"], media_info={})["observations"]["obs 1"]
    found = read(tmp_path, document)
    assert found.left_out == (("p.boris!obs 2", "plays several files, and the length of b.mp4 is not known"),)
    assert found.media == ("a.mp4",), "nobody is known to have looked at the others"
    assert len(found.bouts) == 1


def test_live_observations_are_noted(tmp_path: Path) -> None:
    assert "no video" in read(tmp_path, project([], type="LIVE")).notes[0][1]


def test_a_time_offset_is_taken_off_and_told(tmp_path: Path) -> None:
    events = [[64.5, "", "grooming", "", ""], [70.0, "", "grooming", "", ""], [3.0, "", "twitch", "", ""]]
    found = read(tmp_path, project(events, **{"time offset": 60.0}))
    assert [(bout.behavior, bout.start_s, bout.end_s) for bout in found.bouts] == [("grooming", 4.5, 10.0)]
    assert found.notes[0][1].startswith("60 s are taken off its times")
    assert [origin for origin, why in found.troubles if "nothing is played yet" in why] == ["p.boris!obs 1!event 3"]


def test_times_that_count_from_when_a_file_was_made(tmp_path: Path) -> None:
    made = {"length": {"a.mp4": 100.0}, "media_creation_time": {"a.mp4": 1_700_000_000.0}}
    since = {"media_creation_date_as_offset": True, "time offset": 2.0}
    twitch = [[1_700_000_014.5, "", "twitch", "", ""]]
    found = read(tmp_path, project(twitch, ["a.mp4"], media_info=made, **since))
    assert [bout.start_s for bout in found.bouts] == [12.5]
    unknown = read(tmp_path, project(twitch, ["a.mp4"], media_info={}, **since))
    assert unknown.left_out == (
        ("p.boris!obs 1", "its times count from when its files were made, and when a.mp4 was is not known"),
    )
    several = read(tmp_path, project(twitch, ["a.mp4", "b.mp4"], media_info=made, **since))
    assert several.left_out[0][1].endswith("and there are several of them")
    assert several.bouts == ()


@pytest.mark.parametrize("document", [[], {}, {"observations": {}}, project([["x", "", "grooming", "", ""]])])
def test_a_file_that_is_no_project_is_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(RecordError, match=r"p\.boris: expected a BORIS project"):
        read(tmp_path, document)


@st.composite
def bouts(draw: st.DrawFn) -> tuple[BorisBout, ...]:
    """Bouts of a state that do not overlap, and points."""
    times = sorted(draw(st.lists(st.integers(0, 90_000), unique=True, max_size=8)))
    states = [
        BorisBout("m1.mp4", "grooming", a / 1000, b / 1000, draw(st.integers(1, 4)), "m1", "ann")
        for a, b in zip(times[::2], times[1::2], strict=False)
    ]
    points = [BorisBout("m1.mp4", "twitch", n / 1000, None, draw(st.integers(1, 4)), "m1", "ann") for n in times[:3]]
    return tuple(states + points)


@given(bouts())
def test_what_is_written_as_a_project_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: tuple[BorisBout, ...]
) -> None:
    observation = Observation("m1 ann", "m1.mp4", 100.0, 30.0, written, "ann", {"group": "drug"})
    document = boris.project_document("p", [observation], ["grooming", "twitch"])
    found = read(tmp_path_factory.mktemp("boris"), document)

    def facts(bout: BorisBout) -> tuple[Any, ...]:
        return (bout.behavior, bout.start_s, bout.end_s, bout.count, bout.subject, bout.rater)

    assert sorted(map(facts, found.bouts), key=str) == sorted(map(facts, written), key=str)
    assert not found.troubles
    assert found.media == ("m1.mp4",)
    assert found.variables["m1.mp4"] == {"group": "drug", "rater": "ann"}


TABULAR = ("Observation id,Observation date,Description,Observation duration,Observation type,Source,Time offset (s),"
           "Media duration (s),FPS,rater,Subject,Behavior,Behavioral category,Modifier #1,Behavior type,Time,"
           "Media file name,Image index,Image file path,Comment")  # fmt: skip
LEGACY = "Time,Media file path,Total length,FPS,Subject,Behavior,Behavioral category,Comment,Status"


def test_the_header_of_every_kind_of_table_is_found() -> None:
    number, columns = boris.find_header([TABULAR.split(",")]) or (-1, {})
    assert number == 0
    assert (columns["event"], columns["time"], columns["video"]) == ("Behavior type", "Time", "Media file name")
    preamble = [["Observation id", "x"], ["Media file(s)", ""], *([[""]] * 15)]
    number, columns = boris.find_header([*preamble, LEGACY.split(",")]) or (-1, {})
    assert number == 17
    assert (columns["event"], columns["video"]) == ("Status", "Media file path")
    number, columns = boris.find_header([list(boris.AGGREGATED_COLUMNS)]) or (-1, {})
    assert (columns["start"], columns["end"]) == ("Start (s)", "Stop (s)")
    assert boris.find_header([["video", "behavior", "start", "end"]]) is None


Moments = list[tuple[str, float]]


@given(st.lists(st.tuples(st.sampled_from([START, STOP, POINT]), st.integers(0, 50)), max_size=12))
def test_every_event_is_paired_once_or_left_over_once(moments: Moments) -> None:
    events = [Event(("m1",), kind, time, number) for number, (kind, time) in enumerate(moments)]
    found = pair(events)
    used = [event.source for one in found.pairs for event in one if event] + [event.source for event, _ in found.alone]
    assert sorted(used) == list(range(len(events)))
    assert all(stop is None or start.time <= stop.time for start, stop in found.pairs)
    states = sorted((start.time, stop.time) for start, stop in found.pairs if stop)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(states))


def test_a_stop_and_a_start_at_one_moment_may_stand_in_either_order() -> None:
    rows = [(START, 0.0), (START, 5.0), (STOP, 5.0), (STOP, 9.0)]
    found = pair([Event(("m1",), kind, time, number) for number, (kind, time) in enumerate(rows)])
    assert [(start.time, stop.time if stop else None) for start, stop in found.pairs] == [(0.0, 5.0), (5.0, 9.0)]
    assert not found.alone


def test_events_of_two_animals_are_never_paired_with_each_other() -> None:
    found = pair([Event(("m1",), START, 0.0, 0), Event(("m2",), STOP, 1.0, 1)])
    assert not found.pairs
    assert {why for _, why in found.alone} == {"START without a STOP", "STOP without a START"}
