"""QUANTIZE from one int8 quantisation to another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.fixed import requantize
from tinyfl.reference.scaling import output_multiplier, quantization


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, ...) to the same shape."""
    centred = x.astype(np.int64) - quantization(graph.tensor(layer.inputs[0])).zero_point
    scaled = requantize(centred, *output_multiplier(graph, layer))
    return np.clip(scaled + quantization(graph.tensor(layer.outputs[0])).zero_point, -128, 127).astype(np.int8)
