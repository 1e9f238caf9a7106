"""CONV_2D, three ways."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, image, out_size, scale, stride_padding, weighted, zero_point
from support_tflite import T


def write(rng: np.random.Generator, case: int) -> bytes:
    kernel = (1, 1) if case % 4 == 0 else tuple(int(v) for v in rng.integers(1, 6, 2))
    options = stride_padding(rng, activation=(0, 1, 3)[case % 3])
    depth, filters = (int(v) for v in rng.integers(1, 10, 2))
    shape = image(rng, kernel, depth)
    h = out_size(shape[1], kernel[0], options["StrideH"], options["Padding"])
    w = out_size(shape[2], kernel[1], options["StrideW"], options["Padding"])
    x = T(shape, [scale(rng)], zero_point(rng))
    options |= {"DilationHFactor": 1, "DilationWFactor": 1}
    return weighted(rng, "CONV_2D", x, (filters, *kernel, depth), (1, h, w, filters), options)


def test_conv2d_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 40, tmp_path, seed=1)
