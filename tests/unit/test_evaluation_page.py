"""The page: mistakes worth looking at, figures inside their frames, sentences that say what the numbers say."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal import filmstrip, video
from mousetal.types import BoutRule, FrameRange, Label
from tests.fixtures.comparisons import BEHAVIORS, GROOMING, TWITCH, comparison, comparisons
from tests.fixtures.results import CLASSIFIER, video_result
from tests.fixtures.videos import write_video
from training.evaluation import behavior, bootstrap, document, mistakes, page, plots
from training.evaluation.comparison import Comparison, Found, of_result
from training.evaluation.document import Evaluated

FACTS = {"title": "a model on <data>", "lead": "& what it finds"}


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)


def rendered(*videos: Comparison) -> str:
    built = document.build(Evaluated(videos, "idle", FACTS))
    return page.render(built, videos, {}, mistakes.worst(videos))


def test_what_nobody_saw_and_nobody_found_is_na_everywhere() -> None:
    text = rendered(comparison({}, {}))
    assert "NA" in text
    assert "nan" not in text.lower().replace("rowspan", "").replace("colspan", "")
    assert "never occurs in these videos" in text


def test_intervals_of_bias_and_concordance_are_printed() -> None:
    truth = [{TWITCH: [(20 * k, 20 * k + 4) for k in range(n)]} for n in (2, 4, 5)]
    found = [{TWITCH: [(20 * k, 20 * k + 4) for k in range(n)]} for n in (2, 3, 7)]
    videos = [replace(comparison(a, b), subject=f"m{n}") for n, (a, b) in enumerate(zip(truth, found, strict=True))]
    text = rendered(*videos)
    count = behavior.numbers(videos, TWITCH)["agreement"]["count"]
    assert f"{count['bias']:+.2f}{plots.between(count['bias_interval'], 2, '+')}" in text
    assert f"{count['ccc']:.2f}{plots.between(count['ccc_interval'])} ·" in text
    assert plots.between(count["bias_interval"], 2, "+").startswith(" (-")
    assert plots.between(None) == ""


def test_how_it_was_made_tells_bout_rules_in_words() -> None:
    video = comparison({}, {})
    rules = {TWITCH: asdict(BoutRule(0.55, 0.385, 0.42, 0.6)), "Rear <up>": asdict(BoutRule())}
    built = document.build(Evaluated([video], "idle", {**FACTS, "split": "test", "bout_rules": rules}))
    text = page.render(built, [video], {}, [])
    assert (
        f"<code>{TWITCH}: starts at 0.55, ends below 0.385, at least 0.42 s, gaps up to 0.6 s bridged</code><br>"
        "<code>Rear &lt;up&gt;: starts at 0.5, ends below 0.5, of any length, no gaps bridged</code></td>"
    ) in text
    assert "<code>test</code>" in text
    assert "min_duration_s" not in text


def test_names_are_escaped() -> None:
    text = rendered(replace(comparison({GROOMING: [(0, 9)]}, {}), video="<b>.mp4"))
    assert "&lt;b&gt;.mp4" in text
    assert "<data>" not in text


@settings(deadline=None, max_examples=15)
@given(comparisons())
def test_any_findings_make_a_page(one: Comparison) -> None:
    assert "</html>" in rendered(one)


def test_sentences_say_what_the_numbers_say() -> None:
    truth = {TWITCH: [(20, 24), (60, 64), (100, 104), (140, 144)]}
    numbers: dict[str, Any] = behavior.numbers([comparison(truth, {TWITCH: [(22, 26), (62, 66), (10, 12)]})], TWITCH)
    texts = page.plain(numbers)
    assert texts[0].startswith("Of 100 bouts that the person saw, 50 are found")
    assert texts[1].startswith("Of 100 bouts that are reported, 67 are true: 360.0 false ones per hour")
    assert texts[2].startswith("Bouts typically begin 0.10 s too late")
    assert texts[3].startswith("Per video it counts 1.0 bouts fewer than the person")


def test_little_to_judge_by_is_said() -> None:
    built = document.build(Evaluated([comparison({GROOMING: [(0, 9)]}, {})], "idle", FACTS, skipped={"b.mp4": "gone"}))
    text = " ".join(built["warnings"])
    assert "Only 1 animal:" in text
    assert f"{GROOMING} occurs only once" in text
    assert "1 of the videos could not be evaluated" in text


def test_silence_of_the_model_is_said() -> None:
    result = video_result(seconds=20, lost_s=(5, 15))
    built = document.build(Evaluated([of_result(result, (), CLASSIFIER.classes[1:])], "idle", FACTS))
    assert any("the model said nothing on" in text for text in built["warnings"])


def test_the_most_surprising_mistakes_come_first_and_say_what_was_taken_for_what() -> None:
    one = comparison({GROOMING: [(0, 40), (100, 140)]}, {GROOMING: [(0, 40), (60, 70), (80, 90)], TWITCH: [(110, 120)]})
    posterior = np.full(200, 0.05, np.float32)
    posterior[100:140] = 0.3
    one = replace(one, posteriors={GROOMING: posterior, TWITCH: posterior})
    found = mistakes.worst([one])
    told = [(m.behavior, m.kind, m.frames.start_frame, m.instead) for m in found]
    assert told == [
        (GROOMING, "false", 60, ""), (GROOMING, "false", 80, ""), (GROOMING, "missed", 100, TWITCH),
        (TWITCH, "false", 110, GROOMING),
    ]  # fmt: skip
    assert found[2].surprise == pytest.approx(0.7)
    assert len(mistakes.worst([one], most=1)) == 3


def test_a_missed_bout_that_the_model_saw_says_what_became_of_it() -> None:
    one = of_result(video_result("a.mp4", seconds=8, is_quiet=True), (), CLASSIFIER.classes[1:])
    grooming = CLASSIFIER.classes[1]
    shortest = CLASSIFIER.rules[1].min_duration_s
    sure = np.zeros(one.num_frames, np.float32)
    sure[10:12] = 1
    bouts = (FrameRange(10, 12), FrameRange(50, 60), FrameRange(100, 105), FrameRange(108, 110))
    one = replace(one, truth={grooming: bouts}, found={grooming: (Found(FrameRange(100, 112), 0.9),)},
                  posteriors={grooming: sure})  # fmt: skip
    why = {m.frames.start_frame: m.why for m in mistakes.of_video(one, grooming) if m.kind == mistakes.MISSED}
    assert f"less than the {shortest:g} s" in why[10]
    assert why[50] == ""
    assert "one bout found for several: 3.33 to 3.73 s" in why[108]
    assert "sure enough" in rendered(one)


def test_classes_that_only_the_model_or_only_people_know_are_named_and_not_scored() -> None:
    result = video_result("a.mp4", seconds=60, seed=1)
    grooming, twitch = CLASSIFIER.classes[1:]
    truth = [Label("rearing", FrameRange(0, 300)), Label(grooming, FrameRange(400, 460))]
    one = of_result(result, truth, (grooming, "rearing"))
    built = document.build(Evaluated([one], "idle", FACTS))
    assert any(text.startswith("rearing is no class of the model") for text in built["warnings"])
    ignored = sum(bout.behavior == twitch for bout in result.bouts)
    assert f"Nobody looked for {twitch} in these videos: the {ignored} bouts" in " ".join(built["warnings"])
    rearing = built["behaviors"]["rearing"]
    assert rearing["frames"]["recall"]["value"] == 0  # missed, for whoever counts
    assert not {"average_precision", "calibration", "curve"} & set(rearing)  # but the model gave no probability
    assert built["overall"]["frame_map"] == built["behaviors"][grooming]["average_precision"]["value"]
    rendered(one)


def test_the_model_stands_beside_people_in_a_sentence_where_there_are_two() -> None:
    right, half, wrong = ({GROOMING: spans} for spans in ([(0, 9), (50, 59)], [(0, 9)], [(150, 159)]))
    evaluated = Evaluated(
        [comparison(right, half)], "idle", FACTS, humans={"a · b": [comparison(right, right)]},
        model_raters={"a": [comparison(right, half)], "b": [comparison(right, wrong)]},
    )  # fmt: skip
    raters = document.build(evaluated)["raters"]
    (text,) = page.beside(raters, GROOMING)
    assert "two people who looked at the same videos agree at 1.00, the model with each of them at 0.00 to 0.67" in text
    assert page.beside(raters, TWITCH) == []  # nobody saw any
    assert page.beside({"humans": {}, "model": {}}, GROOMING) == []


def test_ranges_and_absolute_errors_stand_beside_correlations() -> None:
    found = [{TWITCH: [(20 * k, 20 * k + 4) for k in range(n)]} for n in (2, 3, 7, 0)]
    truth = [{TWITCH: [(20 * k, 20 * k + 4) for k in range(n)]} for n in (2, 4, 5, 1)]
    text = rendered(*(comparison(a, b) for a, b in zip(truth, found, strict=True)))
    assert "3.00 (1.00 to 5.00), 3.00 (0.00 to 7.00)" in text
    assert "<td>1.00</td>" in text  # of |0|, |-1|, |2|, |-1|
    assert "in 1 only one saw any" in text
    assert page.signed(-0.001) == "+0.00"


def test_pictures_are_made_of_the_video_and_missing_videos_have_none(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=60)
    info = video.probe(path)
    result = replace(video_result("a.mp4", seconds=2), info=info)
    one = of_result(replace(result, bouts=()), [Label(GROOMING, FrameRange(10, 30))], BEHAVIORS)
    worst = mistakes.worst([one])
    strips = mistakes.pictures(worst, [one], {"a.mp4": path})
    assert [strips[m].split(",")[0] for m in worst] == ["data:image/jpeg;base64"]
    assert mistakes.pictures(worst, [one], {"a.mp4": tmp_path / "gone.mp4"}) == {}
    assert mistakes.pictures(worst, [one], {}) == {}


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_round_values_are_few_and_inside(low: float, width: float) -> None:
    values = plots.round_values(low, low + width)
    assert len(values) <= 12
    slack = 1e-6 * max(1.0, abs(low), width)
    assert all(low - slack <= value <= low + width + slack for value in values)


@settings(deadline=None, max_examples=15)
@given(comparisons(), comparisons())
def test_everything_is_drawn_inside_the_figure(a: Comparison, b: Comparison) -> None:
    videos = [a, replace(b, video="b.mp4", subject="m2")]
    numbers = {name: behavior.numbers(videos, name) for name in BEHAVIORS}
    colors = dict.fromkeys(BEHAVIORS, "#000000")
    drawn = page.drawn([
        plots.onsets(numbers, colors),
        *(plots.bland_altman(name, m, numbers[name]["agreement"][m], "#000000")
          for name in BEHAVIORS for m in ("count", "duration_s")),
    ])  # fmt: skip
    for figure in drawn:
        points = [point.split(",") for line in figure.lines for point in line.points.split()]
        places = [(float(x), float(y)) for x, y in points] + [(dot.x, dot.y) for dot in figure.dots]
        assert all(0 <= x <= plots.WIDTH and 0 <= y <= plots.HEIGHT for x, y in places)


def test_a_strip_leaves_the_place_of_a_lost_frame_grey() -> None:
    views = filmstrip.views(np.full((48, 64, 3), 90, np.uint8), (0, 0, 40, 40))
    strip = filmstrip.strip((1, 2, 3), {1: views, 3: views})
    end = strip.shape[1] - filmstrip.HEIGHT - filmstrip.SEPARATOR
    assert (strip[:, end - filmstrip.HEIGHT : end] == 200).all()
    assert (strip[:, -filmstrip.HEIGHT :] == 90).all()
