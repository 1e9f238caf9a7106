"""How long frames shall be, from what was lost."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.wire.chunks import Chunks, goodput
from tinyfl.wire.frame import frame_bytes


def seen(chunks: Chunks, error_rate: float, frames: int, seed: int = 1) -> list[int]:
    """What it chooses while each byte is hit with this probability, frame by frame."""
    rng, chosen = random.Random(seed), []
    for _ in range(frames):
        size = frame_bytes(2 + chunks.units * 64)
        (chunks.arrived if rng.random() < (1 - error_rate) ** size else chunks.lost)(size)
        chosen.append(chunks.units)
    return chosen


def test_a_clean_line_has_the_longest_frames() -> None:
    assert set(seen(Chunks(15), 0.0, 1000)) == {15}


@pytest.mark.parametrize(("error_rate", "low", "high"), [(1e-5, 12, 15), (1e-4, 4, 8), (8e-4, 1, 3), (5e-3, 1, 1)])
def test_the_choice_is_near_the_best_for_the_error_rate(error_rate: float, low: int, high: int) -> None:
    chunks = Chunks(15)
    chosen = seen(chunks, error_rate, 2000)[500:]
    assert low <= sum(chosen) / len(chosen) <= high
    best = max(goodput(units, error_rate) for units in range(1, 16))
    assert sum(goodput(units, error_rate) for units in chosen) / len(chosen) > 0.97 * best


@pytest.mark.parametrize("error_rate", [2e-4, 8e-4, 2e-3])
def test_the_error_rate_is_found(error_rate: float) -> None:
    chunks, found = Chunks(15), []
    for seed in range(20):
        seen(chunks, error_rate, 500, seed)
        found.append(chunks.error_rate)
    assert sum(found) / len(found) == pytest.approx(error_rate, rel=0.15)


def test_a_line_that_got_better_is_used_again() -> None:
    chunks = Chunks(15)
    assert seen(chunks, 2e-3, 300)[-1] < 3
    assert seen(chunks, 0.0, 1500)[-1] == 15


def test_one_lost_frame_is_no_bad_line() -> None:
    chunks = Chunks(8)
    chunks.lost(541)
    assert chunks.units >= 3


def test_no_more_than_the_other_side_wishes() -> None:
    chunks = Chunks(15)
    chunks.limit(2)
    assert chunks.units == 2
    chunks.limit(15)
    assert chunks.units == 15


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 70000)), max_size=200), st.integers(1, 15))
def test_whatever_happens_there_is_a_choice(events: list[tuple[bool, int]], most: int) -> None:
    chunks = Chunks(most)
    for came, size in events:
        (chunks.arrived if came else chunks.lost)(size)
        assert 1 <= chunks.units <= most and 0 <= chunks.error_rate <= 1
