"""Results that wait for the end of their video: the same as a list of them, in a fraction of the memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal import packed
from mousetal.packed import packed_boxes, packed_results
from mousetal.plan import WindowResult
from mousetal.types import FrameBox, FrameRange
from tests.fixtures.stored import assert_same_windows, detections, score


def result(index: int) -> WindowResult:
    crop_and_flags = {"crop": None, "flags": ("no_animal",)} if index % 5 == 4 else {}
    found = tuple(detections(8 * index + frame, frame % 3) for frame in range(index % 4))
    gaps = (FrameRange(8 * index, 8 * index + 1),) if index % 3 == 0 else ()
    return WindowResult(score(index, **crop_and_flags), found, gaps)  # type: ignore[arg-type]


RESULTS = [result(index) for index in range(20)]


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(-25, 25), st.integers(-25, 25))
def test_it_reads_like_a_list(count: int, start: int, stop: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "CHUNK", 6)
        plain, small = RESULTS[:count], packed_results(RESULTS[:count])
        assert len(small) == count
        assert_same_windows(plain, list(small))
        assert_same_windows(plain[start:stop], small[start:stop])
        if -count <= start < count:
            assert_same_windows([plain[start]], [small[start]])
        else:
            with pytest.raises(IndexError):
                small[start]


def test_an_hour_of_results_takes_a_fifth_of_what_it_takes_as_objects() -> None:
    def memory_of(kind: Callable[[Iterator[WindowResult]], Sequence[WindowResult]]) -> int:
        tracemalloc.start()
        kept = kind(result(index) for index in range(8 * packed.CHUNK))
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept) == 8 * packed.CHUNK
        return used

    memory_of(packed_results)  # what is allocated once
    assert memory_of(packed_results) < 0.2 * memory_of(list)


def test_it_equals_any_sequence_of_the_same_items() -> None:
    boxes = [FrameBox(index, (1.0, 2.0, 3.0, 4.0), 0.5, "detected") for index in range(3)]
    assert packed_boxes(boxes) == tuple(boxes)
    assert packed_boxes(boxes) != tuple(boxes[:2])
    assert packed_boxes([]) == ()
