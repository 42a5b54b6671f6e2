"""Results that wait for the end of their video: the same as a list of them, in a fraction of the memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal import backlog
from mousetal.backlog import Backlog
from mousetal.plan import WindowResult
from mousetal.types import FrameRange
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
        patch.setattr(backlog, "CHUNK", 6)
        plain, packed = RESULTS[:count], Backlog(RESULTS[:count])
        assert len(packed) == count
        assert_same_windows(plain, list(packed))
        assert_same_windows(plain[start:stop], packed[start:stop])
        if -count <= start < count:
            assert_same_windows([plain[start]], [packed[start]])
        else:
            with pytest.raises(IndexError):
                packed[start]


def test_an_hour_of_results_takes_a_fifth_of_what_it_takes_as_objects() -> None:
    def memory_of(kind: type[list[WindowResult]] | type[Backlog]) -> int:
        tracemalloc.start()
        kept = kind(result(index) for index in range(8 * backlog.CHUNK))
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept) == 8 * backlog.CHUNK
        return used

    memory_of(Backlog)  # what is allocated once
    assert memory_of(Backlog) < 0.2 * memory_of(list)
