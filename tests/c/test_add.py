"""ADD, three ways: x + quantize(x), so that the operands differ in scale and zero point, and x + x."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, scale, zero_point
from support_tflite import Op, T, write_tflite


def write(rng: np.random.Generator, case: int) -> bytes:
    shape = (1, *(int(v) for v in rng.integers(1, 9, 3)))
    tensors = [T(shape, [scale(rng)], zero_point(rng)) for _ in range(3)]
    options = {"FusedActivationFunction": (0, 1, 3)[case % 3]}
    other = 0 if case % 4 == 0 else 1
    ops = [Op("QUANTIZE", [0], [1]), Op("ADD", [other, 0] if case % 2 else [0, other], [2], options)]
    return write_tflite(tensors, ops, [0], [2])


def test_add_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 40, tmp_path, seed=7)
