"""RESHAPE: the same bytes under another shape; nothing is left to do on the board."""

from __future__ import annotations

from typing import Any

from tinyfl.compiler.ops.operator import RawOperator, activations, expect
from tinyfl.graph import Graph, Layer

BUILTIN = "RESHAPE"
ACTIVATIONS = 1
CONSTANTS = 0


def read(raw: RawOperator) -> dict[str, Any]:
    """The output tensor's own shape says all, whether the new shape comes as an option or as a tensor."""
    return {}


def check(graph: Graph, layer: Layer) -> None:
    """Size and quantisation stay."""
    x, y = activations(graph, layer)
    expect(x.size == y.size, f"{x.shape} cannot become {y.shape}")
    expect(x.quantization == y.quantization, "input and output are quantised differently")


def fold(graph: Graph, layer: Layer) -> None:
    """An alias in the arena plan."""


def macs(graph: Graph, layer: Layer) -> int:
    """None."""
    return 0
