"""SOFTMAX as TFLite's integer reference_ops::Softmax: gemmlowp's fixed-point exponential and reciprocal.

Qa.b below: a integer bits, b fraction bits and a sign in 32 bits.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.fixed import INT32_MAX, INT32_MIN, high_mul, quantize_multiplier, requantize, rounding_shift
from tinyfl.reference.scaling import quantization

Int64 = npt.NDArray[np.int64]

DIFFERENCE_BITS = 5  # integer bits of a scaled distance to the maximum
SUM_BITS = 12  # integer bits of the sum of exponentials

# exp(-2^k) in Q0.31 for k = -2..4
_EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _exp_first_quarter(a: Int64) -> Int64:
    """exp(a) in Q0.31 for a in [-1/4, 0), Q0.31: Taylor's series around -1/8."""
    x = a + (1 << 28)
    x2 = high_mul(x, x)
    x3, x4 = high_mul(x2, x), high_mul(x2, x2)
    third = 715827883  # 1/3, Q0.31
    tail = rounding_shift(high_mul(rounding_shift(x4, 2) + x3, third) + x2, 1)
    constant = 1895147668  # exp(-1/8), Q0.31
    return constant + high_mul(x + tail, constant)


def _exp_negative(a: Int64) -> Int64:
    """exp(a) in Q0.31 for a <= 0 in Q5.26 (gemmlowp's exp_on_negative_values)."""
    quarter = 1 << 24
    fraction = (a & (quarter - 1)) - quarter
    result = _exp_first_quarter(fraction << DIFFERENCE_BITS)
    remainder = fraction - a
    for bit, factor in enumerate(_EXP_POWERS):
        result = np.where(remainder & (quarter << bit), high_mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


@lru_cache(maxsize=64)
def exp_table(scale: float, beta: float) -> Int64:
    """exp(-beta * scale * d) in Q0.31 for distances d = 0, 1, ... to the maximum; beyond its end the result is 0."""
    real = min(beta * scale * 2.0 ** (31 - DIFFERENCE_BITS), 2.0**31 - 1.0)
    if not real > 1.0:
        raise ValueError(f"the input's scale {scale:g} is too small")
    multiplier, shift = quantize_multiplier(real)
    radius = math.floor((2**DIFFERENCE_BITS - 1) * 2 ** (31 - DIFFERENCE_BITS) / 2**shift)
    differences = -np.arange(min(radius, 255) + 1, dtype=np.int64)
    return _exp_negative(requantize(differences, multiplier, shift))


def _saturate(x: Int64) -> Int64:
    return np.clip(x, INT32_MIN, INT32_MAX)


def _reciprocal(a: Int64) -> Int64:
    """1 / (1 + a) in Q0.31 for a in [0, 1), Q0.31: three Newton-Raphson steps in Q2.29."""
    half = (a + INT32_MAX + 1) >> 1  # (1 + a) / 2 in Q0.31
    x = 1515870810 + high_mul(half, -1010580540)  # 48/17 - 32/17 * half
    for _ in range(3):
        rest = (1 << 29) - high_mul(half, x)
        x = x + _saturate(high_mul(x, rest) << 2)
    return _saturate(x << 1)


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, ..., classes) to probabilities with scale 1/256 and zero point -128."""
    table = exp_table(quantization(graph.tensor(layer.inputs[0])).scale, layer.options["beta"])
    wide = x.astype(np.int64)
    distances = wide.max(axis=-1, keepdims=True) - wide
    exps = np.where(distances < len(table), table[np.minimum(distances, len(table) - 1)], 0)
    sums = rounding_shift(exps, SUM_BITS).sum(axis=-1, keepdims=True)  # Q12.19
    zeros = 31 - np.floor(np.log2(sums)).astype(np.int64)  # leading ones of 32 bits; exact, as sums < 2^28
    scale = _reciprocal((sums << zeros) - (1 << 31))
    bits = SUM_BITS - zeros + 31 - 8
    y = rounding_shift(high_mul(exps, scale), bits) - 128
    return np.where(distances < len(table), np.clip(y, -128, 127), -128).astype(np.int8)
