"""Fixed point and random numbers, bit for bit as ``firmware/core/fixed.h`` and TFLite's reference kernels compute them.

The two roundings are those of gemmlowp (fixedpoint.h): SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
_MASK = 0xFFFFFFFF


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A positive real factor as (Q31 multiplier, shift): multiplier / 2^31 * 2^shift; (0, 0) where it vanishes.

    Raises ValueError where it is 2^30 or more.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise ValueError(f"a scale ratio of {real:g} does not fit fixed point")
    return multiplier, shift


def high_mul(x: Int64, multiplier: Int64 | int) -> Int64:
    """floor(x * multiplier / 2^31 + 1/2) for int32 values in int64 arrays, 0 <= multiplier < 2^31."""
    return (x * multiplier + (1 << 30)) >> 31


def rounding_shift(x: Int64, shift: Int64 | int) -> Int64:
    """x / 2^shift, rounded half away from zero; shift 0..31."""
    mask = (np.int64(1) << np.asarray(shift, np.int64)) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> np.asarray(shift, np.int64)) + ((x & mask) > threshold)


def wrap32(x: Int64) -> Int64:
    """The int32 that a two's complement register would hold, as int64."""
    return ((x + 2**31) & _MASK) - 2**31


def requantize(x: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> Int64:
    """x * multiplier / 2^31 * 2^shift; multiplier and shift broadcast against x (one each, or one a channel)."""
    x, multiplier, shift = (np.asarray(v, np.int64) for v in (x, multiplier, shift))
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounding_shift(high_mul(wrap32(x << left), multiplier), right)


def xorshift32(x: int) -> int:
    """One step of xorshift32 (13, 17, 5); x is never 0."""
    x ^= x << 13 & _MASK
    x ^= x >> 17
    return x ^ (x << 5 & _MASK)


def mix(seed: int, round: int, epoch: int, board: int) -> int:
    """The seed of one stream of random numbers (docs/DESIGN.md, "Seeds"), modulo 2^32; never 0."""
    h = (seed ^ (round * 0x9E3779B1) ^ (epoch * 0x85EBCA77) ^ (board * 0xC2B2AE3D)) & _MASK
    h = h or 1
    return xorshift32(xorshift32(xorshift32(h)))
