"""CONV_2D: weights [O, kh, kw, I], one scale or one per output channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from tinyfl.compiler.ops import sparse
from tinyfl.compiler.ops.operator import (
    FULL,
    HALF,
    LEAST,
    Array,
    Folded,
    Overlap,
    RawOperator,
    activations,
    expect,
    expect_image,
    expect_shape,
    read_window,
    refuse_dilation,
    share,
)
from tinyfl.compiler.ops.weighted import (
    Fields,
    check_weights,
    filters,
    folded_bias,
    padded_rows,
    scaling_fields,
    window_fields,
)
from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import quantization
from tinyfl.reference.window import leaves_input, windows

BUILTIN = "CONV_2D"
ACTIVATIONS = 1
CONSTANTS = 2

LANES = {FULL: 4, HALF: 2, LEAST: 1}  # words for each input; TFL_LANES of firmware/core/ops/lanes.h at most

BLOCK = 16  # weights that Helium loads at once, of the last row beyond its end (firmware/core/ops/lanes_mve.h)

PIXELS = {4: "four pixels at a time", 2: "two pixels at a time, four with DSP", 1: "one pixel at a time, two with DSP"}


def read(raw: RawOperator) -> dict[str, Any]:
    """Strides, padding, fused activation."""
    options = raw.options(tflite.Conv2DOptions)
    refuse_dilation(raw, options)
    return read_window(raw, options)


def check(graph: Graph, layer: Layer) -> None:
    """Shapes of input, weights, bias and output fit together."""
    x, y = activations(graph, layer)
    expect_image(x, y, graph.tensor(layer.inputs[1]))
    weights = check_weights(graph, layer, y.shape[3], axis=0)
    _, kernel_h, kernel_w, depth = weights.shape
    expect(depth == x.shape[3], f"filters of depth {depth} on an input of depth {x.shape[3]}: no grouped convolution")
    out_h, out_w, _, _ = windows(x.shape, (kernel_h, kernel_w), layer.options)
    expect_shape(y, (1, out_h, out_w, y.shape[3]))


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_conv2d``."""
    x, y = activations(graph, layer)
    rows = padded_rows(filters(graph, layer, axis=0))
    scaling, channels = scaling_fields(graph, layer, rows, folded_bias(graph, layer, rows))
    pruned = sparse.chosen(graph, layer)
    fields: Fields = (
        *window_fields(x, y, _kernel(graph, layer), layer.options),
        ("in_zero_point", quantization(x).zero_point),
        ("lanes", _lanes(graph, layer)),
        ("row", _weights(graph, layer) if pruned else rows.shape[1]),
        ("weights", "weights"),
        *scaling,
    )
    if pruned:
        stream = sparse.conv2d_stream(filters(graph, layer, axis=0))
        return Folded(fields, (Array("weights", "int8_t", stream), channels))
    weights = np.append(rows, np.zeros(-rows.shape[1] % BLOCK, np.int8))
    if _widened(graph, layer):
        wide = Array("weights", "int8_t", weights.reshape(-1, 4), "TFL_WIDE", width=8, fixed=False)
        return Folded(fields, (wide, channels))
    return Folded(fields, (Array("weights", "int8_t", weights), channels))


def scratch(graph: Graph, layer: Layer) -> int:
    """The inputs of some pixels, widened to words at most, and one pixel's window where that is copied."""
    if sparse.chosen(graph, layer):
        copies = 2 if _copied(graph, layer) else 0  # of the pixels that share words
        weights = _weights(graph, layer)
        blocks = 5 * (weights + -weights % BLOCK)  # Helium: a filter and four windows at least
        return max((4 * _lanes(graph, layer) + copies) * weights, blocks)
    row = padded_rows(filters(graph, layer, axis=0)).shape[1]
    return 4 * _lanes(graph, layer) * row + (row if _copied(graph, layer) else 0)


def kernel(graph: Graph, layer: Layer) -> tuple[str, str]:
    """One function, which takes two ways, one for pruned weights and one for speed at the cost of flash."""
    if sparse.chosen(graph, layer):
        return "tfl_sparse_conv2d", sparse.reason(graph, layer)
    _, y = activations(graph, layer)
    pixels = PIXELS[_lanes(graph, layer)] if y.shape[1] * y.shape[2] > 1 else "one pixel"
    source = "from windows copied with their padding" if _copied(graph, layer) else "from where their inputs lie"
    if _widened(graph, layer):
        return "tfl_wide_conv2d", f"{pixels}, {source}, weights widened in flash"
    return "tfl_conv2d", f"{pixels}, {source}"


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """The outputs of a turn are written when its inputs are in scratch: how far they are ahead of the next turn's."""
    x, y = activations(graph, layer)
    _, _, top, left = windows(x.shape, _kernel(graph, layer), layer.options)
    pixels = y.shape[1] * y.shape[2]
    ahead, needed = -x.size, x.size
    lanes = 1 if sparse.chosen(graph, layer) else LANES[share(layer)]  # sparse: any number of pixels a turn
    for pixel in reversed(range(lanes, pixels)):
        row, column = divmod(pixel, y.shape[2])
        first_row, first_column = row * layer.options["stride_h"] - top, column * layer.options["stride_w"] - left
        needed = min(needed, (max(0, first_row) * x.shape[2] + max(0, first_column)) * x.shape[3])
        if pixel % lanes == 0:
            ahead = max(ahead, pixel * y.shape[3] - needed)
    return Overlap(ahead)


def _widened(graph: Graph, layer: Layer) -> bool:
    """Weights that are used often enough are worth two bytes each where speed is the goal."""
    _, y = activations(graph, layer)
    return graph.goal == "speed" and y.shape[1] * y.shape[2] > LANES[FULL] and not sparse.chosen(graph, layer)


def _lanes(graph: Graph, layer: Layer) -> int:
    _, y = activations(graph, layer)
    if y.shape[1] * y.shape[2] == 1:
        return 1
    return (sparse.LANES if sparse.chosen(graph, layer) else LANES)[share(layer)]


def _weights(graph: Graph, layer: Layer) -> int:
    """Weights of a filter."""
    weights = graph.tensor(layer.inputs[1])
    return weights.size // weights.shape[0]


def _copied(graph: Graph, layer: Layer) -> bool:
    """Windows of more than one row, or with padding, are no runs of bytes in the input."""
    x, y = activations(graph, layer)
    return _kernel(graph, layer)[0] > 1 or leaves_input(x.shape, y.shape, _kernel(graph, layer), layer.options)


def _kernel(graph: Graph, layer: Layer) -> tuple[int, int]:
    shape = graph.tensor(layer.inputs[1]).shape
    return shape[1], shape[2]


def macs(graph: Graph, layer: Layer) -> int:
    """Output pixels times weights."""
    y = graph.tensor(layer.outputs[0])
    return y.shape[1] * y.shape[2] * graph.tensor(layer.inputs[1]).size
