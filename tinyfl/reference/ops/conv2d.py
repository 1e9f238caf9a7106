"""CONV_2D as TFLite's reference_integer_ops::ConvPerChannel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.patches import pad_images, taps
from tinyfl.reference.ops.weighted import finish, weights_of
from tinyfl.reference.scaling import quantization


def run(graph: Graph, layer: Layer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(n, H, W, I) to (n, out height, out width, O)."""
    weights, y = weights_of(graph, layer), graph.tensor(layer.outputs[0])
    kernel = (weights.shape[1], weights.shape[2])
    centred = x.astype(np.int64) - quantization(graph.tensor(layer.inputs[0])).zero_point
    padded = pad_images(centred, y, kernel, layer, fill=0)
    total = np.zeros((len(x), *y.shape[1:]), np.int64)
    for ky, kx, part in taps(padded, y, kernel, layer):
        total += exact_matmul(part, weights[:, ky, kx].T)
    return finish(graph, layer, total)


def exact_matmul(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """a @ b through doubles, which BLAS is fast at: exact while the sums stay under 2^53."""
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
