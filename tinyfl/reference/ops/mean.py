"""MEAN over neighbouring axes: the division is folded into the multiplier."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.fixed import requantize
from tinyfl.reference.scaling import output_multiplier, quantization


def extents(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int, int]:
    """(outer, count, inner) sizes before, in and behind the axes; raises ValueError unless they are neighbours."""
    rank = len(shape)
    ordered = sorted({axis + rank if axis < 0 else axis for axis in axes})
    if not ordered or ordered[0] < 1 or ordered[-1] >= rank or ordered[-1] - ordered[0] != len(ordered) - 1:
        raise ValueError(f"axes {axes} of a tensor of shape {shape}: expected neighbours behind the batch")
    first, last = ordered[0], ordered[-1] + 1
    return math.prod(shape[1:first]), math.prod(shape[first:last]), math.prod(shape[last:])


def mean_multiplier(graph: Graph, layer: Layer) -> tuple[int, int]:
    """(multiplier, shift) from the sum of ``count`` centred inputs to the output."""
    _, count, _ = extents(graph.tensor(layer.inputs[0]).shape, layer.options["axes"])
    multiplier, shift = output_multiplier(graph, layer)
    down = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << down) // count, shift - down


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, ...) to (n, *output shape)."""
    y = graph.tensor(layer.outputs[0])
    outer, count, inner = extents(graph.tensor(layer.inputs[0]).shape, layer.options["axes"])
    sums = x.reshape(len(x), outer, count, inner).sum(axis=2, dtype=np.int64)
    centred = sums - count * quantization(graph.tensor(layer.inputs[0])).zero_point
    scaled = requantize(centred, *mean_multiplier(graph, layer)) + quantization(y).zero_point
    return np.clip(scaled, -128, 127).astype(np.int8).reshape(len(x), *y.shape[1:])
