"""FULLY_CONNECTED: weights [O, I], one scale or one per output."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from tinyfl.compiler.ops.operator import Array, Folded, RawOperator, activations, expect, read_activation
from tinyfl.compiler.ops.weighted import Fields, biases, check_weights, scaling_fields
from tinyfl.graph import Graph, Layer

BUILTIN = "FULLY_CONNECTED"
ACTIVATIONS = 1
CONSTANTS = 2
IN_PLACE = False


def read(raw: RawOperator) -> dict[str, Any]:
    """Fused activation."""
    options = raw.options(tflite.FullyConnectedOptions)
    if options.WeightsFormat() != 0:
        raise raw.fail("shuffled weights are not supported")
    return {"activation": read_activation(raw, options.FusedActivationFunction())}


def check(graph: Graph, layer: Layer) -> None:
    """One vector in, one vector out."""
    x, y = activations(graph, layer)
    weights = graph.tensor(layer.inputs[1])
    expect(len(weights.shape) == 2, f"weights of shape {weights.shape}, expected outputs x inputs")
    expect(x.size == weights.shape[1], f"{x.size} input values for weights of {weights.shape[1]} inputs")
    check_weights(graph, layer, y.size, axis=0)


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_dense``."""
    data = graph.tensor(layer.inputs[1]).data
    assert data is not None
    _, bias = biases(graph, layer, data.sum(axis=1, dtype=np.int64))
    scaling, arrays = scaling_fields(graph, layer)
    fields: Fields = (
        ("inputs", data.shape[1]),
        ("outputs", data.shape[0]),
        ("weights", "weights"),
        ("bias", "bias"),
        *scaling,
    )
    return Folded(fields, (Array("weights", "int8_t", data), Array("bias", "int32_t", bias), *arrays))


def macs(graph: Graph, layer: Layer) -> int:
    """One per weight."""
    return graph.tensor(layer.inputs[1]).size
