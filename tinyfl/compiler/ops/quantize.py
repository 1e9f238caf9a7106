"""QUANTIZE from one int8 quantisation to another."""

from __future__ import annotations

from typing import Any

from tinyfl.compiler.ops.operator import Folded, RawOperator, activations, expect_shape
from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import output_multiplier, quantization

BUILTIN = "QUANTIZE"
ACTIVATIONS = 1
CONSTANTS = 0
IN_PLACE = True


def read(raw: RawOperator) -> dict[str, Any]:
    """It has no options."""
    return {}


def check(graph: Graph, layer: Layer) -> None:
    """The shape stays."""
    x, y = activations(graph, layer)
    expect_shape(y, x.shape)
    output_multiplier(graph, layer)


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_quantize``."""
    x, y = activations(graph, layer)
    multiplier, shift = output_multiplier(graph, layer)
    return Folded(
        (
            ("size", x.size),
            ("multiplier", multiplier),
            ("shift", shift),
            ("in_zero_point", quantization(x).zero_point),
            ("out_zero_point", quantization(y).zero_point),
        )
    )


def macs(graph: Graph, layer: Layer) -> int:
    """None in the sense of products of weights and activations."""
    return 0
