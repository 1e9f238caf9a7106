"""The head's arithmetic against its definitions in exact and in real numbers."""

import math
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfl.errors import ConfigError
from tinyfl.graph import HeadFormat
from tinyfl.reference import head as h
from tinyfl.reference.fixed import mix


def make(features: int = 6, classes: int = 3, fw: int = 14) -> HeadFormat:
    rng = np.random.default_rng(features)
    initial = rng.integers(-300, 300, (features + 1, classes)).astype(np.int16)
    return HeadFormat(features, classes, np.full(features, -128, np.int8), 16, 6 * 3000.0 + 256, fw, initial)


@given(st.integers(1, 20), st.integers(2, 13))
def test_wire_order_goes_both_ways(features: int, classes: int) -> None:
    weights = np.arange((features + 1) * classes, dtype=np.int16).reshape(features + 1, classes)
    vector = h.to_wire(weights)
    np.testing.assert_array_equal(h.from_wire(vector, features, classes), weights)
    assert vector[: min(4, classes)].tolist() == weights[0, :4].tolist()
    with pytest.raises(ConfigError, match="expected"):
        h.from_wire(vector[1:], features, classes)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_an_epoch_visits_every_sample_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(h.order(count, mix(seed, 1, epoch, 2))) == list(range(count))


def test_epochs_differ_in_order() -> None:
    assert len({tuple(h.order(50, mix(1, 1, epoch, 1))) for epoch in range(20)}) > 15


@given(st.floats(1e-4, 1.0), st.floats(100.0, 1e6))
def test_rate_stands_for_eta(eta: float, r2: float) -> None:
    fw = 9 + math.floor(math.log2(math.sqrt(r2)))
    real = eta * 2.0 ** (fw + 16) / r2 / 2**15
    if not 2.0**-16 <= real < 4.0:
        with pytest.raises(ConfigError) as error:
            h.rate(eta, r2, fw)
        legal = float(error.value.hint.split()[-1])
        assert (legal < eta) == ("largest" in error.value.hint)
        h.rate(legal, r2, fw)
        return
    factor, shift = h.rate(eta, r2, fw)
    assert 1 << 14 <= factor <= 1 << 15 and 13 <= shift <= 30
    assert factor / 2**shift == pytest.approx(real, rel=2**-14)


@given(st.lists(st.integers(0, 2**31 - 65536), max_size=5))
def test_fleet_shift_is_the_smallest(deltas: list[int]) -> None:
    shift = h.fleet_shift(deltas)
    assert max(deltas, default=0) <= 127 << shift
    assert shift == 0 or max(deltas) > 127 << (shift - 1)
    assert shift <= h.MAX_DELTA_SHIFT


@given(st.data())
def test_aggregate_is_the_rounded_weighted_mean_in_any_order(data: st.DataObject) -> None:
    boards = data.draw(st.integers(1, 5))
    samples = data.draw(st.lists(st.integers(0, 10**6), min_size=boards, max_size=boards))
    values = data.draw(st.lists(st.integers(-127, 127), min_size=boards, max_size=boards))
    shift, start = data.draw(st.integers(0, 25)), data.draw(st.integers(-(2**30), 2**30))
    master, deltas = np.array([start]), [np.array([v], np.int8) for v in values]
    got = h.aggregate(master, deltas, samples, shift)
    total = sum(samples)
    if total:
        mean = Fraction(sum(n * v for n, v in zip(samples, values, strict=True)) << shift, total)
        assert int(got[0]) == start + floor(mean + Fraction(1, 2))
    else:
        assert int(got[0]) == start
    assert int(h.aggregate(master, deltas[::-1], samples[::-1], shift)[0]) == int(got[0])


def test_rounding_of_deltas_is_unbiased_and_clipped() -> None:
    delta = np.full(20_000, 300, np.int64)
    rounded = h.round_delta(delta, 10, 12345)
    assert set(rounded.tolist()) == {0, 1}
    assert rounded.mean() == pytest.approx(300 / 1024, abs=0.01)
    assert h.round_delta(-delta, 10, 12345).mean() == pytest.approx(-300 / 1024, abs=0.01)
    assert h.round_delta(np.array([2**31 - 65536, -(2**31) + 65536]), 0, 1).tolist() == [127, -127]
    assert h.round_delta(np.array([5, -5]), 0, 9).tolist() == [5, -5]


def test_broadcast_rounds_and_clips() -> None:
    master = np.array([0x7FFF, 0x8000, -0x8000, -0x8001, 2**30 - 1, -(2**30)])
    assert h.broadcast(master).tolist() == [0, 1, 0, -1, 16383, -16383]


@settings(deadline=None)
@given(st.lists(st.integers(-(2**20), 2**20), min_size=2, max_size=8), st.integers(12, 20))
def test_probabilities_are_a_softmax(z: list[int], fw: int) -> None:
    real = np.exp((np.array(z) - max(z)) / 2.0**fw)
    got = np.array(h.probabilities(z, fw)) / 32768
    np.testing.assert_allclose(got, real / real.sum(), atol=0.035)  # exp in steps of 1/16
    assert got.sum() <= 1.0


def test_training_descends_like_float() -> None:
    """One epoch on separable data: weights within the resolution of the exponential of a float run."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 200)
    x = np.clip(rng.normal(0, 12, (200, 6)) + 60 * (np.arange(6) // 2 == y[:, None]) - 100, -128, 127).astype(np.int8)
    twin = h.TwinHead(make())
    before = twin.evaluate(x, y.tolist(), False)
    twin.train(x, y.tolist(), (1, 1, 1), 3, h.rate(0.25, twin.format.r2, twin.format.fw))
    after = twin.evaluate(x, y.tolist(), True)
    assert after[0] > 190 > before[0] and after[1] < before[1]
    assert twin.evaluate(x, y.tolist(), False) == before


def test_a_weight_out_of_range_is_refused() -> None:
    twin = h.TwinHead(make())
    with pytest.raises(ConfigError, match="16383"):
        twin.load(np.full(21, -16384, np.int16))
