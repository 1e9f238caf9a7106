"""The effective scale to its last bit: accumulators where a float32 and a double product of the scales differ."""

import numpy as np
import pytest
from support_tflite import Op, T, run_oracle, write_tflite

from tinyfl.compiler import read_tflite
from tinyfl.reference import run
from tinyfl.reference.fixed import quantize_multiplier, requantize


def telling_biases(x: np.float32, w: np.float32, y: np.float32) -> np.ndarray:
    """Accumulators whose output tells which product was used; the accumulator is the bias, as the input is zero."""
    double = quantize_multiplier(float(x) * float(w) / float(y))
    single = quantize_multiplier(float(np.float32(x * w)) / float(y))
    edges = (np.arange(-120, 120) + 0.5) * float(y) / (float(x) * float(w))
    acc = np.unique(np.rint(edges).astype(np.int64)[:, None] + np.arange(-8, 9))
    return acc[requantize(acc, *double) != requantize(acc, *single)]


@pytest.mark.parametrize("kind", ["dense per tensor", "dense per channel", "conv2d per channel"])
def test_product_of_scales_is_rounded_as_the_reference_rounds_it(kind: str) -> None:
    rng, compared = np.random.default_rng(5), 0
    for _ in range(8):
        x, w = (np.float32(v) for v in rng.uniform(0.01, 0.2, 2))
        y = np.float32(rng.uniform(20_000, 40_000))
        bias = telling_biases(x, w, y)
        n = len(bias)
        if n < 2:
            continue
        scales = [w] * (1 if kind == "dense per tensor" else n)
        bias_tensor = T([n], [float(x) * float(s) for s in scales], 0, bias, "int32")
        if kind.startswith("dense"):
            tensors = [T((1, 1), [x]), T((n, 1), scales, 0, np.zeros((n, 1))), bias_tensor, T((1, n), [y])]
            op, shape = Op("FULLY_CONNECTED", [0, 1, 2], [3], {}), (1, 1)
        else:
            tensors = [T((1, 1, 1, 1), [x]), T((n, 1, 1, 1), scales, 0, np.zeros((n, 1, 1, 1))), bias_tensor]
            tensors.append(T((1, 1, 1, n), [y]))
            options = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
            op, shape = Op("CONV_2D", [0, 1, 2], [3], options), (1, 1, 1, 1)
        data, inputs = write_tflite(tensors, [op], [0], [3]), np.zeros(shape, np.int8)
        np.testing.assert_array_equal(run(read_tflite(data, "scales"), inputs), run_oracle(data, inputs))
        compared += n
    assert compared > 100
