"""FULLY_CONNECTED as TFLite's reference_integer_ops::FullyConnected and FullyConnectedPerChannel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.conv2d import exact_matmul
from tinyfl.reference.ops.weighted import finish, weights_of
from tinyfl.reference.scaling import quantization


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, ...) of I values each to (n, *output shape)."""
    centred = x.reshape(len(x), -1).astype(np.int64) - quantization(graph.tensor(layer.inputs[0])).zero_point
    y = finish(graph, layer, exact_matmul(centred, weights_of(graph, layer).T))
    return y.reshape(len(x), *graph.tensor(layer.outputs[0]).shape[1:])
