"""RESHAPE between other operators, three ways: with the shape as a tensor and as an option."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, scale, zero_point
from support_tflite import Op, T, write_tflite


def write(rng: np.random.Generator, case: int) -> bytes:
    h, w, c = (int(v) for v in rng.integers(1, 7, 3))
    flat = (1, h * w * c)
    first, last = ([scale(rng)], zero_point(rng)), ([scale(rng)], zero_point(rng))
    tensors = [T((1, h, w, c), *first), T(flat, *first), T(flat, *last), T([2], [1.0], 0, flat, "int32")]
    reshape = Op("RESHAPE", [0, 3], [1]) if case % 2 else Op("RESHAPE", [0], [1], {"NewShape": flat})
    return write_tflite(tensors, [reshape, Op("QUANTIZE", [1], [2])], [0], [2])


def test_reshape_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 8, tmp_path, seed=11)
