"""PAD with the zero point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import quantization


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, ...) to the larger (n, ...)."""
    fill = quantization(graph.tensor(layer.outputs[0])).zero_point
    return np.pad(x, layer.options["paddings"], constant_values=fill)
