"""ADD as TFLite's reference_integer_ops::Add: both operands at a common scale, shifted left by 20 bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.fixed import quantize_multiplier, requantize
from tinyfl.reference.scaling import activation_range, quantization

LEFT_SHIFT = 20


def multipliers(graph: Graph, layer: Layer) -> tuple[tuple[int, int], ...]:
    """(multiplier, shift <= 0) of first operand, second operand and output; ValueError where one is too large."""
    a, b = (quantization(graph.tensor(index)).scale for index in layer.inputs)
    twice = 2.0 * max(a, b)
    out = twice / ((1 << LEFT_SHIFT) * quantization(graph.tensor(layer.outputs[0])).scale)
    factors = quantize_multiplier(a / twice), quantize_multiplier(b / twice), quantize_multiplier(out)
    if not out < 0.5 or factors[2] == (2**30, 0):
        raise ValueError("the output's scale is too small for those of the operands")
    return factors


def run(graph: Graph, layer: Layer, a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Two (n, ...) of one shape to their sum."""
    y = quantization(graph.tensor(layer.outputs[0]))
    *operands, out = multipliers(graph, layer)
    total = np.zeros(a.shape, np.int64)
    for x, index, factor in zip((a, b), layer.inputs, operands, strict=True):
        centred = x.astype(np.int64) - quantization(graph.tensor(index)).zero_point
        total += requantize(centred << LEFT_SHIFT, *factor)
    scaled = requantize(total, *out) + y.zero_point
    return np.clip(scaled, *activation_range(y, layer.options["activation"])).astype(np.int8)
