"""FULLY_CONNECTED, three ways, per tensor and per channel."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, scale, weighted, zero_point
from support_tflite import T


def write(rng: np.random.Generator, case: int) -> bytes:
    inputs, outputs = int(rng.integers(1, 70)), int(rng.integers(1, 20))
    x = T((1, inputs), [scale(rng)], zero_point(rng))
    options = {"FusedActivationFunction": (0, 1, 3)[case % 3]}
    return weighted(rng, "FULLY_CONNECTED", x, (outputs, inputs), (1, outputs), options)


def test_dense_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 40, tmp_path, seed=3)
