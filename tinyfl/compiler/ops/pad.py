"""PAD of height, width and channels with the zero point."""

from __future__ import annotations

from typing import Any

from tinyfl.compiler.ops.operator import Folded, Overlap, RawOperator, activations, expect, expect_shape
from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import quantization

BUILTIN = "PAD"
ACTIVATIONS = 1
CONSTANTS = 0


def read(raw: RawOperator) -> dict[str, Any]:
    """Pairs (before, after), one per dimension."""
    flat = raw.input_constant(1, "the padding")
    if len(flat) % 2 or any(not 0 <= v <= 65535 for v in flat):
        raise raw.fail(f"padding {flat} is no list of pairs of 0..65535")
    return {"paddings": tuple(zip(flat[::2], flat[1::2], strict=True))}


def check(graph: Graph, layer: Layer) -> None:
    """One pair per dimension, none for the batch, at most three dimensions behind it."""
    x, y = activations(graph, layer)
    pairs = layer.options["paddings"]
    expect(len(pairs) == len(x.shape), f"{len(pairs)} pairs of padding for shape {x.shape}")
    expect(pairs[0] == (0, 0), f"padding {pairs[0]} of the batch")
    expect(len(pairs) <= 4, f"{len(pairs)} dimensions, at most 4")
    expect_shape(y, tuple(n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True)))
    expect(x.quantization == y.quantization, "input and output are quantised differently")


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_pad``; missing dimensions count as 1 in front, those without padding join the one before them."""
    x, y = activations(graph, layer)
    sides = [(n, *pair) for n, pair in zip(x.shape[1:], layer.options["paddings"][1:], strict=True)]
    while len(sides) > 1 and sides[-1][1:] == (0, 0):
        inner, _, _ = sides.pop()
        sides[-1] = tuple(inner * n for n in sides[-1])
    fields: list[tuple[str, int | str]] = []
    for axis, (size, before, after) in zip("hwc", [(1, 0, 0)] * (3 - len(sides)) + sides, strict=True):
        fields += [(f"in_{axis}", size), (f"before_{axis}", before), (f"after_{axis}", after)]
    return Folded((*fields, ("value", quantization(y).zero_point)))


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """The input lies at the output's end, so far behind that the last pixel is copied to where the input is no more."""
    x, _ = activations(graph, layer)
    missing = 4 - len(x.shape)
    h, w, c = (1,) * missing + x.shape[1:]
    (above, _), (left, right), (before, after) = ((0, 0),) * missing + layer.options["paddings"][1:]
    last = ((above + h - 1) * (left + w + right) + left + w - 1) * (before + c + after) + before  # in the output
    return Overlap(last - (h * w * c - c) + c)


def macs(graph: Graph, layer: Layer) -> int:
    """None."""
    return 0
