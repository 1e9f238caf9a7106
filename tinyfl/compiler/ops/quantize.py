"""QUANTIZE from one int8 quantisation to another: a table of the 256 answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfl.compiler.ops.operator import Array, Folded, Overlap, RawOperator, activations, expect_shape
from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.quantize import run
from tinyfl.reference.scaling import output_multiplier

BUILTIN = "QUANTIZE"
ACTIVATIONS = 1
CONSTANTS = 0


def read(raw: RawOperator) -> dict[str, Any]:
    """It has no options."""
    return {}


def check(graph: Graph, layer: Layer) -> None:
    """The shape stays."""
    x, y = activations(graph, layer)
    expect_shape(y, x.shape)
    output_multiplier(graph, layer)


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_quantize``, the answers in the order of the inputs as unsigned bytes."""
    x, _ = activations(graph, layer)
    every = np.arange(256).astype(np.uint8).view(np.int8)
    table = Array("table", "int8_t", run(graph, layer, every[None])[0])
    return Folded((("size", x.size), ("table", "table")), (table,))


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """In place: a value is written after the one at its place is read."""
    return Overlap()


def macs(graph: Graph, layer: Layer) -> int:
    """None in the sense of products of weights and activations."""
    return 0
