"""Bout rules chosen on validation videos: the middle of what works, or what was there before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mousetal.intervals import find_bouts
from mousetal.modelconfig import ClipInput, MvdConfig
from mousetal.types import BoutRule, FrameRange, Label, VideoResult
from tests.fixtures.results import CLASSIFIER, video_result
from training.evaluation import tuning, tuningcard
from training.evaluation.comparison import Comparison, of_result

GROOMING, TWITCH = CLASSIFIER.classes[1:]
CONFIG = MvdConfig(CLASSIFIER.classes, 0, {}, ClipInput(16, 1, 64, 4, 0.1, 30.0), CLASSIFIER.rules)


def scene(seed: int, height: float = 0.9, noise: float = 0.02, seconds: float = 60) -> Comparison:
    """A video in which grooming of two seconds every eight is given ``height``, and all else 0.1 or so."""
    result = video_result(f"{seed}.mp4", seconds=seconds, is_quiet=True)
    rng = np.random.default_rng(seed)
    truth = [Label(GROOMING, FrameRange(start, start + 60)) for start in range(30, result.info.num_frames - 60, 240)]
    grooming = np.full(result.info.num_frames, 0.1)
    for label in truth:
        grooming[label.frames.start_frame : label.frames.end_frame] = height
    grooming = np.clip(grooming + rng.normal(0, noise, len(grooming)), 0, 1)
    posteriors = np.stack([1 - grooming, grooming, np.zeros_like(grooming)], axis=1).astype(np.float32)
    bouts = find_bouts(posteriors, result.classifier, result.info.pts_seconds)
    return of_result(replace(result, posteriors=posteriors, bouts=bouts), truth, (GROOMING, TWITCH), f"m{seed}")


def test_a_threshold_that_is_too_high_is_lowered_to_the_middle_of_what_works() -> None:
    videos = [scene(seed, height=0.4) for seed in range(3)]
    choice = tuning.choose_rule(videos, CLASSIFIER, GROOMING)
    assert (choice.merit_before, choice.reason) == (0, "")
    assert choice.merit > 0.95
    assert 0.15 <= choice.rule.threshold <= 0.35  # between the noise around 0.1 and the bouts at 0.4
    assert choice.equals > 10


def test_what_was_chosen_is_told_in_plain_words_and_units(caplog: pytest.LogCaptureFixture) -> None:
    choice = tuning.Choice(GROOMING, BoutRule(0.55, 0.385, 0.42, 0.6), 75, 0.957, 0.889, 12)
    rule = "starts at 0.55, ends below 0.385, at least 0.42 s, gaps up to 0.6 s bridged"
    assert str(choice) == f"{GROOMING}: {rule} (75 bouts; merit 0.889 -> 0.957)"
    kept = replace(choice, num_bouts=1, reason="kept: too few", rule=BoutRule())
    assert str(kept).endswith("starts at 0.5, ends below 0.5, of any length, no gaps bridged (1 bout; kept: too few)")
    caplog.set_level("INFO")
    tuning.choose_rules([scene(0)], CLASSIFIER)
    assert f"bout rule behavior={GROOMING}: starts at " in caplog.text
    assert "BoutRule" not in caplog.text


def test_a_behaviour_that_hardly_occurs_keeps_its_rule() -> None:
    choice = tuning.choose_rule([scene(0, seconds=20)], CLASSIFIER, GROOMING)
    assert choice.rule == CLASSIFIER.rules[1]
    assert "at least 10" in choice.reason
    nothing = tuning.choose_rule([scene(0)], CLASSIFIER, TWITCH)
    assert nothing.rule == CLASSIFIER.rules[2]
    assert nothing.num_bouts == 0


def test_the_middle_of_a_plateau_is_one_of_its_points() -> None:
    points = np.array([[0.0], [0.1], [0.2], [0.3], [1.0]])
    assert tuning._middle(points) == 2


def test_the_grid_never_drops_the_shorter_bouts_that_people_saw() -> None:
    grid = tuning.candidates([scene(0)], GROOMING)
    assert max(rule.min_duration_s for rule in grid) < 2.0
    assert max(rule.bridge_gap_s for rule in grid) <= tuning.MOST_BRIDGED_S
    assert all(rule.low_threshold <= rule.threshold for rule in grid)
    twitches = of_result(
        video_result(seconds=60), [Label(TWITCH, FrameRange(s, s + 6)) for s in (0, 300, 900)], (TWITCH,)
    )
    assert max(rule.bridge_gap_s for rule in tuning.candidates([twitches], TWITCH)) <= 0.2  # no longer than a twitch


def test_tuning_changes_rules_and_temperature_and_nothing_else() -> None:
    videos = [scene(seed, height=0.4) for seed in range(3)]
    config, chosen = tuning.tune(videos, CONFIG, CLASSIFIER)
    assert config.bouts[2] == CLASSIFIER.rules[2]
    assert config.bouts[1] != CLASSIFIER.rules[1]
    assert replace(config, bouts=CONFIG.bouts, temperature=1.0) == CONFIG
    assert [choice.behavior for choice in chosen.choices] == [GROOMING, TWITCH]
    notes = tuning.provenance(chosen, "ab" * 32, "validation", 3)
    assert notes["rules"][TWITCH]["note"].startswith("kept")


def test_the_temperature_is_told_as_what_it_was_multiplied_by() -> None:
    videos = [scene(seed, height=0.4) for seed in range(3)]
    factors = []
    for before in (1.0, 0.5):
        config, chosen = tuning.tune(videos, replace(CONFIG, temperature=before), CLASSIFIER)
        assert config.temperature == pytest.approx(before * chosen.factor, abs=1e-4)
        assert f"temperature x {chosen.factor:.3f}, log loss" in chosen.temperature_told
        factors.append(chosen.factor)
    assert factors[0] == factors[1] != 1


def test_a_rules_merit_before_is_that_of_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [scene(seed) for seed in range(3)]
    only = [replace(one, truth={GROOMING: one.truth[GROOMING]}) for one in videos]
    monkeypatch.setattr(tuning, "fit_temperature", lambda *_: (8.0, 0.5, 0.4))  # at which nothing reaches the old rule
    _, chosen = tuning.tune(videos, CONFIG, CLASSIFIER)
    assert chosen.choices[0].merit_before == tuning.merit(only, GROOMING, CLASSIFIER) > 0.9
    mended = [tuning.retempered(one, 8.0) for one in only]
    assert tuning.merit(mended, GROOMING, CLASSIFIER) == 0


def test_the_temperature_stays_where_hardly_anything_occurs() -> None:
    few = scene(0, height=0.4, seconds=60)
    few = replace(few, truth={**few.truth, GROOMING: few.truth[GROOMING][:4]})
    assert tuning.fit_temperature([few], CLASSIFIER)[0] != 1
    config, chosen = tuning.tune([few], CONFIG, CLASSIFIER)
    assert (config.temperature, chosen.factor) == (CONFIG.temperature, 1)
    assert "kept: 4 bouts to choose by, at least 10" in chosen.temperature_told
    assert "temperature kept: 4 bouts" in tuningcard.section(chosen, "validation", 1, "ab" * 32)
    assert "kept: 4" in tuning.provenance(chosen, "ab" * 32, "validation", 1)["temperature_note"]


CARD = "# model\n\nA network.\n"


@given(st.text(), st.text(), st.text())
def test_a_card_has_one_section_of_bout_rules_the_newest_and_keeps_all_else(card: str, older: str, newer: str) -> None:
    one, other = (f"{tuningcard.BEGIN}{text}{tuningcard.END}\n" for text in (older, newer))
    once = tuningcard.with_section(card, one)
    assert once.startswith(card.rstrip())
    assert tuningcard.with_section(once, one) == once
    assert tuningcard.with_section(once, other) == tuningcard.with_section(card, other)


def test_a_section_says_what_was_chosen_and_text_after_it_stays() -> None:
    videos = [scene(seed, height=0.4) for seed in range(3)]
    _, chosen = tuning.tune(videos, CONFIG, CLASSIFIER)
    text = tuningcard.section(chosen, "validation", 3, "ab" * 32)
    assert "on 3 videos of the split `validation` (digest abababababab)" in text
    (rule,) = (one.rule for one in chosen.choices if one.behavior == GROOMING)
    assert f"| {GROOMING} | {rule.threshold:g} | {rule.low_threshold:g} |" in text
    card = f"{CARD}\n{text}\nWritten by hand.\n"
    assert tuningcard.with_section(card, text) == card
    assert tuningcard.with_section(card, text.replace("3 videos", "4 videos")) == card.replace("3 videos", "4 videos")


def test_frames_count_towards_the_temperature_only_where_the_truth_is_known() -> None:
    one = scene(0)
    targets = tuning.targets(one, CLASSIFIER)
    assert targets[:30].tolist() == [[1, 0, 0]] * 30
    assert targets[30].tolist() == [0, 1, 0]
    looked = replace(one, truth={GROOMING: one.truth[GROOMING]})  # nobody looked for twitches: idle is not certain
    targets = tuning.targets(looked, CLASSIFIER)
    assert np.isnan(targets[:30]).all()
    assert targets[30].tolist() == [0, 1, 0]
    scored = replace(one, is_scored=np.arange(one.num_frames) >= 40)
    assert np.isnan(tuning.targets(scored, CLASSIFIER)[:40]).all()
    both = replace(one, truth={GROOMING: one.truth[GROOMING], TWITCH: (FrameRange(30, 35),)})
    assert np.isnan(tuning.targets(both, CLASSIFIER)[30:35]).all()
    free = tuning.targets(looked, replace(CLASSIFIER, is_multi_label=True))
    assert free[30, 1] == 1
    assert np.isnan(free[30, 2])


def test_another_temperature_leaves_holes_and_bouts_as_they_are() -> None:
    result: VideoResult = video_result(seconds=60, lost_s=(20, 30))
    one = of_result(result, (), (GROOMING, TWITCH))
    softer = tuning.retempered(one, 2.0)
    assert softer.stored is not None
    assert (np.isnan(softer.stored.posteriors) == np.isnan(result.posteriors)).all()
    assert softer.found == one.found
    assert np.nanmax(softer.stored.posteriors) < np.nanmax(result.posteriors)
    again = tuning.retempered(softer, 0.5)
    assert again.stored is not None
    np.testing.assert_allclose(again.stored.posteriors, result.posteriors, atol=1e-4)


def test_equal_rules_give_equal_merit_whatever_the_order_of_videos() -> None:
    videos = [scene(seed, noise=0.2) for seed in range(2)]
    only = [replace(one, truth={GROOMING: one.truth[GROOMING]}) for one in videos]
    spec = replace(CLASSIFIER, rules=(BoutRule(), BoutRule(0.5, 0.4), BoutRule()))
    assert tuning.merit(only, GROOMING, spec) == pytest.approx(tuning.merit(only[::-1], GROOMING, spec))
