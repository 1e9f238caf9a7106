"""RESHAPE."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, ...) to (n, *output shape)."""
    return x.reshape(len(x), *graph.tensor(layer.outputs[0]).shape[1:])
