"""SOFTMAX, three ways, from flat to one-hot."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, scale, zero_point
from support_tflite import Op, T, write_tflite


def write(rng: np.random.Generator, case: int) -> bytes:
    classes = (511, 2, 1)[case] if case < 3 else int(rng.integers(2, 40))
    shape = (1, classes) if case % 3 else (1, int(rng.integers(1, 5)), classes)
    tensors = [T(shape, [scale(rng, 0.0005, 3.0)], zero_point(rng)), T(shape, [1 / 256], -128)]
    beta = 1.0 if case % 2 else float(rng.uniform(0.2, 3))
    return write_tflite(tensors, [Op("SOFTMAX", [0], [1], {"Beta": beta})], [0], [1])


def test_softmax_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 60, tmp_path, seed=10)
