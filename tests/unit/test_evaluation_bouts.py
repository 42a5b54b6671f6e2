"""Scores over bouts, each beside a plain second implementation of its published definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mousetal.types import FrameRange, Label
from tests.fixtures.comparisons import BEHAVIORS, FPS, GROOMING, TWITCH, comparison, comparisons, spans
from training.evaluation import behavior, detection, events, segments
from training.evaluation.comparison import Comparison, Found, of_labels, swapped

# --- segments: MS-TCN


def naive_f1(truth: list[tuple[int, int]], found: list[tuple[int, int]], least: float) -> tuple[int, int, int]:
    hits, used = 0, [0] * len(truth)
    for start, end in found:
        ious = [max(0, min(end, b) - max(start, a)) / (max(end, b) - min(start, a)) for a, b in truth]
        best = int(np.argmax(ious)) if ious else -1
        if best >= 0 and ious[best] >= least and not used[best]:
            hits, used[best] = hits + 1, 1
    return hits, len(found) - hits, len(truth) - sum(used)


@settings(deadline=None)
@given(spans(), spans(), st.sampled_from(segments.OVERLAPS))
def test_f1_of_segments_is_as_published(
    truth: list[tuple[int, int]], found: list[tuple[int, int]], least: float
) -> None:
    ours = segments.f1_counts([FrameRange(*s) for s in truth], [FrameRange(*s) for s in found], least)
    assert (ours.hits, ours.false, ours.missed) == naive_f1(truth, found, least)


def test_the_edit_score_sees_over_segmentation_and_not_times() -> None:
    truth = {GROOMING: [(0, 50), (100, 150)], TWITCH: [(60, 65)]}
    assert segments.edit_score(comparison(truth, {GROOMING: [(20, 60), (110, 130)], TWITCH: [(70, 71)]})) == 100
    split = {GROOMING: [(0, 10), (20, 30), (40, 50), (100, 150)], TWITCH: [(60, 65)]}
    assert segments.edit_score(comparison(truth, split)) == pytest.approx(60)
    assert segments.edit_score(comparison(truth, {})) == 0
    assert segments.edit_score(comparison({}, {})) is None


@settings(deadline=None)
@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_the_edit_distance_is_a_distance(a: str, b: str, c: str) -> None:
    d = segments.edit_distance
    assert d(list(a), list(a)) == 0
    assert d(list(a), list(b)) == d(list(b), list(a))
    assert d(list(a), list(c)) <= d(list(a), list(b)) + d(list(b), list(c))
    assert abs(len(a) - len(b)) <= d(list(a), list(b)) <= max(len(a), len(b))


def test_bouts_in_pieces_and_bouts_run_together_are_told_apart() -> None:
    one = comparison({GROOMING: [(0, 50), (60, 70), (80, 90)]}, {GROOMING: [(0, 10), (20, 30), (60, 90)]})
    assert segments.split_and_merged(one.truth[GROOMING], one.found_ranges(GROOMING)) == (1, 1)


# --- detection: ActivityNet


def naive_activitynet(videos: list[Comparison], behavior: str, thresholds: np.ndarray) -> np.ndarray:
    """The published scorer's steps: predictions of all videos by score, one lock per threshold and true bout.

    Of true bouts that are overlapped alike it takes the later one, as long as its sort keeps their order (numpy's
    quicksort does on some processors only): here it always does.
    """
    truths = [
        (v, float(t.start_frame), float(t.end_frame)) for v, one in enumerate(videos) for t in one.truth[behavior]
    ]
    found = [
        (f.confidence, v, float(f.frames.start_frame), float(f.frames.end_frame))
        for v, one in enumerate(videos)
        for f in one.found[behavior]
    ]
    found.sort(key=lambda row: -row[0])
    hits = np.zeros((len(thresholds), len(found)))
    locks = np.zeros((len(thresholds), len(truths)), bool)
    for i, (_, video, start, end) in enumerate(found):
        overlaps = []
        for other, a, b in truths:
            shared = max(min(end, b) - max(start, a), 0)
            overlaps.append(shared / ((end - start) + (b - a) - shared) if other == video else -1)
        for t, threshold in enumerate(thresholds):
            for j in np.argsort(overlaps, kind="stable")[::-1]:
                if overlaps[j] < threshold:
                    break
                if not locks[t, j]:
                    hits[t, i], locks[t, j] = 1, True
                    break
    areas = []
    for row in hits:
        true = np.cumsum(row)
        recall = np.hstack([[0], true / len(truths), [1]])
        precision = np.hstack([[0], true / np.arange(1, len(row) + 1), [0]])
        for i in range(len(precision) - 2, -1, -1):
            precision[i] = max(precision[i], precision[i + 1])
        areas.append(sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall))))
    return np.array(areas)


@st.composite
def scored_videos(draw: st.DrawFn) -> list[Comparison]:
    """Up to three videos whose found bouts all differ in confidence, many of them close to true ones."""
    videos = draw(st.lists(comparisons(), min_size=1, max_size=3))
    confidences = iter(draw(st.permutations([round(0.01 * k, 2) for k in range(1, 61)])))
    ready = []
    for one in videos:
        found = {}
        for name in BEHAVIORS:
            near = [
                FrameRange(max(0, t.start_frame + draw(st.integers(-4, 4))), t.end_frame + 5) for t in one.truth[name]
            ]
            both = sorted([*near, *one.found_ranges(name)], key=lambda r: r.start_frame)[:9]
            found[name] = tuple(Found(frames, next(confidences)) for frames in both)
        ready.append(replace(one, found=found))
    return ready


@settings(deadline=None)
@given(scored_videos(), st.sampled_from(sorted(detection.THRESHOLDS)))
def test_mean_average_precision_is_activitynets(videos: list[Comparison], name: str) -> None:
    thresholds = detection.THRESHOLDS[name]
    occurring = [b for b in BEHAVIORS if any(one.truth[b] for one in videos)]
    expected = [naive_activitynet(videos, b, np.array(thresholds)).mean() for b in occurring]
    found = detection.mean_average_precision(videos, thresholds)
    assert found == (pytest.approx(np.mean(expected), abs=1e-6) if occurring else None)


def test_bouts_without_confidences_have_no_order_and_so_no_average_precision() -> None:
    labels = [Label(GROOMING, FrameRange(start, start + 10)) for start in (0, 50, 100)]
    edges = np.arange(201) / 20
    people = of_labels("a.mp4", "m1", edges, BEHAVIORS, labels[:2], labels)
    assert not detection.has_order([people], GROOMING)
    assert detection.mean_average_precision([people], (0.5,)) is None
    told = behavior.numbers([people], GROOMING)["average_precision_at_tiou"]
    assert {one["value"] for one in told.values()} == {None}
    sure = replace(people, found={**people.found, GROOMING: tuple(
        Found(one.frames, confidence) for one, confidence in zip(people.found[GROOMING], (0.5, 0.9, 0.7), strict=True)
    )})  # fmt: skip
    assert detection.mean_average_precision([sure], (0.5,)) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # hit, miss, hit
    assert detection.has_order([replace(people, posteriors={GROOMING: np.ones(200, np.float32)})], GROOMING)
    assert detection.has_order([people], TWITCH)


def test_an_overlap_that_is_met_exactly_is_met() -> None:
    one = comparison({GROOMING: [(0, 10)]}, {GROOMING: [(0, 6)]})
    assert [bool(detection.ranked(one, GROOMING, t).is_hit[0]) for t in (0.6, 0.7)] == [True, False]


# --- events


moments = st.lists(st.integers(0, 60), max_size=7).map(lambda values: [v / 4 for v in sorted(values)])


@settings(deadline=None)
@given(moments, moments, st.sampled_from([0.0, 0.5, 1.0, 2.5]))
def test_onsets_are_matched_as_well_as_can_be(true: list[float], found: list[float], tolerance: float) -> None:
    pairs = events.match_onsets(true, found, tolerance)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(abs(true[i] - found[j]) <= tolerance + 1e-9 for i, j in pairs)
    distances = np.abs(np.subtract.outer(np.array(true), np.array(found))).reshape(len(true), len(found))
    allowed = distances <= tolerance + 1e-9
    cost = np.where(allowed, distances - 1000, 0)
    rows, columns = linear_sum_assignment(cost)
    chosen = allowed[rows, columns]
    assert len(pairs) == chosen.sum()
    ours = sum(abs(true[i] - found[j]) for i, j in pairs)
    assert ours == pytest.approx(distances[rows, columns][chosen].sum(), abs=1e-9)


@settings(deadline=None)
@given(comparisons())
def test_more_tolerance_never_finds_fewer(one: Comparison) -> None:
    for name in BEHAVIORS:
        hits = [events.counts(one, name, tolerance).hits for tolerance in events.TOLERANCES_S]
        assert hits == sorted(hits)


def test_one_frame_and_50_ms_are_the_same_at_20_frames_per_second() -> None:
    late = comparison({TWITCH: [(40, 44)]}, {TWITCH: [(41, 44)]})
    assert [events.counts(late, TWITCH, name).hits for name in ("1 frame", "50 ms")] == [1, 1]
    later = comparison({TWITCH: [(40, 44)]}, {TWITCH: [(42, 44)]})
    assert [events.counts(later, TWITCH, name).hits for name in ("1 frame", "50 ms", "100 ms")] == [0, 0, 1]


def test_late_starts_and_early_ends_have_their_signs() -> None:
    errors = events.errors(comparison({GROOMING: [(20, 80)]}, {GROOMING: [(24, 70)]}), GROOMING)
    assert errors.onsets_s.tolist() == pytest.approx([4 / FPS])
    assert errors.offsets_s.tolist() == pytest.approx([-10 / FPS])


@settings(deadline=None)
@given(comparisons())
def test_changing_the_roles_swaps_precision_and_recall_of_onsets(one: Comparison) -> None:
    for name in BEHAVIORS:
        there, back = events.counts(one, name, "250 ms"), events.counts(swapped(one), name, "250 ms")
        assert (there.precision, there.recall, there.f1) == (back.recall, back.precision, back.f1)
