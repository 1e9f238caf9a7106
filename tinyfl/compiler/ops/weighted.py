"""What the layers with weights have in common: checks, the folded input offset and the requantisation fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.compiler.ops.operator import Array, expect
from tinyfl.graph import Graph, Layer, Tensor
from tinyfl.reference.scaling import activation_range, quantization, weight_multipliers
from tinyfl.reference.window import windows

Fields = tuple[tuple[str, int | str], ...]
Accumulators = npt.NDArray[np.int64]

FAST_BOUND = 2**29  # accumulators of the kernels' fast requantisation (firmware/core/fixed.h)
FAST_SHIFTS = (1, 21)


def check_weights(graph: Graph, layer: Layer, channels: int, axis: int) -> Tensor:
    """The weight tensor; raises ValueError unless weights, bias and scales fit ``channels`` outputs."""
    weights = graph.tensor(layer.inputs[1])
    expect(weights.dtype == "int8" and weights.data is not None, f"weights '{weights.name}' are no int8 constant")
    expect(weights.shape[axis] == channels, f"{weights.shape[axis]} filters for {channels} output channels")
    scales = quantization(weights)
    expect(len(scales.scales) in (1, channels), f"{len(scales.scales)} weight scales for {channels} channels")
    expect(len(scales.scales) == 1 or scales.axis == axis, f"weight scales along axis {scales.axis}, expected {axis}")
    if len(layer.inputs) > 2:
        bias = graph.tensor(layer.inputs[2])
        expect(bias.dtype == "int32" and bias.data is not None, f"bias '{bias.name}' is no int32 constant")
        expect(bias.shape == (channels,), f"bias of shape {bias.shape} for {channels} channels")
    weight_multipliers(graph, layer)
    folded_bias(graph, layer, filters(graph, layer, axis))
    return weights


def filters(graph: Graph, layer: Layer, axis: int) -> npt.NDArray[np.int8]:
    """The weights of each output channel in a row of their own: (channels, weights of one)."""
    data = graph.tensor(layer.inputs[1]).data
    assert data is not None
    return np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1).astype(np.int8)


def padded_rows(rows: npt.NDArray[np.int8], multiple: int = 4) -> npt.NDArray[np.int8]:
    """The rows with zeros behind, up to a multiple."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % multiple)))


def folded_bias(graph: Graph, layer: Layer, rows: npt.NDArray[np.int8]) -> Accumulators:
    """The bias with the input's zero point folded in, so that kernels multiply the stored values.

    Raises ValueError where a sum that starts with one may leave 32 bits.
    """
    bias = np.zeros(len(rows), np.int64)
    if len(layer.inputs) > 2:
        data = graph.tensor(layer.inputs[2]).data
        assert data is not None
        bias = data.astype(np.int64)
    sums: Accumulators = rows.sum(axis=1, dtype=np.int64)
    folded = bias - quantization(graph.tensor(layer.inputs[0])).zero_point * sums
    expect(_largest(rows, folded) < 2**31, "sums of weights, inputs and bias may leave 32 bits")
    return folded


def window_fields(x: Tensor, y: Tensor, kernel: tuple[int, int], options: dict[str, Any]) -> Fields:
    """Fields of ``struct tfl_window``."""
    _, _, top, left = windows(x.shape, kernel, options)
    names = ("in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "kernel_h", "kernel_w", "stride_h", "stride_w")
    values = (*x.shape[1:], *y.shape[1:], *kernel, options["stride_h"], options["stride_w"])
    pairs = (*zip(names, values, strict=True), ("top", top), ("left", left))
    return tuple((f"window.{name}", value) for name, value in pairs)


def scaling_fields(
    graph: Graph, layer: Layer, rows: npt.NDArray[np.int8], bias: Accumulators, channels: int | None = None
) -> tuple[Fields, Array]:
    """Fields of ``struct tfl_scaling`` and its array; ``rows`` and ``bias`` (folded) tell which kind is proved.

    ``channels``: how many of them the array has; all where it is None.
    """
    multipliers, shifts = weight_multipliers(graph, layer)
    right = np.where(multipliers == 0, FAST_SHIFTS[0], -shifts)
    output = quantization(graph.tensor(layer.outputs[0]))
    low, high = activation_range(output, layer.options["activation"])
    fast = _largest(rows, bias) < FAST_BOUND and FAST_SHIFTS[0] <= right.min() and right.max() <= FAST_SHIFTS[1]
    kind = "ANY" if not fast else "FULL" if (low, high) == (-128, 127) else "CLAMP"
    power = np.left_shift(1, np.maximum(right, 0)) if fast else np.zeros_like(right)
    offsets = power // 2 + output.zero_point * power
    words = (bias, multipliers, offsets, right, high * power * int(kind == "CLAMP"))
    fields: Fields = (
        ("scaling.channels", "channels"),
        ("scaling.kind", f"TFL_SCALE_{kind}"),
        ("scaling.zero_point", output.zero_point),
        ("scaling.low", low),
        ("scaling.high", high),
    )
    data = np.stack(np.broadcast_arrays(*words), axis=1)[:channels]
    return fields, Array("channels", "int32_t", data, "TFL_CHANNEL", width=4)


def _largest(rows: npt.NDArray[np.int8], bias: Accumulators) -> int:
    """No accumulator exceeds this, in whatever order the kernel adds: inputs are at most 128 in magnitude."""
    return int((np.abs(bias) + 128 * np.abs(rows.astype(np.int64)).sum(axis=1)).max())
