"""DEPTHWISE_CONV_2D pixel by pixel, all channels of each: the kernel ``tfl_depthwise_pixels``.

It does not mind small images, strides and odd filters, but its output needs the input behind it, as a convolution's.
"""

from __future__ import annotations

import numpy as np

from tinyfl.compiler.ops.operator import FULL, Array, Folded, Overlap, activations, share
from tinyfl.compiler.ops.pooling import windows_overlap
from tinyfl.compiler.ops.weighted import Fields, filters, folded_bias, scaling_fields, window_fields
from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import quantization

GROUP = 4  # channels at a time
PLACES = [0, 2, 1, 3]  # of their weights: TFL_GROUP_PLACE of firmware/core/ops/groups.h
LARGE = 100  # outputs of a plane from which a channel at a time is faster


def suits(graph: Graph, layer: Layer) -> bool:
    """Whether it is the faster kernel here, and the arena has room for it."""
    x, y = activations(graph, layer)
    kernel = graph.tensor(layer.inputs[1]).shape[1:3]
    planes = kernel == (3, 3) and layer.options["stride_w"] == 1 and y.shape[1] * y.shape[2] >= LARGE
    return share(layer) == FULL and x.shape[3] == y.shape[3] >= GROUP and not planes


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_depthwise_pixels``."""
    x, y = activations(graph, layer)
    rows = filters(graph, layer, axis=3)
    scaling, channels = scaling_fields(graph, layer, rows, folded_bias(graph, layer, rows))
    fields: Fields = (
        *window_fields(x, y, _kernel(graph, layer), layer.options),
        ("in_zero_point", quantization(x).zero_point),
        ("weights", "weights"),
        *scaling,
    )
    groups = np.pad(rows, ((0, -len(rows) % GROUP), (0, 0))).reshape(-1, GROUP, rows.shape[1])
    weights = groups[:, PLACES].swapaxes(1, 2).astype(np.int16)
    return Folded(fields, (Array("weights", "int16_t", weights), channels), "tfl_depthwise_pixels")


def scratch(graph: Graph, layer: Layer) -> int:
    """Where the taps lie, and a pixel of padding."""
    kernel_h, kernel_w = _kernel(graph, layer)
    return 4 * kernel_h * kernel_w + graph.tensor(layer.inputs[0]).shape[3]


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """A pixel is written when its window has been read, four channels at a time."""
    return windows_overlap(graph, layer, _kernel(graph, layer))


def _kernel(graph: Graph, layer: Layer) -> tuple[int, int]:
    shape = graph.tensor(layer.inputs[1]).shape
    return shape[1], shape[2]
