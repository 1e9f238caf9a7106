"""PAD, three ways."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, scale, zero_point
from support_tflite import Op, T, write_tflite


def write(rng: np.random.Generator, case: int) -> bytes:
    rank = (4, 4, 3, 2)[case % 4]
    shape = (1, *(int(v) for v in rng.integers(1, 8, rank - 1)))
    pairs = [(0, 0), *(tuple(int(v) for v in rng.integers(0, 4, 2)) for _ in shape[1:])]
    out = [n + a + b for n, (a, b) in zip(shape, pairs, strict=True)]
    scales, zero = [scale(rng)], zero_point(rng)
    tensors = [T(shape, scales, zero), T((rank, 2), [1.0], 0, pairs, "int32"), T(out, scales, zero)]
    return write_tflite(tensors, [Op("PAD", [0, 1], [2])], [0], [2])


def test_pad_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 24, tmp_path, seed=9)
