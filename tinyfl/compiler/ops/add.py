"""ADD of two activations of one shape."""

from __future__ import annotations

from typing import Any

import tflite

from tinyfl.compiler.ops.operator import Folded, Overlap, RawOperator, activations, expect, read_activation
from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.add import LEFT_SHIFT, multipliers
from tinyfl.reference.scaling import activation_range, quantization

BUILTIN = "ADD"
ACTIVATIONS = 2
CONSTANTS = 0


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
    operands = [quantization(graph.tensor(index)) for index in layer.inputs]
    factors = multipliers(graph, layer)
    fine = 0 if operands[0].scale < operands[1].scale else 1
    y = graph.tensor(layer.outputs[0])
    low, high = activation_range(quantization(y), layer.options["activation"])
    fine_multiplier, fine_shift = right_shift(*factors[fine])
    multiplier, shift = right_shift(*factors[2])
    return Folded(
        (
            ("size", y.size),
            ("coarse_offset", -operands[1 - fine].zero_point << LEFT_SHIFT),
            ("fine_offset", -operands[fine].zero_point << LEFT_SHIFT + 1),
            ("fine_multiplier", fine_multiplier),
            ("fine_half", f"TFL_HALF({1 << fine_shift - 1})"),
            ("multiplier", multiplier),
            ("half", f"TFL_HALF({1 << shift - 1})"),
            ("fine_shift", fine_shift),
            ("shift", shift),
            ("swap", int(fine == 0)),
            ("zero_point", quantization(y).zero_point),
            ("low", low),
            ("high", high),
        )
    )


def right_shift(multiplier: int, shift: int) -> tuple[int, int]:
    """The same factor with a shift to the right of at least 1.

    The only one without is 2^30 / 2^31, for operands of one scale. (2^31 - 1) / 2^32 is as good: of x 2^20 it takes
    |x| / 2^12 < 1/8, which the first rounding gives back. 0 stays 0.
    """
    if shift == 0:
        return (2**31 - 1 if multiplier else 0), 1
    return multiplier, -shift


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """In place of either operand: a value is written after those at its place are read."""
    return Overlap()


def macs(graph: Graph, layer: Layer) -> int:
    """None in the sense of products of weights and activations."""
    return 0
