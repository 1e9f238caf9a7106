"""MAX_POOL_2D."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.patches import pad_images, taps
from tinyfl.reference.scaling import activation_range, quantization


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, H, W, C) to (n, out height, out width, C)."""
    y = graph.tensor(layer.outputs[0])
    kernel = (layer.options["kernel_h"], layer.options["kernel_w"])
    padded = pad_images(x.astype(np.int64), y, kernel, layer, fill=-128)
    best = np.max([part for _, _, part in taps(padded, y, kernel, layer)], axis=0)
    low, high = activation_range(quantization(y), layer.options["activation"])
    return np.asarray(np.clip(best, low, high), np.int8)
