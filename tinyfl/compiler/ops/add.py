"""ADD of two activations of one shape."""

from __future__ import annotations

from typing import Any

import tflite

from tinyfl.compiler.ops.operator import Folded, RawOperator, activations, expect, read_activation
from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.add import multipliers
from tinyfl.reference.scaling import activation_range, quantization

BUILTIN = "ADD"
ACTIVATIONS = 2
CONSTANTS = 0
IN_PLACE = True


def read(raw: RawOperator) -> dict[str, Any]:
    """Fused activation."""
    return {"activation": read_activation(raw, raw.options(tflite.AddOptions).FusedActivationFunction())}


def check(graph: Graph, layer: Layer) -> None:
    """Both operands have the output's shape."""
    _, y = activations(graph, layer)
    for index in layer.inputs:
        expect(graph.tensor(index).shape == y.shape, f"operand of shape {graph.tensor(index).shape} into {y.shape}")
    multipliers(graph, layer)


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_add``."""
    a, b = (quantization(graph.tensor(index)) for index in layer.inputs)
    y = graph.tensor(layer.outputs[0])
    low, high = activation_range(quantization(y), layer.options["activation"])
    fields: list[tuple[str, int | str]] = [("size", y.size), ("offset_a", -a.zero_point), ("offset_b", -b.zero_point)]
    for name, (multiplier, shift) in zip(("a", "b", "out"), multipliers(graph, layer), strict=True):
        fields += [(f"multiplier_{name}", multiplier), (f"shift_{name}", shift)]
    fields += [("out_zero_point", quantization(y).zero_point), ("low", low), ("high", high)]
    return Folded(tuple(fields))


def macs(graph: Graph, layer: Layer) -> int:
    """None in the sense of products of weights and activations."""
    return 0
