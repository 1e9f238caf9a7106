"""AVERAGE_POOL_2D, three ways."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, image, out_size, scale, stride_padding, zero_point
from support_tflite import Op, T, write_tflite


def write(rng: np.random.Generator, case: int) -> bytes:
    kernel = tuple(int(v) for v in rng.integers(1, 6, 2))
    options = stride_padding(rng, activation=(0, 1, 3)[case % 3])
    shape = image(rng, kernel, int(rng.integers(1, 10)))
    h = out_size(shape[1], kernel[0], options["StrideH"], options["Padding"])
    w = out_size(shape[2], kernel[1], options["StrideW"], options["Padding"])
    options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
    scales, zero = [scale(rng)], zero_point(rng)
    tensors = [T(shape, scales, zero), T((1, h, w, shape[3]), scales, zero)]
    return write_tflite(tensors, [Op("AVERAGE_POOL_2D", [0], [1], options)], [0], [1])


def test_average_pool_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 30, tmp_path, seed=4)
