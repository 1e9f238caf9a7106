"""AVERAGE_POOL_2D: the mean of the values inside the input, rounded half away from zero."""

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
    sums = sum(part for _, _, part in taps(pad_images(x.astype(np.int64), y, kernel, layer, 0), y, kernel, layer))
    inside = pad_images(np.ones((1, *x.shape[1:]), np.int64), y, kernel, layer, 0)
    counts = sum(part for _, _, part in taps(inside, y, kernel, layer))
    means = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    low, high = activation_range(quantization(y), layer.options["activation"])
    return np.asarray(np.clip(means, low, high), np.int8)
