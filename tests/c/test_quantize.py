"""QUANTIZE int8 to int8, three ways."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, scale, zero_point
from support_tflite import Op, T, write_tflite


def write(rng: np.random.Generator, case: int) -> bytes:
    shape = (1, int(rng.integers(1, 300)))
    tensors = [T(shape, [scale(rng)], zero_point(rng)), T(shape, [scale(rng)], zero_point(rng))]
    if case % 6 == 0:
        tensors[1].scales = tensors[0].scales
    return write_tflite(tensors, [Op("QUANTIZE", [0], [1])], [0], [1])


def test_quantize_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 40, tmp_path, seed=8)
