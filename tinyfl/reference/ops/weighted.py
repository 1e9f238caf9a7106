"""From accumulators to int8: bias, requantisation and clamp of the layers with weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.fixed import requantize
from tinyfl.reference.scaling import activation_range, quantization, weight_multipliers


def weights_of(graph: Graph, layer: Layer) -> npt.NDArray[np.int64]:
    """The weights as int64."""
    data = graph.tensor(layer.inputs[1]).data
    assert data is not None
    return data.astype(np.int64)


def finish(graph: Graph, layer: Layer, accumulators: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """int8 outputs of accumulators (..., channels) without bias."""
    if len(layer.inputs) > 2:
        bias = graph.tensor(layer.inputs[2]).data
        assert bias is not None
        accumulators = accumulators + bias
    output = quantization(graph.tensor(layer.outputs[0]))
    low, high = activation_range(output, layer.options["activation"])
    scaled = requantize(accumulators, *weight_multipliers(graph, layer))
    return np.clip(scaled + output.zero_point, low, high).astype(np.int8)
