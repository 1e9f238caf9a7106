"""MEAN over neighbouring axes (height and width, or time)."""

from __future__ import annotations

from typing import Any

from tinyfl.compiler.ops.operator import Folded, Overlap, RawOperator, activations, expect
from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.mean import extents, mean_multiplier
from tinyfl.reference.scaling import quantization

BUILTIN = "MEAN"
ACTIVATIONS = 1
CONSTANTS = 0


def read(raw: RawOperator) -> dict[str, Any]:
    """The reduced axes, as they stand."""
    return {"axes": tuple(raw.input_constant(1, "the list of axes"))}


def check(graph: Graph, layer: Layer) -> None:
    """Axes are neighbours behind the batch; the output has what is left."""
    x, y = activations(graph, layer)
    outer, _, inner = extents(x.shape, layer.options["axes"])
    expect(y.size == outer * inner, f"output of shape {y.shape} for axes {layer.options['axes']} of {x.shape}")
    mean_multiplier(graph, layer)


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_mean``."""
    x, y = activations(graph, layer)
    outer, count, inner = extents(x.shape, layer.options["axes"])
    multiplier, shift = mean_multiplier(graph, layer)
    return Folded(
        (
            ("outer", outer),
            ("count", count),
            ("inner", inner),
            ("multiplier", multiplier),
            ("shift", shift),
            ("offset", -quantization(x).zero_point * count),
            ("out_zero_point", quantization(y).zero_point),
        )
    )


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """In place: the columns that a mean comes from begin where it is written, or later."""
    return Overlap()


def macs(graph: Graph, layer: Layer) -> int:
    """A mean multiplies nothing but its outputs."""
    return 0
