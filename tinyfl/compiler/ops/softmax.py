"""SOFTMAX over the last axis; the exponentials become a table over the distance to the row's maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from tinyfl.compiler.ops.operator import Array, Folded, Overlap, RawOperator, activations, expect, expect_shape
from tinyfl.graph import Graph, Layer
from tinyfl.reference.ops.softmax import exp_table
from tinyfl.reference.scaling import quantization

BUILTIN = "SOFTMAX"
ACTIVATIONS = 1
CONSTANTS = 0

MAX_CLASSES = 511  # the last shift stays under 32
NEGLIGIBLE = 2048  # an exponential below 2^-20 adds nothing to the sum (Q12.19, rounded) and gives 0


def read(raw: RawOperator) -> dict[str, Any]:
    """beta, the factor in the exponent."""
    beta = float(raw.options(tflite.SoftmaxOptions).Beta())
    if not 0.0 < beta < 1e6:
        raise raw.fail(f"beta {beta} is not supported")
    return {"beta": beta}


def check(graph: Graph, layer: Layer) -> None:
    """TFLite's fixed output quantisation: scale 1/256, zero point -128."""
    x, y = activations(graph, layer)
    expect_shape(y, x.shape)
    expect(x.shape[-1] <= MAX_CLASSES, f"{x.shape[-1]} classes, at most {MAX_CLASSES}")
    out = quantization(y)
    expect(
        (out.scale, out.zero_point) == (1 / 256, -128), f"output scale {out.scale:g} and zero point {out.zero_point}"
    )
    exp_table(quantization(x).scale, layer.options["beta"])


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_softmax``."""
    x, _ = activations(graph, layer)
    table = exp_table(quantization(x).scale, layer.options["beta"])
    table = table[: int(np.flatnonzero(table >= NEGLIGIBLE)[-1]) + 1]
    fields = (("rows", x.size // x.shape[-1]), ("classes", x.shape[-1]), ("entries", len(table)), ("exp", "exp"))
    return Folded(fields, (Array("exp", "int32_t", table.astype(np.int32)),))


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """In place: the second pass over a row reads each value before it writes there."""
    return Overlap()


def macs(graph: Graph, layer: Layer) -> int:
    """None in the sense of products of weights and activations."""
    return 0
