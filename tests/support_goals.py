"""A model whose layers want more scratch than they have activations: three convolutions along time."""

from __future__ import annotations

import numpy as np
from support_tflite import Op, T, write_tflite


def three_convolutions() -> bytes:
    """50x1x6 to 7x1x32, without a zero among the weights."""
    rng = np.random.default_rng(3)
    tensors, ops = [T((1, 50, 1, 6), [0.1], 1)], []
    for taps, depth, filters, length in ((5, 6, 16, 25), (5, 16, 24, 13), (3, 24, 32, 7)):
        shape = (filters, taps, 1, depth)
        weights = rng.integers(1, 128, shape) * rng.choice([-1, 1], shape)
        first = len(tensors)
        tensors += [
            T(shape, [0.001] * filters, 0, weights),
            T((filters,), [0.0001] * filters, 0, rng.integers(-100, 100, filters), "int32"),
            T((1, length, 1, filters), [0.1], -128),
        ]
        options = {"StrideW": 1, "StrideH": 2, "Padding": 0, "FusedActivationFunction": 1}
        options |= {"DilationWFactor": 1, "DilationHFactor": 1}
        ops.append(Op("CONV_2D", [first - 1, first, first + 1], [first + 2], options))
    return write_tflite(tensors, ops, [0], [len(tensors) - 1])
