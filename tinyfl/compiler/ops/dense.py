"""FULLY_CONNECTED: weights [O, I], one scale or one per output."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from tinyfl.compiler.ops import sparse
from tinyfl.compiler.ops.operator import ONLY, Array, Folded, RawOperator, activations, expect, read_activation
from tinyfl.compiler.ops.weighted import (
    Accumulators,
    Fields,
    check_weights,
    filters,
    folded_bias,
    padded_rows,
    scaling_fields,
)
from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import quantization

BUILTIN = "FULLY_CONNECTED"
ACTIVATIONS = 1
CONSTANTS = 2

BLOCK = 4  # of outputs as well as inputs: TFL_BLOCK of firmware/include/tfl/tfl_ops.h


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
    rows = padded_rows(filters(graph, layer, axis=0))
    bias = folded_bias(graph, layer, rows)
    shared = len(quantization(graph.tensor(layer.inputs[1])).scales) == 1
    scaling, channels = scaling_fields(graph, layer, rows, bias, 1 if shared else None)
    if sparse.chosen(graph, layer):
        stream = Array("weights", "int8_t", sparse.dense_stream(filters(graph, layer, axis=0)))
        inputs = graph.tensor(layer.inputs[1]).shape[1]
        padded = np.append(bias, np.zeros(-len(bias) % sparse.GROUP, np.int64))
        return _folded((inputs, len(bias)), padded, [stream], scaling, channels, shared)
    whole = len(rows) - len(rows) % BLOCK
    blocks = rows[:whole].reshape(-1, BLOCK, rows.shape[1] // BLOCK, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK * BLOCK)
    weights = [Array("weights", "int8_t", blocks, "TFL_BLOCK")] if whole else []
    rest = [Array("rest", "int8_t", rows[whole:])] if whole < len(rows) else []
    return _folded((rows.shape[1], len(rows)), bias, [*weights, *rest], scaling, channels, shared)


def _folded(
    sizes: tuple[int, int], bias: Accumulators, weights: list[Array], scaling: Fields, channels: Array, shared: bool
) -> Folded:
    names = [array.name for array in weights]
    fields: Fields = (
        ("row", sizes[0]),
        ("outputs", sizes[1]),
        ("weights", "weights" if "weights" in names else 0),
        ("rest", "rest" if "rest" in names else 0),
        ("bias", "bias"),
        *scaling,
        ("step", 0 if shared else 4),
    )
    return Folded(fields, (*weights, Array("bias", "int32_t", bias), channels))


def kernel(graph: Graph, layer: Layer) -> tuple[str, str]:
    """Another one for pruned weights."""
    if sparse.chosen(graph, layer):
        return sparse.dense_kernel(graph), sparse.reason(graph, layer)
    return "tfl_dense", ONLY


def macs(graph: Graph, layer: Layer) -> int:
    """One per weight."""
    return graph.tensor(layer.inputs[1]).size
