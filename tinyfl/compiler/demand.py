"""What each layer asks of the arena: scratch, and how its output may share bytes with an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyfl.compiler.ops import OPERATORS, reshape
from tinyfl.compiler.ops.operator import ONLY, Overlap
from tinyfl.graph import Graph, Layer

ALIAS = "the same bytes under another shape"


@dataclass(frozen=True)
class Demand:
    """The wishes of one layer."""

    scratch: int = 0  # bytes
    overlap: Overlap | None = None  # with an input that nobody reads afterwards; None: output and inputs lie apart
    alias: bool = False  # the output is the input under another shape: nothing is left to do


def layer_demands(graph: Graph) -> tuple[Demand, ...]:
    """What the operators' modules say, by layer."""
    return tuple(_demand(graph, layer) for layer in graph.layers)


def kernel(graph: Graph, layer: Layer) -> tuple[str, str]:
    """Which kernel runs a layer, and why that one."""
    if OPERATORS[layer.op] is reshape:
        return "none", ALIAS
    choose = getattr(OPERATORS[layer.op], "kernel", None)
    name, reason = choose(graph, layer) if choose else (f"tfl_{layer.op}", ONLY)
    return name, reason


def operands(graph: Graph, layer: Layer) -> tuple[int, ...]:
    """The activations that a layer reads."""
    return layer.inputs[: OPERATORS[layer.op].ACTIVATIONS]


def roots(graph: Graph, demands: Sequence[Demand]) -> dict[int, int]:
    """By activation: the one whose bytes it is, itself or what a reshape reads."""
    root = {graph.input: graph.input}
    for layer, demand in zip(graph.layers, demands, strict=True):
        output = layer.outputs[0]
        root[output] = root[operands(graph, layer)[0]] if demand.alias else output
    return root


def takes_scratch(layer: Layer) -> bool:
    """Whether the layer's kernel takes a pointer to scratch, be it null."""
    return hasattr(OPERATORS[layer.op], "scratch")


def _demand(graph: Graph, layer: Layer) -> Demand:
    operator = OPERATORS[layer.op]
    scratch, overlap = getattr(operator, "scratch", None), getattr(operator, "overlap", None)
    return Demand(
        scratch(graph, layer) if scratch else 0,
        overlap(graph, layer) if overlap else None,
        alias=operator is reshape,
    )
