"""CONV_2D: weights [O, kh, kw, I], one scale or one per output channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from tinyfl.compiler.ops.operator import (
    Folded,
    RawOperator,
    activations,
    expect,
    expect_image,
    expect_shape,
    read_window,
    refuse_dilation,
)
from tinyfl.compiler.ops.weighted import check_weights, convolution
from tinyfl.graph import Graph, Layer
from tinyfl.reference.window import windows

BUILTIN = "CONV_2D"
ACTIVATIONS = 1
CONSTANTS = 2
IN_PLACE = False


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
    data = graph.tensor(layer.inputs[1]).data
    assert data is not None
    return convolution(graph, layer, (data.shape[1], data.shape[2]), data, data.sum(axis=(1, 2, 3), dtype=np.int64))


def macs(graph: Graph, layer: Layer) -> int:
    """Output pixels times weights."""
    y = graph.tensor(layer.outputs[0])
    return y.shape[1] * y.shape[2] * graph.tensor(layer.inputs[1]).size
