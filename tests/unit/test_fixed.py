"""Fixed point and seeds against their definitions in exact arithmetic."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.reference.fixed import high_mul, mix, quantize_multiplier, requantize, rounding_shift, wrap32, xorshift32

INT32 = st.integers(-(2**31), 2**31 - 1)


@given(INT32, st.integers(0, 2**31 - 1))
def test_high_mul_is_gemmlowps(x: int, m: int) -> None:
    nudge = 1 << 30 if x * m >= 0 else 1 - (1 << 30)
    magnitude = abs(x * m + nudge) >> 31  # C division truncates
    assert int(high_mul(np.int64(x), m)) == (magnitude if x * m + nudge >= 0 else -magnitude)


@given(INT32, st.integers(0, 31))
def test_rounding_shift_rounds_half_away_from_zero(x: int, shift: int) -> None:
    expected = floor(Fraction(abs(x), 2**shift) + Fraction(1, 2)) * (1 if x >= 0 else -1)
    assert int(rounding_shift(np.int64(x), shift)) == expected


@given(st.floats(1e-9, 1e9))
def test_multiplier_stands_for_the_real_factor(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real, rel=2**-30)


def test_multipliers_at_the_ends() -> None:
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(1.0) == (2**30, 1)
    assert quantize_multiplier(2.0**-40) == (0, 0)
    with pytest.raises(ValueError, match="fixed point"):
        quantize_multiplier(2.0**31)


@given(st.integers(-(2**40), 2**40))
def test_wrap32(x: int) -> None:
    assert int(wrap32(np.int64(x))) == int(np.int64(x).astype(np.int32))


def test_requantize_per_channel() -> None:
    assert requantize([[100, 100]], [2**30, 2**30], [1, 0]).tolist() == [[100, 50]]


def test_xorshift_and_mix_are_the_published_ones() -> None:
    assert xorshift32(1) == 270369  # Marsaglia 2003, xorshift32 (13, 17, 5) from 1
    assert xorshift32(270369) == 67634689
    assert mix(0, 0, 0, 0) == xorshift32(xorshift32(xorshift32(1)))
    assert mix(0x9E3779B1, 1, 0, 0) == mix(0, 0, 0, 0)
    values = {mix(s, r, e, b) for s in range(2, 8) for r in range(6) for e in range(6) for b in range(6)}
    assert len(values) == 6**4 and all(0 < v < 2**32 for v in values)
