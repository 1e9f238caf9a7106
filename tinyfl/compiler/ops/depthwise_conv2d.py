"""DEPTHWISE_CONV_2D: weights [1, kh, kw, O], each input channel feeds O / I outputs (the depth multiplier)."""

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

BUILTIN = "DEPTHWISE_CONV_2D"
ACTIVATIONS = 1
CONSTANTS = 2
IN_PLACE = False


def read(raw: RawOperator) -> dict[str, Any]:
    """Strides, padding, fused activation; the depth multiplier follows from the shapes."""
    options = raw.options(tflite.DepthwiseConv2DOptions)
    refuse_dilation(raw, options)
    return read_window(raw, options)


def check(graph: Graph, layer: Layer) -> None:
    """Shapes of input, weights, bias and output fit together."""
    x, y = activations(graph, layer)
    expect_image(x, y, graph.tensor(layer.inputs[1]))
    weights = check_weights(graph, layer, y.shape[3], axis=3)
    expect(weights.shape[0] == 1, f"weights of shape {weights.shape}, expected 1 x kh x kw x channels")
    expect(y.shape[3] % x.shape[3] == 0, f"{y.shape[3]} output channels from {x.shape[3]} input channels")
    out_h, out_w, _, _ = windows(x.shape, (weights.shape[1], weights.shape[2]), layer.options)
    expect_shape(y, (1, out_h, out_w, y.shape[3]))


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_depthwise_conv2d``."""
    data = graph.tensor(layer.inputs[1]).data
    assert data is not None
    return convolution(graph, layer, (data.shape[1], data.shape[2]), data, data.sum(axis=(0, 1, 2), dtype=np.int64))


def macs(graph: Graph, layer: Layer) -> int:
    """Output pixels times weights."""
    y = graph.tensor(layer.outputs[0])
    return y.shape[1] * y.shape[2] * graph.tensor(layer.inputs[1]).size
